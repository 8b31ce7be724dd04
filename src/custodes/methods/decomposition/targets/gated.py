"""Functions of one number, coded by hand; a control bit a function says whether it counts.

y = sum_i c_i f_i(x), each f_i piecewise linear over `neurons` ReLUs (after arXiv 2501.14926,
appendix "Hand-coded gated functions"). Nothing is trained, so the mechanisms are known exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from custodes.methods.decomposition.config import GatedConfig
from custodes.methods.decomposition.targets.base import Batch, Facts, Pattern, spread
from custodes.methods.decomposition.vectors import Linear, Vectors

__all__ = ["Gated", "code_gated"]


class Gated:
    """`in` [I, 1 + functions, functions * neurons] and `out` [I, functions * neurons, 1].

    Inputs are the number, then the control bits.
    """

    loss: Literal["mse", "kl"] = "mse"

    def __init__(self, config: GatedConfig, weights: Mapping[str, Tensor], bias: Tensor) -> None:
        self.config = config
        self.weights = dict(weights)
        self.bias = bias
        pattern = Pattern("identity", config.functions)
        owner = torch.arange(config.functions).repeat_interleave(config.neurons)
        mine = (owner == torch.arange(config.functions)[:, None]).to(bias)
        self.facts = Facts(
            origin=f"{config.functions} gated functions",
            patterns={"in": pattern, "out": pattern},
            truth={
                "in": self.weights["in"][:, None] * mine[None, :, None, :],
                "out": self.weights["out"][:, None] * mine[None, :, :, None],
            },
        )

    @property
    def rest(self) -> Mapping[str, Tensor]:
        """The bias."""
        return {"bias": self.bias}

    def _run(self, inputs: Tensor, linear: Linear) -> tuple[Tensor, Tensor]:
        hidden = torch.relu(linear("in", Vectors.of(inputs)).dense() + self.bias[:, None])
        return linear("out", Vectors.of(hidden)).dense(), hidden

    def forward(self, inputs: Tensor, linear: Linear) -> Tensor:
        """Outputs [I, N, 1]."""
        return self._run(inputs, linear)[0]

    def hidden(self, inputs: Tensor, linear: Linear) -> list[Tensor]:
        """The neurons after the ReLU."""
        return [self._run(inputs, linear)[1]]

    def sample(self, draw: Sequence[torch.Generator], size: int) -> Batch:
        """Numbers in [0, width], and control bits that are on with their probability."""
        rows = []
        for generator in draw:
            device = generator.device
            number = torch.rand((size, 1), generator=generator, device=device) * self.config.width
            bits = torch.rand((size, self.config.functions), generator=generator, device=device)
            rows.append(torch.cat([number, (bits < self.config.probability).float()], dim=1))
        inputs = torch.stack(rows)
        return Batch(inputs, torch.ones_like(inputs[..., 0]), size)

    def probes(self) -> Tensor:
        """The number in the middle of its range, with one control bit on."""
        functions = self.config.functions
        eye = torch.eye(functions, device=self.bias.device)
        rows = torch.cat([torch.full_like(eye[:, :1], self.config.width / 2), eye], dim=1)
        return rows.expand(self.bias.shape[0], -1, -1)

    def replaced(self, weights: Mapping[str, Tensor]) -> Gated:
        """The same biases with other matrices."""
        instances = next(iter(weights.values())).shape[0]
        return Gated(self.config, weights, spread(self.bias, instances))


def code_gated(config: GatedConfig, draw: torch.Generator) -> Gated:
    """One instance: slopes drawn, everything else follows."""
    functions, neurons = config.functions, config.neurons
    device = draw.device
    knots = torch.arange(neurons, device=device) * (config.width / neurons)
    # A change of slope at each knot, so that the function stays within a few units.
    turns = torch.randn((functions, neurons), generator=draw, device=device)
    turns[:, 1:] -= turns[:, :-1].clone()
    width = functions * neurons
    into = torch.zeros(1 + functions, width, device=device)
    into[0] = 1.0
    for index in range(functions):
        into[1 + index, index * neurons : (index + 1) * neurons] = config.width
    # A neuron sees x - knot where its bit is on, and something below 0 where it is off.
    bias = -(knots.repeat(functions) + config.width)
    weights = {"in": into[None], "out": turns.reshape(1, width, 1)}
    return Gated(config, weights, bias[None])
