"""A toy model of superposition (Elhage et al. 2022): y = ReLU(W^T W x + b).

With `identity`, a fixed identity matrix stands in the middle (arXiv 2506.20790, section "TMS with
hidden identity").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from custodes.methods.decomposition.config import TMSConfig
from custodes.methods.decomposition.targets.base import (
    Batch,
    Facts,
    Pattern,
    collapse,
    plain_linear,
    spread,
)
from custodes.methods.decomposition.targets.fitting import fit
from custodes.methods.decomposition.vectors import Linear, Vectors

__all__ = ["TMS", "build_tms", "one_hot", "sparse", "train_tms"]

_ROWS = 128  # of a block


class TMS:
    """`embed` [I, features, hidden], its transpose `unembed`, and `middle` where it has one."""

    loss: Literal["mse", "kl"] = "mse"

    def __init__(self, config: TMSConfig, weights: Mapping[str, Tensor], bias: Tensor) -> None:
        self.config = config
        self.weights = dict(weights)
        self.bias = bias
        features = Pattern("identity", config.features)
        patterns = {"embed": features, "unembed": features}
        if config.identity:
            patterns["middle"] = Pattern("dense", config.hidden)
        name = f"TMS {config.features}-{config.hidden}" + " with identity" * config.identity
        self.facts = Facts(
            tied={"unembed": "embed"}, patterns=patterns, columns="embed", origin=name
        )

    @property
    def rest(self) -> Mapping[str, Tensor]:
        """The bias."""
        return {"bias": self.bias}

    def forward(self, inputs: Tensor, linear: Linear) -> Tensor:
        """Outputs [I, N, features]."""
        hidden = linear("embed", Vectors.of(inputs))
        if self.config.identity:
            hidden = linear("middle", hidden)
        return torch.relu(linear("unembed", hidden).dense() + self.bias[:, None])

    def attributions(
        self, weights: Mapping[str, Tensor], components: Mapping[str, Tensor], inputs: Tensor
    ) -> Tensor:
        """APD's attributions in closed form, [I, N, C]; see `apd.attributions`.

        The one nonlinearity is at the end, so the change of an output is 0 where it is off, and
        otherwise linear in what comes into each matrix: one product for all components, in blocks
        of rows that stay in the cache.
        """
        last = weights["unembed"]
        hidden = inputs @ weights["embed"]
        before_last, known = last, [(inputs, components["embed"])]
        if self.config.identity:
            before_last = weights["middle"] @ last
            known.append((hidden, components["middle"]))
            hidden = hidden @ weights["middle"]
        after = [before_last, last]
        folded = [p @ to[:, None] for (_, p), to in zip(known, after, strict=False)]
        rows = torch.cat([*(row for row, _ in known), hidden], dim=2)
        matrices = torch.cat([*folded, components["unembed"]], dim=2)  # [I, C, k, features]
        instances, number, k, features = matrices.shape
        flat = matrices.transpose(1, 2).reshape(instances, k, number * features)
        on = (hidden @ last + self.bias[:, None] > 0).to(inputs)
        found = []
        for at in range(0, rows.shape[1], _ROWS):
            some, live = rows[:, at : at + _ROWS], on[:, at : at + _ROWS]
            change = (some @ flat).square_().reshape(instances, -1, number, features)
            found.append((change @ live[..., None])[..., 0])
        return torch.cat(found, dim=1)

    def hidden(self, inputs: Tensor, linear: Linear) -> list[Tensor]:
        """The outputs: the only nonlinearity is at the end."""
        return [self.forward(inputs, linear)]

    def sample(self, draw: Sequence[torch.Generator], size: int) -> Batch:
        """Features in [0, 1], each present with the configured probability."""
        shape = (size, self.config.features)
        return collapse(sparse(draw, shape, self.config.probability, low=0.0))

    def probes(self) -> Tensor:
        """Each feature alone, at .75 as in the paper's figures."""
        return one_hot(self.weights["embed"], self.config.features)

    def replaced(self, weights: Mapping[str, Tensor]) -> TMS:
        """The same biases with other matrices."""
        instances = next(iter(weights.values())).shape[0]
        return TMS(self.config, weights, spread(self.bias, instances))


def sparse(
    draw: Sequence[torch.Generator], shape: tuple[int, int], probability: float, *, low: float
) -> Tensor:
    """Rows [I, *shape] of numbers in [low, 1], each 0 but for its probability."""
    rows = []
    for generator in draw:
        device = generator.device
        values = torch.rand(shape, generator=generator, device=device) * (1 - low) + low
        present = torch.rand(shape, generator=generator, device=device) < probability
        rows.append(values * present)
    return torch.stack(rows)


def one_hot(like: Tensor, features: int) -> Tensor:
    """[I, features, features]: every feature alone, at .75."""
    return 0.75 * torch.eye(features, device=like.device).expand(like.shape[0], -1, -1)


def build_tms(config: TMSConfig, tensors: Mapping[str, Tensor]) -> TMS:
    """The network of `embed` [I, features, hidden] and `bias` [I, features]."""
    embed = tensors["embed"]
    weights = {"embed": embed}
    if config.identity:
        eye = torch.eye(config.hidden, device=embed.device)
        weights["middle"] = eye.expand(len(embed), -1, -1)
    weights["unembed"] = embed.mT
    return TMS(config, weights, tensors["bias"])


def train_tms(config: TMSConfig, draw: Sequence[torch.Generator]) -> dict[str, Tensor]:
    """Train one for each generator, side by side: AdamW."""
    shape = (config.features, config.hidden)
    device = draw[0].device
    bound = (3 / config.features) ** 0.5
    embed = torch.stack([torch.rand(shape, generator=g, device=device) for g in draw])
    parameters = {
        "embed": (2 * embed - 1) * bound,
        "bias": torch.zeros(len(draw), config.features, device=device),
    }

    def loss() -> Tensor:
        target = build_tms(config, parameters)
        batch = target.sample(draw, config.batch)
        error = (target.forward(batch.inputs, plain_linear(target.weights)) - batch.inputs) ** 2
        return (error.mean(dim=-1) * batch.weight).sum() / batch.size

    fit(parameters, loss, steps=config.steps, rate=config.rate, schedule=config.schedule)
    return parameters
