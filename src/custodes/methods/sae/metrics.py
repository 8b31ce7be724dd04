"""What a reconstruction is worth: figures over a whole stream of rows, never means of batches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from custodes.errors import DataError
from custodes.methods.sae.coder import Coder
from custodes.methods.sae.hooks import replaced
from custodes.methods.sae.language import LanguageModel

__all__ = ["Quality", "QualityStream", "ce_score", "judge", "substituted_losses"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Figures of one autoencoder on `rows` rows.

    `explained`: 1 - sum ||x - x^||^2 / sum ||x - mean||^2, the mean over all rows.
    `explained_mean`: the same of each of the d dimensions alone, averaged over those that vary; one
    massive dimension of a residual stream may be nearly all of `explained`. `l0`: active latents a
    row. `l1`: sum of activations a row. `dead`: share of latents never active on these rows.
    `cosine`: mean of cos(x, x^).
    """

    explained: float
    explained_mean: float
    l0: float
    l1: float
    dead: float
    cosine: float
    rows: int

    def values(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


class QualityStream:
    """Accumulates `Quality` over batches."""

    def __init__(self, width: int, latents: int) -> None:
        self._sum, self._square, self._error = torch.zeros(3, width, dtype=torch.float64)
        self._alive = torch.zeros(latents, dtype=torch.bool)
        self._first: Tensor | None = None
        self._rows = 0
        self._active = self._l1 = self._cosine = 0.0

    def add(self, x: Tensor, activations: Tensor, reconstruction: Tensor) -> None:
        """Take in one batch: [B, d], [B, F], [B, d]."""
        if self._first is None:
            self._first = x[0].double().cpu()
        # Sums of squares are taken about a row, since about 0 they may cancel.
        shifted = x.double().cpu() - self._first
        self._sum += shifted.sum(0)
        self._square += shifted.square().sum(0)
        self._error += (x.double() - reconstruction.double()).square().sum(0).cpu()
        active = activations > 0
        self._active += int(active.sum())
        self._l1 += float(activations.double().sum())
        self._alive |= active.any(0).cpu()
        self._cosine += float(torch.cosine_similarity(x, reconstruction, dim=1).double().sum())
        self._rows += len(x)

    def result(self) -> Quality:
        """The figures so far; `DataError` before any row."""
        if not self._rows:
            raise DataError("quality: got no rows; give the store more")
        variance = self._square - self._sum.square() / self._rows
        # What rounding leaves of a dimension that does not vary is no variance.
        varies = variance > 1e-12 * self._square
        each = 1 - self._error[varies] / variance[varies]
        whole = float(variance.sum())
        return Quality(
            explained=1 - float(self._error.sum()) / whole if varies.any() else float("nan"),
            explained_mean=float(each.mean()),
            l0=self._active / self._rows,
            l1=self._l1 / self._rows,
            dead=1 - float(self._alive.double().mean()),
            cosine=self._cosine / self._rows,
            rows=self._rows,
        )


@torch.inference_mode()
def judge(coder: Coder, batches: Iterable[Tensor]) -> Quality:
    """Figures of an autoencoder on batches [B, d], computed where the autoencoder is."""
    stream = QualityStream(coder.width, coder.latents)
    for batch in batches:
        x = batch.to(coder.device)
        activations = coder.encode(x)
        stream.add(x, activations, coder.decode(activations))
    return stream.result()


def ce_score(clean: float, substituted: float, ablated: float) -> float:
    """Share of the loss that zero-ablation costs which the autoencoder saves: 1 is perfect.

    arXiv 2501.17727 gives the complement of this. NaN where ablation costs nothing, as in a
    random network.
    """
    cost = ablated - clean
    return (ablated - substituted) / cost if cost > 0 else float("nan")


def substituted_losses(
    language: LanguageModel, hook: str, coder: Coder, ids: Tensor, *, skip: int = 1
) -> tuple[float, float, float]:
    """Mean next-token loss on ids [n, T]: clean, with the autoencoder in place, with zeros.

    The first `skip` positions are left as they are, as they were left out of the store.
    """

    def behind(new: Tensor, old: Tensor) -> Tensor:
        return torch.cat([old[:, :skip], new[:, skip:].to(old.dtype)], dim=1)

    changes = (
        lambda x: None,
        lambda x: behind(coder(x.float()), x),
        lambda x: behind(torch.zeros_like(x), x),
    )
    found = []
    for change in changes:
        with replaced(language.model, hook, change):
            logits = language.logits(ids)
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten().to(logits.device)
        )
        found.append(float(loss))
    return found[0], found[1], found[2]
