"""A model's blocks in 8 bits, each token by itself: several times as fast on many processors.

A matrix has one scale for each of its rows, an input one scale for each token (dynamic
quantization, symmetric, by the greatest magnitude), and products are summed as integers, without
rounding. So a token's numbers do not depend on what else is in the batch, as they do where a whole
batch shares one scale (torch's `quantize_dynamic`). Where a processor has no units for integers
(`arithmetic`), the same integers are multiplied as float32, which holds the sums exactly: the
numbers are the same to the last bit, at the speed of float32.

Rounding to 8 bits makes much of little: where two ways to read a text differ in the last bit, some
input is rounded the other way, and after a few blocks they differ by a percent. So attention, the
one sum whose order depends on how a text comes, is computed in float64 and rounded once to
float32: streams and whole texts then agree to the last bit (but where a float64 lies within
rounding of the middle between two float32, one in a hundred million).
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from custodes.errors import ConfigError
from custodes.models.arithmetic import integers_pay
from custodes.models.residual import blocks_of

__all__ = ["EightBitLinear", "exact", "in_eight_bits"]

_STEPS = 127
_EXACT = 2**24 // _STEPS**2
"""So many products of steps a float32 can sum without rounding."""
_BLOCK = 64
"""Queries at a time: of a long text, half of all pairs of tokens are never computed."""
_ATTENTION = "custodes_float64"


class EightBitLinear(nn.Module):
    """x W^T + b, with W and x rounded to 127 steps on either side of nought.

    The weight stays beside what is made of it, so that it can be adapted, and read by others.
    """

    def __init__(self, linear: nn.Linear, inputs: _Rounded | None = None) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self.exact = False
        self._inputs = inputs or _Rounded()
        self._packed: tuple[int, Tensor, Tensor] | None = None

    def forward(self, values: Tensor) -> Tensor:
        """[..., in] -> [..., out]; `ConfigError` where a gradient is asked for outside
        of `exact`."""
        if self.exact:
            return nn.functional.linear(values, self.weight, self.bias)
        if values.requires_grad and torch.is_grad_enabled():
            raise ConfigError("dtype int8 has no gradients: use float32 for what needs them")
        matrix, scale = self._pack()
        steps, step = self._inputs.of(values, matrix.dtype)
        product = _product(steps, matrix)
        product.mul_(step).mul_(scale)
        if self.bias is not None:
            product.add_(self.bias)
        return product.view(*values.shape[:-1], -1)

    def _pack(self) -> tuple[Tensor, Tensor]:
        """The rounded matrix [in, out] and its scales [out], anew when the weight is another; in
        the type that this processor multiplies fast."""
        place = self.weight.data_ptr()
        if self._packed is None or self._packed[0] != place:
            weight = self.weight.detach().float()
            step = _step(weight)
            kind = torch.int8 if integers_pay() else torch.float32
            self._packed = place, (weight / step).round_().to(kind).t(), step[:, 0].clone()
        return self._packed[1:]


class _Rounded:
    """What inputs of a model's maps are in steps. The last one is kept: queries, keys and values
    are made of the same one, and so are a gate and what it lets through.

    The same is the same tensor, unchanged; tensors of inference mode do not count changes, and no
    module is known that changes an input between two maps of it.
    """

    def __init__(self) -> None:
        self._last: tuple[weakref.ref[Tensor], int, Tensor, Tensor] | None = None

    def of(self, values: Tensor, kind: torch.dtype) -> tuple[Tensor, Tensor]:
        """Whole numbers [n, in] of the type that is asked for, and the step of each row [n, 1]."""
        version = 0 if values.is_inference() else values._version
        if (last := self._last) is not None:  # another thread may put its own there meanwhile
            source, known, steps, step = last
            if source() is values and known == version and steps.dtype is kind:
                return steps, step
        rows = values.reshape(-1, values.shape[-1])
        step = _step(rows)
        steps = (rows / step).round_().to(kind)
        self._last = weakref.ref(values), version, steps, step
        return steps, step

    def __reduce__(self) -> tuple[type[_Rounded], tuple[()]]:
        """A copy remembers nothing."""
        return _Rounded, ()


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
    # Here and not above: whoever needs no model need not wait for transformers.
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, eager_mask

    AttentionInterface.register(_ATTENTION, _attention)
    AttentionMaskInterface.register(_ATTENTION, eager_mask)
    model.set_attn_implementation(_ATTENTION)
    inputs = _Rounded()
    for module in list(blocks_of(model).modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, EightBitLinear(child, inputs))


@contextmanager
def exact(model: nn.Module) -> Iterator[None]:
    """Compute with the weights as they are meanwhile, which have gradients; a model that is not in
    8 bits is left alone."""
    rounded = [module for module in model.modules() if isinstance(module, EightBitLinear)]
    for module in rounded:
        module.exact = True
    try:
        yield
    finally:
        for module in rounded:
            module.exact = False


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
    groups, past = key.shape[1], key.shape[2] - tokens
    key, value = key.double().transpose(2, 3), value.double()
    parts = []
    for start in range(0, tokens, _BLOCK):
        asked = query[:, :, start : start + _BLOCK].double()
        # No query sees the keys behind it; the queries that share a key stand in one matrix.
        end = start + asked.shape[2]
        seen = past + end
        scores = asked.reshape(batch, groups, -1, width) @ key[..., :seen]
        scores = scores.view(batch, heads, -1, seen)
        scores.mul_(width**-0.5 if scaling is None else scaling)
        scores.add_(attention_mask[:, :, start:end, :seen])
        weights = torch.softmax(scores, dim=-1).view(batch, groups, -1, seen)
        mixed = weights @ value[:, :, :seen]
        parts.append(mixed.view(batch, heads, -1, width).float())
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None


def _product(steps: Tensor, matrix: Tensor) -> Tensor:
    """Whole numbers [n, in] times [in, out] of one type, in float32, summed without rounding."""
    if matrix.dtype == torch.int8:
        return torch._int_mm(steps, matrix).float()
    width = len(matrix)
    if width <= _EXACT:
        return steps @ matrix
    parts = range(0, width, _EXACT)
    exact_sums = [steps[:, at : at + _EXACT] @ matrix[at : at + _EXACT] for at in parts]
    if len(exact_sums) == 2:  # one addition rounds the exact sum once, as float64 would
        return exact_sums[0].add_(exact_sums[1])
    return torch.stack(exact_sums).sum(0, dtype=torch.float64).float()


def _step(rows: Tensor) -> Tensor:
    """The size of a step for each row [n, 1]."""
    return rows.abs().amax(1, keepdim=True).clamp_min(1e-12) / _STEPS
