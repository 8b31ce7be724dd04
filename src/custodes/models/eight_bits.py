"""A model's blocks in 8 bits, each token by itself: several times as fast on a processor.

A matrix has one scale for each of its rows, an input one scale for each token (dynamic
quantization, symmetric, by the greatest magnitude), and products are summed as integers, without
rounding. So a token's numbers do not depend on what else is in the batch, as they do where a whole
batch shares one scale (torch's `quantize_dynamic`).

Rounding to 8 bits makes much of little: where two ways to read a text differ in the last bit, some
input is rounded the other way, and after a few blocks they differ by a percent. So attention, the
one sum whose order depends on how a text comes, is computed in float64 and rounded once to
float32: streams and whole texts then agree to the last bit (but where a float64 lies within
rounding of the middle between two float32, one in a hundred million).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from custodes.errors import ConfigError
from custodes.models.residual import blocks_of

__all__ = ["EightBitLinear", "in_eight_bits"]

_STEPS = 127
_ATTENTION = "custodes_float64"


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
    model.set_attn_implementation(_ATTENTION)
    for module in list(blocks_of(model).modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, EightBitLinear(child))


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """Grouped-query attention [B, H, T, d] in float64; what transformers calls in each block."""
    if strange := [name for name in ("softcap", "s_aux") if more.get(name) is not None]:
        raise ConfigError(f"dtype int8: this model's attention has {strange[0]}: use float32")
    batch, heads, tokens, width = query.shape
    groups, seen = key.shape[1], key.shape[2]
    # The queries that share a key stand in one matrix.
    asked = query.double().reshape(batch, groups, -1, width)
    scores = (asked @ key.double().transpose(2, 3)).reshape(batch, heads, tokens, seen)
    scores.mul_(width**-0.5 if scaling is None else scaling).add_(attention_mask[..., :seen])
    weights = torch.softmax(scores, dim=-1).reshape(batch, groups, -1, seen)
    mixed = (weights @ value.double()).float().reshape(batch, heads, tokens, width)
    return mixed.transpose(1, 2).contiguous(), None


AttentionInterface.register(_ATTENTION, _attention)
AttentionMaskInterface.register(_ATTENTION, eager_mask)


def _step(rows: Tensor) -> Tensor:
    """The size of a step for each row [n, 1]."""
    return rows.abs().amax(1, keepdim=True).clamp_min(1e-12) / _STEPS
