"""A model's blocks in 8 bits, each token by itself: several times as fast on a processor.

A matrix has one scale for each of its rows, an input one scale for each token (dynamic
quantization, symmetric, by the greatest magnitude), and products are summed as integers, without
rounding. So a token's numbers do not depend on what else is in the batch, as they do where a whole
batch shares one scale (torch's `quantize_dynamic`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from custodes.errors import ConfigError
from custodes.models.residual import blocks_of

__all__ = ["EightBitLinear", "in_eight_bits"]

_STEPS = 127


class EightBitLinear(nn.Module):
    """x W^T + b, with W and x rounded to 127 steps on either side of nought.

    The weight stays beside what is made of it, so that it can be adapted, and read by others.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self._packed: tuple[int, Tensor, Tensor] | None = None

    def forward(self, values: Tensor) -> Tensor:
        """[..., in] -> [..., out]; `ConfigError` where a gradient is asked for."""
        if values.requires_grad and torch.is_grad_enabled():
            raise ConfigError("dtype int8 has no gradients: use float32 for what needs them")
        matrix, scale = self._pack()
        rows = values.reshape(-1, values.shape[-1])
        step = _step(rows)
        product = torch._int_mm((rows / step).round_().to(torch.int8), matrix).float()
        product.mul_(step).mul_(scale)
        if self.bias is not None:
            product.add_(self.bias)
        return product.view(*values.shape[:-1], -1)

    def _pack(self) -> tuple[Tensor, Tensor]:
        """The rounded matrix [in, out] and its scales [out], anew when the weight is another."""
        place = self.weight.data_ptr()
        if self._packed is None or self._packed[0] != place:
            weight = self.weight.detach().float()
            step = _step(weight)
            self._packed = place, (weight / step).round_().to(torch.int8).t(), step[:, 0].clone()
        return self._packed[1:]


def in_eight_bits(model: Any) -> None:
    """Let every linear map inside the blocks compute in 8 bits; embeddings, norms and the last map
    stay as they are.

    `ConfigError` off the processor, where torch's integer product asks for other shapes.
    """
    if model.device.type != "cpu":
        raise ConfigError(
            f"dtype int8: got device {str(model.device)!r}; it is for processors (device cpu): "
            "use bfloat16 there"
        )
    for module in list(blocks_of(model).modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, EightBitLinear(child))


def _step(rows: Tensor) -> Tensor:
    """The size of a step for each row [n, 1]."""
    return rows.abs().amax(1, keepdim=True).clamp_min(1e-12) / _STEPS
