"""What can be decomposed: named matrices, a forward pass that asks for them, and rows to run on.

A target never multiplies by a decomposed matrix itself: its forward pass calls `linear(name, rows)`
and so runs alike with the matrices, with components, with masks, or one matrix at a time. All
tensors carry a leading instance axis I, so that several seeds, and random networks beside them,
are one computation. Rows N: samples, or tokens. Knows neither APD nor SPD.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor

from custodes.errors import ConfigError
from custodes.methods.decomposition.tensors import content_of
from custodes.methods.decomposition.vectors import Linear, Vectors

__all__ = [
    "Batch",
    "Facts",
    "Pattern",
    "Target",
    "check_names",
    "collapse",
    "content_of_target",
    "generators",
    "plain_linear",
    "randomized",
    "spread",
]


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs [I, N', ...] and how often each row of the outputs counts, [I, N].

    Rows that are alike may stand once with a greater weight; padding has weight 0. The weights of
    an instance add up to `size`.
    """

    inputs: Tensor
    weight: Tensor
    size: int


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a matrix' causal importances on one-hot inputs should look like.

    `identity`: each of the `count` features has a component of its own. `dense`: `count`
    components take part, and no other does.
    """

    kind: Literal["identity", "dense"]
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a target beside its function.

    `tied`: matrix -> the one whose transpose it is. `patterns`: matrix -> what its importances
    should look like. `columns`: the matrix [features, hidden] whose rows are known mechanisms.
    `truth` [I, M, d_in, d_out] by matrix: mechanisms that were coded by hand.
    """

    tied: Mapping[str, str] = field(default_factory=dict)
    patterns: Mapping[str, Pattern] = field(default_factory=dict)
    columns: str | None = None
    truth: Mapping[str, Tensor] = field(default_factory=dict)
    origin: str = ""


class Target(Protocol):
    """A network whose named matrices are to be decomposed."""

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """Name -> [I, d_in, d_out]; rows are multiplied from the left."""
        ...

    @property
    def rest(self) -> Mapping[str, Tensor]:
        """Whatever else its outputs are made with: biases, matrices that are not decomposed."""
        ...

    @property
    def facts(self) -> Facts:
        """What is known of it."""
        ...

    @property
    def loss(self) -> Literal["mse", "kl"]:
        """How outputs are compared."""
        ...

    def forward(self, inputs: Tensor, linear: Linear) -> Tensor:
        """Outputs [I, N, d_out], with `linear` in place of each named matrix."""
        ...

    def hidden(self, inputs: Tensor, linear: Linear) -> list[Tensor]:
        """Activations after each nonlinearity, [I, N, d] each; none where there are none."""
        ...

    def sample(self, draw: Sequence[torch.Generator], size: int) -> Batch:
        """A batch, from each instance's own generator."""
        ...

    def probes(self) -> Tensor | None:
        """One input a feature, [I, features, ...]; None where inputs have no features."""
        ...

    def replaced(self, weights: Mapping[str, Tensor]) -> Target:
        """The same network with other matrices."""
        ...


def content_of_target(target: Target) -> str:
    """Equal for networks with equal numbers whose outputs are compared alike.

    How inputs are drawn, and a module's code, are not in it.
    """
    rest = {f"rest {name}": tensor for name, tensor in target.rest.items()}
    return f"{content_of({**target.weights, **rest})} {target.loss}"


def plain_linear(weights: Mapping[str, Tensor]) -> Linear:
    """Multiplication by the matrices themselves."""

    def linear(name: str, rows: Vectors) -> Vectors:
        return rows.times(weights[name])

    return linear


def generators(seeds: Sequence[int], device: str, *, purpose: int) -> list[torch.Generator]:
    """A generator a seed; different purposes draw different numbers."""
    # Seeds far apart: neighboring seeds of two purposes must not meet.
    return [
        torch.Generator(device=device).manual_seed(seed * 1_000_003 + purpose) for seed in seeds
    ]


def collapse(rows: Tensor) -> Batch:
    """Rows [I, B, d] with those that are zero everywhere standing once, with their number.

    Exact for whatever is a mean over rows, as long as equal rows count alike. Where nothing is
    random on a row of zeros, nothing is lost: a network without biases gives 0 there whatever is
    masked, and one with a bias at its end gives that.
    """
    present = rows.abs().amax(dim=-1) > 0
    counts = present.sum(dim=1)
    size = rows.shape[1]
    length = int(counts.max()) + 1
    # A stable sort keeps the rows' order, and with it the result, the same on every machine.
    order = torch.argsort(~present, dim=1, stable=True)[:, :length]
    if length > size:
        order = torch.cat([order, order[:, :1]], dim=1)
    kept = torch.gather(rows, 1, order[..., None].expand(-1, -1, rows.shape[-1]))
    place = torch.arange(length, device=rows.device)
    weight = (place < counts[:, None]).to(rows.dtype)
    zeros = place == counts[:, None]
    kept = kept * weight[..., None]
    return Batch(kept, weight + zeros * (size - counts[:, None]), size)


def randomized(
    weights: Mapping[str, Tensor], facts: Facts, draw: torch.Generator
) -> dict[str, Tensor]:
    """Matrices [d_in, d_out] of the same mean and deviation with normal entries: nothing learned.

    A tied matrix stays the transpose of the other.
    """
    drawn: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if name in facts.tied:
            continue
        noise = torch.randn(weight.shape, generator=draw, device=weight.device, dtype=weight.dtype)
        # One number has no deviation; its own size stands for it.
        deviation = weight.std() if weight.numel() > 1 else weight.abs().mean()
        drawn[name] = weight.mean() + deviation * noise
    for name, other in facts.tied.items():
        drawn[name] = drawn[other].mT.contiguous()
    return {name: drawn[name] for name in weights}


def spread(tensor: Tensor, instances: int) -> Tensor:
    """A tensor of fewer instances for more: those beyond share the first one's values."""
    missing = instances - tensor.shape[0]
    if missing <= 0:
        return tensor[:instances]
    more = tensor[:1].expand(missing, *tensor.shape[1:])
    return torch.cat([tensor, more])


def check_names(known: Sequence[str], wanted: Sequence[str]) -> None:
    """`ConfigError` where a name is not known."""
    missing = [name for name in wanted if name not in known]
    if missing or not wanted:
        raise ConfigError(
            f"weights: got {', '.join(missing) or 'no name'}, expected names of linear modules: "
            f"{', '.join(known)}"
        )
