"""Gradient descent on a head; the only file of the classifiers that trains with torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from custodes.classifiers.features import Tokens
from custodes.classifiers.heads import Head
from custodes.classifiers.losses import LOSSES, Loss
from custodes.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from custodes.classifiers.stage import StageConfig

__all__ = [
    "Fit",
    "HeadFit",
    "Targets",
    "TrainingSet",
    "batches",
    "export_head",
    "rate_at",
]

_BUCKET = 32
"""Batches whose rows are sorted by length together: little padding, still well mixed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What N texts are to come to: labels, weights, windows [N]; rules [N], -1 where unknown."""

    labels: NDArray[np.float32]
    rules: NDArray[np.int64]
    weights: NDArray[np.float32]
    windows: NDArray[np.int64]

    def of(self, rows: NDArray[np.int64]) -> Targets:
        """Those of some texts."""
        return Targets(
            labels=self.labels[rows],
            rules=self.rules[rows],
            weights=self.weights[rows],
            windows=self.windows[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSet:
    """N texts: their tokens, of `dim` features each, and their targets."""

    tokens: list[Tokens]
    targets: Targets
    dim: int

    @property
    def sparse(self) -> bool:
        """Whether the tokens are bags."""
        return self.tokens[0].offsets is not None

    def of(self, rows: NDArray[np.int64]) -> TrainingSet:
        """Some of the texts."""
        return replace(self, tokens=[self.tokens[i] for i in rows], targets=self.targets.of(rows))

    def thinned(self, first: int, every: int) -> TrainingSet:
        """Every so many-th token from `first` on, and windows that look back as far as before."""
        windows = np.maximum(1, -(-self.targets.windows // every))
        return replace(
            self,
            tokens=[tokens.thinned(first, every) for tokens in self.tokens],
            targets=replace(self.targets, windows=windows),
        )


class Fit:
    """What every way of fitting a stage knows, and the loss that it goes down.

    `outputs` of the head: 1 + rules; `sides`: as `Head` has them.
    """

    def __init__(
        self,
        config: StageConfig,
        *,
        outputs: int,
        seed: int,
        sides: NDArray[np.float32] | None = None,
    ) -> None:
        self.config = config
        self.outputs = outputs
        self.seed = seed
        self.sides = sides

    def loss(self, logits: Tensor, mask: Tensor, targets: Targets, share: float) -> Tensor:
        """The mean loss of texts of one window: `logits` [B, T, 1 + rules], `mask` [B, T].

        Telling harmful from benign by the stage's loss, and naming the rule by the mean logits.
        `share`: of the training that is done.
        """
        import torch
        from torch.nn import functional as F

        labels, weights, rules = (
            torch.from_numpy(values).to(logits.device)
            for values in (targets.labels, targets.weights, targets.rules)
        )
        loss: Loss = LOSSES.load(self.config.loss)
        harmful = logits[:, :, 0]
        if self.sides is not None:
            of = torch.from_numpy(self.sides).to(logits.device)
            harmful = (
                harmful + logits[:, :, of > 0].logsumexp(2) - logits[:, :, of < 0].logsumexp(2)
            )
        losses = loss(harmful, mask, labels, share, int(targets.windows[0]))
        total = (losses * weights).sum() / len(labels)
        if self.config.rule_weight and bool((rules >= 0).any()):
            means = (logits[:, :, 1:] * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
            named = F.cross_entropy(means, rules, ignore_index=-1, reduction="mean")
            total = total + self.config.rule_weight * named
        return total


class HeadFit(Fit):
    """AdamW with a warm-up and a cosine; deterministic for a seed and a number of threads."""

    def run(self, data: TrainingSet, progress: Callable[[float], None]) -> Head:
        """Fit; texts without a token are left out."""
        import torch

        torch.set_num_threads(self.config.threads)
        if data.sparse and self.config.every > 1:
            raise ConfigError(
                f"every: got {self.config.every} for sparse features ({self.config.features}), "
                "expected 1"
            )
        rng = np.random.default_rng(self.seed)
        lengths = np.array([len(tokens) for tokens in data.tokens])
        usable = np.flatnonzero(lengths)
        mean, scale = _rarity(data, usable) if data.sparse else _standard(data, usable, rng)
        parameters = self._parameters(data.dim)
        optimizer = torch.optim.AdamW(
            parameters.values(),
            lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
            fused=True,  # hashed features have millions of weights, and nearly all time went here
        )
        steps = self.config.epochs * max(1, math.ceil(len(usable) / self.config.batch_rows))
        step = 0
        for _ in range(self.config.epochs):
            for rows in batches(lengths, data.targets.windows, usable, self.config.batch_rows, rng):
                for group in optimizer.param_groups:
                    group["lr"] = self.config.learning_rate * rate_at(step, steps)
                batch = data.of(rows)
                if self.config.every > 1:
                    batch = batch.thinned(int(rng.integers(self.config.every)), self.config.every)
                loss = self._step_loss(batch, parameters, (mean, scale), step / steps)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]  # torch annotates it so
                optimizer.step()
                step += 1
            progress(step / steps)
        return export_head(parameters, mean, scale, self.sides)

    def _parameters(self, dim: int) -> dict[str, Tensor]:
        import torch

        generator = torch.Generator().manual_seed(self.seed)
        hidden = self.config.hidden if self.config.head == "mlp" else self.outputs
        shapes = {"first": (dim, hidden), "first_bias": (hidden,)}
        if self.config.head == "mlp":
            shapes |= {"second": (hidden, self.outputs), "second_bias": (self.outputs,)}
        parameters = {}
        for name, shape in shapes.items():
            value = torch.zeros(shape)
            if self.config.head == "mlp" and name == "first":
                value.normal_(0.0, min(1.0 / math.sqrt(dim), 0.05), generator=generator)
            elif name == "second":
                value.normal_(0.0, 1.0 / math.sqrt(hidden), generator=generator)
            parameters[name] = value.to(self.config.device).requires_grad_()
        return parameters

    def _step_loss(
        self,
        data: TrainingSet,
        parameters: dict[str, Tensor],
        standard: tuple[NDArray[np.float32], NDArray[np.float32]],
        share: float,
    ) -> Tensor:
        import torch

        batch = data.tokens
        hidden = _project(batch, parameters["first"], standard) + parameters["first_bias"]
        if "second" in parameters:
            hidden = torch.relu(hidden) @ parameters["second"] + parameters["second_bias"]
        lengths = [len(tokens) for tokens in batch]
        padded = torch.nn.utils.rnn.pad_sequence(
            list(torch.split(hidden, lengths)), batch_first=True
        )
        mask = torch.arange(padded.shape[1])[None, :] < torch.tensor(lengths)[:, None]
        mask = mask.to(self.config.device)
        return self.loss(padded, mask, data.targets, share)


def rate_at(step: int, steps: int) -> float:
    """Share of the peak learning rate: a warm-up over a twentieth, then half a cosine."""
    warm = min(1.0, (step + 1) / (0.05 * steps + 1))
    return warm * 0.5 * (1.0 + math.cos(math.pi * min(step / steps, 1.0)))


def batches(
    lengths: NDArray[np.int64],
    windows: NDArray[np.int64],
    usable: NDArray[np.int64],
    size: int,
    rng: np.random.Generator,
) -> Iterator[NDArray[np.int64]]:
    """Shuffled batches of one smoothing window each, of like lengths, over all usable texts."""
    found: list[NDArray[np.int64]] = []
    for window in np.unique(windows[usable]):
        rows = rng.permutation(usable[windows[usable] == window])
        for start in range(0, len(rows), size * _BUCKET):
            bucket = rows[start : start + size * _BUCKET]
            bucket = bucket[np.argsort(lengths[bucket], kind="stable")]
            found.extend(bucket[at : at + size] for at in range(0, len(bucket), size))
    order = rng.permutation(len(found))
    return iter([found[i] for i in order])


def _project(
    batch: list[Tokens], first: Tensor, standard: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> Tensor:
    import torch
    from torch.nn import functional as F

    if batch[0].offsets is None:
        values = np.concatenate([t.values for t in batch]).astype(np.float32)
        mean, scale = standard
        return torch.from_numpy((values - mean) / scale).to(first.device) @ first
    ids = np.concatenate([t.values for t in batch]).astype(np.int64)
    sizes = np.concatenate(
        [np.diff(t.offsets, append=len(t.values)) for t in batch if t.offsets is not None]
    )
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    _, common = standard
    bags = F.embedding_bag(
        torch.from_numpy(ids).to(first.device),
        first,
        torch.from_numpy(offsets).to(first.device),
        mode="sum",
        per_sample_weights=torch.from_numpy(1.0 / common[ids]).to(first.device),
    )
    return (
        bags
        / torch.from_numpy(np.sqrt(np.maximum(sizes, 1)).astype(np.float32)).to(first.device)[
            :, None
        ]
    )


def _standard(
    data: TrainingSet, usable: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation [d] of dense features, from a sample of texts."""
    sample = rng.choice(usable, min(len(usable), 1000), replace=False)
    # Text by text: all layers of a model are some 70 kB a token.
    total = squares = np.zeros(data.dim, np.float64)
    for i in sample:
        total = total + data.tokens[i].values.sum(axis=0, dtype=np.float64)
    count = sum(len(data.tokens[i]) for i in sample)
    mean = total / count
    for i in sample:
        squares = squares + ((data.tokens[i].values - mean) ** 2).sum(axis=0)
    scale = np.sqrt(squares / count) + 1e-4
    return mean.astype(np.float32), scale.astype(np.float32)


