"""A residual MLP that computes y = x + ReLU(x) for more features than it has neurons.

"Compressed computation" (arXiv 2501.14926, section 3.3). Embedding E [features, width] has fixed
random rows of unit length, the output is read by its transpose. The stream is kept as combinations
of a few vectors (`Vectors`), so that a step costs what the features cost, not what the width does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from custodes.methods.decomposition.config import ResidualConfig
from custodes.methods.decomposition.targets.base import (
    Batch,
    Facts,
    Pattern,
    collapse,
    plain_linear,
    spread,
)
from custodes.methods.decomposition.targets.fitting import fit
from custodes.methods.decomposition.targets.tms import one_hot, sparse
from custodes.methods.decomposition.vectors import Linear, Vectors

__all__ = ["ResidualMLP", "build_residual", "train_residual"]


class ResidualMLP:
    """`layers.L.in` [I, width, neurons] and `layers.L.out` [I, neurons, width]; no biases."""

    loss: Literal["mse", "kl"] = "mse"

    def __init__(
        self, config: ResidualConfig, weights: Mapping[str, Tensor], embedding: Tensor
    ) -> None:
        self.config = config
        self.weights = dict(weights)
        self.embedding = embedding
        patterns = {}
        for layer in range(config.layers):
            patterns[f"layers.{layer}.in"] = Pattern("identity", config.features)
            patterns[f"layers.{layer}.out"] = Pattern("dense", config.neurons)
        name = f"residual MLP, {config.layers} layer{'s' * (config.layers > 1)}"
        self.facts = Facts(patterns=patterns, origin=name)

    @property
    def rest(self) -> Mapping[str, Tensor]:
        """The embedding."""
        return {"embedding": self.embedding}

    def _run(self, inputs: Tensor, linear: Linear) -> tuple[Tensor, list[Tensor]]:
        stream = Vectors.of(inputs, self.embedding)
        hidden = []
        for layer in range(self.config.layers):
            hidden.append(torch.relu(linear(f"layers.{layer}.in", stream).dense()))
            stream = stream + linear(f"layers.{layer}.out", Vectors.of(hidden[-1]))
        return stream.through(self.embedding.mT), hidden

    def forward(self, inputs: Tensor, linear: Linear) -> Tensor:
        """Outputs [I, N, features]."""
        return self._run(inputs, linear)[0]

    def hidden(self, inputs: Tensor, linear: Linear) -> list[Tensor]:
        """Each layer's neurons after the ReLU."""
        return self._run(inputs, linear)[1]

    def sample(self, draw: Sequence[torch.Generator], size: int) -> Batch:
        """Features in [-1, 1], each present with the configured probability."""
        shape = (size, self.config.features)
        return collapse(sparse(draw, shape, self.config.probability, low=-1.0))

    def probes(self) -> Tensor:
        """Each feature alone, at .75 as in the paper's figures."""
        return one_hot(self.embedding, self.config.features)

    def replaced(self, weights: Mapping[str, Tensor]) -> ResidualMLP:
        """The same embedding with other matrices."""
        instances = next(iter(weights.values())).shape[0]
        return ResidualMLP(self.config, weights, spread(self.embedding, instances))


def build_residual(config: ResidualConfig, tensors: Mapping[str, Tensor]) -> ResidualMLP:
    """The network of its matrices and `embedding` [I, features, width]."""
    weights = {name: tensor for name, tensor in tensors.items() if name != "embedding"}
    return ResidualMLP(config, weights, tensors["embedding"])


def train_residual(config: ResidualConfig, draw: Sequence[torch.Generator]) -> dict[str, Tensor]:
    """Train one for each generator, side by side."""
    device = draw[0].device

    def normal(*shape: int) -> Tensor:
        return torch.stack([torch.randn(shape, generator=g, device=device) for g in draw])

    embedding = normal(config.features, config.embedding)
    embedding = embedding / embedding.norm(dim=-1, keepdim=True)
    parameters = {}
    for layer in range(config.layers):
        shape = (config.embedding, config.neurons)
        parameters[f"layers.{layer}.in"] = normal(*shape) / (3 * config.embedding) ** 0.5
        parameters[f"layers.{layer}.out"] = normal(*reversed(shape)) / (3 * config.neurons) ** 0.5

    def loss() -> Tensor:
        target = ResidualMLP(config, parameters, embedding)
        batch = target.sample(draw, config.batch)
        wanted = batch.inputs + torch.relu(batch.inputs)
        error = (target.forward(batch.inputs, plain_linear(parameters)) - wanted) ** 2
        return (error.mean(dim=-1) * batch.weight).sum() / batch.size

    fit(parameters, loss, steps=config.steps, rate=config.rate, schedule="cosine")
    return {**parameters, "embedding": embedding}
