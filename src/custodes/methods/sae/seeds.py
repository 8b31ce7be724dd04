"""Do two seeds learn the same features? (arXiv 2501.16615)

Decoder and encoder rows are matched separately, each at the greatest total cosine. Read every
share beside L0 and explained variance: an autoencoder that learned nothing shares nothing, and so
does one whose sparsity is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from custodes.errors import DataError
from custodes.methods.sae.coder import Coder
from custodes.methods.sae.matching import Assignment, match, nearest, unit_rows

__all__ = ["SHARED", "Overlap", "agreeing", "compare", "permuted", "random_directions",
           "share"]  # fmt: skip

SHARED = 0.7
"""Matched latents at or above this cosine, in decoder and encoder, count as the same feature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """How alike two autoencoders of n and m latents are; shares are of the more latents.

    `shared`: same partner in both matchings, both cosines >= .7 (the paper's strict figure).
    `agreement`: same partner in both, whatever the cosine (the figure of the authors' code).
    `mutual`: pairs of latents whose decoder directions are each other's nearest.
    `mean_max`: mean over the first's latents of the greatest decoder cosine; no share, and another
    figure the other way round.
    `decoder`, `encoder`: mean cosine of matched pairs. `certified`: both matchings are proven.
    """

    shared: float
    agreement: float
    mutual: float
    mean_max: float
    decoder: float
    encoder: float
    certified: bool

    def values(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def agreeing(decoder: Assignment, encoder: Assignment) -> NDArray[np.bool_]:
    """Which latents of the first [n] have one partner in both matchings."""
    found: NDArray[np.bool_] = (decoder.partner == encoder.partner) & (decoder.partner >= 0)
    return found


def share(decoder: Assignment, encoder: Assignment) -> NDArray[np.bool_]:
    """Which latents of the first [n] are shared, strictly."""
    same = agreeing(decoder, encoder)
    with np.errstate(invalid="ignore"):
        close = (decoder.cosines >= SHARED) & (encoder.cosines >= SHARED)
    found: NDArray[np.bool_] = same & close
    return found


def compare(
    first: Coder,
    second: Coder,
    *,
    top: int = 16,
    rounds: int = 30,
    keep: Path | None = None,
    say: Callable[[str], object] | None = None,
) -> Overlap:
    """Shared features of two autoencoders of the same width; `rounds` as in `match`.

    `keep`: a folder in which the matching under way is kept, as in `match`, so that a kill loses
    one matching at most.
    """
    if first.width != second.width:
        raise DataError(f"compare: got widths {first.width} and {second.width}; expected the same")
    decoder, encoder = (
        match(
            one, other, top=top, rounds=rounds, say=say,
            keep=keep / f"{part}.safetensors" if keep is not None else None,
        )
        for part, one, other in (("decoder", first.decoder, second.decoder),
                                 ("encoder", first.encoder, second.encoder))
    )  # fmt: skip
    near = nearest(first.decoder, second.decoder)
    more = max(first.latents, second.latents)
    agree = agreeing(decoder, encoder)
    return Overlap(
        shared=float(share(decoder, encoder).sum()) / more,
        agreement=float(agree.sum()) / more,
        mutual=near.mutual,
        mean_max=float(near.row_cosines.mean()),
        decoder=float(np.nanmean(decoder.cosines)),
        encoder=float(np.nanmean(encoder.cosines)),
        certified=decoder.certified and encoder.certified,
    )


def permuted(coder: Coder, seed: int) -> Coder:
    """The same autoencoder with its latents in another order: it must share 100 % with itself."""
    draw = torch.Generator().manual_seed(seed)
    order = torch.randperm(coder.latents, generator=draw)
    tensors = {
        name: tensor if name == "decoder_bias" else tensor[order]
        for name, tensor in coder.tensors.items()
    }
    return Coder(kind=coder.kind, tensors=tensors, k=coder.k, centered=coder.centered)


def random_directions(coder: Coder, seed: int) -> Coder:
    """The null: encoder and decoder both the same random unit directions."""
    # Numpy's stream: a Trainer of the same seed draws its initial directions from torch's.
    normal = np.random.default_rng(seed).normal(size=(coder.latents, coder.width))
    drawn = unit_rows(torch.from_numpy(normal)).to(coder.encoder)
    return coder.with_directions(drawn, drawn.clone())