def _rarity(
    data: TrainingSet, usable: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """No mean, and the scale [d] that weighs a bag's items by their inverse document frequency,
    log((1 + n) / (1 + n_d)) + 1, of mean square 1 over what occurs. What one text alone holds
    counts for nothing: it could only be learned by heart."""
    found = np.zeros(data.dim, np.int64)
    for i in usable:
        found[np.unique(data.tokens[i].values)] += 1
    weights = np.log((1 + len(usable)) / (1 + found)) + 1.0
    weights /= np.sqrt((weights**2 * found).sum() / max(found.sum(), 1))
    scale = np.where(found > 1, 1.0 / weights, np.inf)
    return np.zeros(1, np.float32), scale.astype(np.float32)


def export_head(
    parameters: dict[str, Any],
    mean: NDArray[np.float32],
    scale: NDArray[np.float32],
    sides: NDArray[np.float32] | None = None,
) -> Head:
    """The head on raw features: standardization folded into the first layer."""
    arrays = {name: value.detach().cpu().numpy() for name, value in parameters.items()}
    arrays["first"] = arrays["first"] / scale[:, None]
    if len(mean) > 1:
        arrays["first_bias"] = arrays["first_bias"] - mean @ arrays["first"]
    if sides is not None:
        arrays["sides"] = sides
    return Head.from_arrays(arrays)
