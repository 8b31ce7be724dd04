"""Linear maps that can be tuned: by a low-rank pair (LoRA) beside frozen weights, or whole.

y = W x + (alpha / r) B A x (Hu et al., arXiv 2106.09685, section 4.1; B = 0 at first). W is kept
in float32; where the precision is bfloat16, the products are computed in it from a copy of W. That
is what peft and autocast do, without casting W anew in each pass and x to float32 and back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from custodes.models.tuning.packed import packing

__all__ = ["TunedLinear", "install", "tuned"]


class TunedLinear(nn.Module):
    """In place of an `nn.Linear`, whose weight it takes over."""

    def __init__(self, linear: nn.Linear, compute: torch.dtype) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight = linear.weight
        self.bias = linear.bias
        self.compute = compute
        self.scale = 0.0
        self.on = True
        self.dropout = 0.0
        self.down: nn.Parameter | None = None
        self.up: nn.Parameter | None = None
        self._copy: Tensor | None = None

    def add_pair(self, rank: int, alpha: float, dropout: float = 0.0) -> None:
        """A fresh pair: A as peft draws it (Kaiming uniform, a = sqrt 5), B zero."""
        device = self.weight.device
        down = torch.empty(rank, self.in_features, dtype=torch.float32, device=device)
        nn.init.kaiming_uniform_(down, a=math.sqrt(5))
        self.down = nn.Parameter(down)
        self.up = nn.Parameter(torch.zeros(self.out_features, rank, device=device))
        self.scale, self.dropout, self.on = alpha / rank, dropout, True

    def drop_pair(self) -> None:
        """Without a pair again."""
        self.down = self.up = None

    def change(self) -> Tensor | None:
        """What the pair adds to W, float32 [out, in]."""
        if self.down is None or self.up is None:
            return None
        return self.scale * (self.up.detach() @ self.down.detach())

    def refresh(self) -> None:
        """Forget the copy of W: to be called where W was changed."""
        self._copy = None

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] -> [..., out]: in the compute precision while packed, else as x came."""
        y = self._products(x.to(self.compute))
        return y if packing() else y.to(x.dtype)

    def _products(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(self.compute)
        y = nn.functional.linear(x, self._matrix(), bias)
        if self.down is None or self.up is None or not self.on:
            return y
        if self.training and self.dropout:
            x = nn.functional.dropout(x, self.dropout)
        low = nn.functional.linear(x, self.down.to(self.compute))
        return y + nn.functional.linear(low, (self.scale * self.up).to(self.compute))

    def _matrix(self) -> Tensor:
        if self.weight.dtype == self.compute:
            return self.weight
        if self.weight.requires_grad:
            return self.weight.to(self.compute)
        if self._copy is None:
            with torch.inference_mode(False):  # a copy made while generating must serve training
                self._copy = self.weight.detach().to(self.compute)
        return self._copy


def install(model: Any, compute: torch.dtype) -> None:
    """Put a `TunedLinear` in the place of every `nn.Linear` inside the model's body."""
    body = getattr(model, model.base_model_prefix, model)
    found = [
        (parent, name, child)
        for parent in body.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Linear
    ]
    for parent, name, child in found:
        setattr(parent, name, TunedLinear(child, compute))


def tuned(model: Any) -> Iterator[tuple[str, TunedLinear]]:
    """The maps by their names inside the model's body."""
    body = getattr(model, model.base_model_prefix, model)
    for name, module in body.named_modules():
        if isinstance(module, TunedLinear):
            yield name, module
