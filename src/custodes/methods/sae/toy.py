"""The toy model (arXiv 2501.17727v2, section 4 and appendix I): what a random network keeps.

Sparse inputs s [512], few of them active, in 256 dimensions: x = s D, with D's rows random unit
vectors; a Gaussian control of the same mean and covariance; and the outputs of a random MLP of two
layers. An autoencoder with L1 is trained on each. Feature i is active with probability in
proportion to decay ** i (clipped at 1), uniform in [0, 1] then: our reading of the appendix.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from custodes.methods.sae.config import CoderConfig, ToyConfig
from custodes.methods.sae.matching import nearest
from custodes.methods.sae.metrics import judge
from custodes.methods.sae.training import Trainer

__all__ = ["DATA", "ToyPoint", "mmcs", "toy_data", "toy_study"]

DATA = ("sparse", "gaussian", "mlp")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyPoint:
    """One autoencoder: explained variance, L0, and MMCS with the true directions (sparse only)."""

    data: str
    penalty: float
    seed: int
    explained: float
    l0: float
    mmcs: float | None

    def values(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


def mmcs(directions: Tensor, learned: Tensor) -> float:
    """Mean over true directions [n, d] of the greatest cosine with a learned one [m, d]."""
    return float(nearest(directions, learned).row_cosines.mean())


def toy_data(config: ToyConfig, seed: int) -> tuple[dict[str, Tensor], Tensor]:
    """The three sets of points [points, width], and the true directions [features, width]."""
    draw = torch.Generator().manual_seed(seed)
    directions = normalize(torch.randn(config.features, config.width, generator=draw), dim=1)
    weight = config.decay ** torch.arange(config.features)
    chance = (config.active * weight / weight.sum()).clamp(max=1)
    shape = (config.points, config.features)
    on = torch.rand(shape, generator=draw) < chance
    sparse = (on * torch.rand(shape, generator=draw)) @ directions
    centered = sparse - sparse.mean(0)
    # Coefficients N(0, I / n) on the points themselves have the points' own covariance.
    mixing = torch.randn(config.points, config.points, generator=draw) / config.points**0.5
    gaussian = mixing @ centered + sparse.mean(0)
    hidden = 4 * config.width
    first = torch.randn(config.width, hidden, generator=draw) * (2 / config.width) ** 0.5
    second = torch.randn(hidden, config.width, generator=draw) * (2 / hidden) ** 0.5
    return {
        "sparse": sparse,
        "gaussian": gaussian,
        "mlp": (sparse @ first).relu() @ second,
    }, directions


def toy_study(config: ToyConfig) -> Iterator[ToyPoint]:
    """Every data set at every penalty and seed."""
    for seed in config.seeds:
        sets, directions = toy_data(config, seed)
        for name in DATA:
            for penalty in config.penalties:
                yield _point(config, sets[name], name, penalty, seed, directions)


def _point(
    config: ToyConfig, x: Tensor, name: str, penalty: float, seed: int, directions: Tensor
) -> ToyPoint:
    scale = config.width**0.5 / float(x.norm(dim=1).mean())
    coder = CoderConfig(
        kind="relu", latents=config.features, k=1, sparsity=penalty, seed=seed,
        learning_rate=config.learning_rate, precision=config.precision,
    )  # fmt: skip
    trainer = Trainer(coder, x.mean(0), scale)
    draw = torch.Generator().manual_seed(seed)
    for _ in range(config.epochs):
        for rows in torch.split(torch.randperm(len(x), generator=draw), config.batch):
            trainer.step(x[rows] * scale)
    found = trainer.finish()
    quality = judge(found, torch.split(x, config.batch))
    return ToyPoint(
        data=name,
        penalty=penalty,
        seed=seed,
        explained=quality.explained,
        l0=quality.l0,
        mmcs=mmcs(directions, found.decoder) if name == "sparse" else None,
    )
