"""Rows of unlike lengths side by side in one row of tokens, with attention inside each only.

Everything in a transformer but attention treats tokens one by one, so rows can stand behind one
another without a padding token. Attention is computed row by row, rows of like length together.
A row may be a tree (a prompt with many continuations), whose tokens see their ancestors alone.

transformers is told of the attention by the name `custodes_packed`; outside of `attending` the
model is as it was. Knows no loss.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from custodes.errors import ConfigError, InputError
from custodes.models.tuning.rows import Row

__all__ = ["Packed", "Plan", "attending", "pack_rows", "packing", "parts_of", "plan_attention"]

_NAME = "custodes_packed"
_ALIKE = 0.75  # rows at least so long as the longest of their group are computed with it


@dataclass(frozen=True, slots=True)
class _Group:
    """Rows computed together: where their tokens stand [B, L], and who sees whom, where trees."""

    places: Tensor
    mask: Tensor | None


@dataclass(frozen=True, slots=True)
class Plan:
    """How attention over T tokens is computed; `back` [T] finds each token in the groups' outputs.

    `uniform`: rows of one length in order, (B, L), which need no copies.
    """

    groups: tuple[_Group, ...]
    back: Tensor
    uniform: tuple[int, int] | None
    longest: int


@dataclass(frozen=True, slots=True)
class Packed:
    """R rows as one row of T tokens, with N targets.

    `ids`, `positions`, `owner` (the row of each token) [T]; `source` (the place that predicts),
    `target` (the id predicted), `weight`, `target_owner` [N]; `tags` [R].
    """

    ids: Tensor
    positions: Tensor
    owner: Tensor
    source: Tensor
    target: Tensor
    weight: Tensor
    target_owner: Tensor
    tags: tuple[str, ...]
    plan: Plan

    @property
    def rows(self) -> int:
        """How many rows."""
        return len(self.tags)

    def sums(self, values: Tensor) -> Tensor:
        """Values of targets [N] added up by row, [R]."""
        return values.new_zeros(self.rows).index_add(0, self.target_owner, values)


def pack_rows(rows: Sequence[Row], device: torch.device | str = "cpu") -> Packed:
    """Put rows behind one another; their order stays. `InputError` for no rows."""
    if not rows:
        raise InputError("packing: got no rows, expected at least one")
    ids: list[int] = []
    owner: list[int] = []
    positions: list[int] = []
    targets: list[tuple[int, int, int]] = []
    weights: list[float] = []
    for number, row in enumerate(rows):
        start = len(ids)
        ids += row.ids
        owner += [number] * len(row.ids)
        positions += range(len(row.ids))
        for place in range(1, len(row.ids)):
            if row.weights[place] != 0:
                targets.append((start + place - 1, row.ids[place], number))
                weights.append(row.weights[place])

    def whole(values: Sequence[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=device)

    return Packed(
        ids=whole(ids),
        positions=whole(positions),
        owner=whole(owner),
        source=whole([source for source, _, _ in targets]),
        target=whole([target for _, target, _ in targets]),
        weight=torch.tensor(weights, dtype=torch.float32, device=device),
        target_owner=whole([number for _, _, number in targets]),
        tags=tuple(row.tag for row in rows),
        plan=plan_attention([len(row.ids) for row in rows], device),
    )


def plan_attention(
    lengths: Sequence[int],
    device: torch.device | str = "cpu",
    masks: Sequence[Tensor] | None = None,
) -> Plan:
    """Group rows of like length; `masks`: who sees whom within each row, bool [L, L]."""
    starts = [0]
    for length in lengths:
        starts.append(starts[-1] + length)
    longest = max(lengths)
    if masks is None and min(lengths) == longest:
        whole = torch.arange(starts[-1], device=device)
        return Plan((), whole, (len(lengths), longest), longest)
    groups, back, done = [], torch.empty(starts[-1], dtype=torch.long), 0
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    while order:
        size = lengths[order[0]]
        cut = next((n for n, row in enumerate(order) if lengths[row] < _ALIKE * size), len(order))
        chosen, order = order[:cut], order[cut:]
        places = torch.zeros(cut, size, dtype=torch.long)
        mask = None if masks is None else torch.zeros(cut, 1, size, size, dtype=torch.bool)
        for line, row in enumerate(chosen):
            here, length = starts[row], lengths[row]
            steps = torch.arange(length)
            places[line, :length] = here + steps
            places[line, length:] = here
            back[here : here + length] = done + line * size + steps
            if mask is not None and masks is not None:
                mask[line, 0, :length, :length] = masks[row]
                mask[line, 0, length:, 0] = True  # what fills up must see something
        done += cut * size
        groups.append(_Group(places.to(device), None if mask is None else mask.to(device)))
    return Plan(tuple(groups), back.to(device), None, longest)


def parts_of(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Numbers of the rows, shortest first, in parts of at most so many tokens (a row may exceed
    it): what is packed and passed at once."""
    part: list[int] = []
    size = 0
    for n in sorted(range(len(lengths)), key=lambda n: lengths[n]):
        if part and size + lengths[n] > tokens:
            yield part
            part, size = [], 0
        part.append(n)
        size += lengths[n]
    if part:
        yield part


class _Current(threading.local):
    plan: Plan | None = None


_current = _Current()


def packing() -> bool:
    """Whether a pass over packed rows is under way in this thread."""
    return _current.plan is not None


@contextmanager
def attending(model: Any, plan: Plan) -> Iterator[None]:
    """While inside, the model's attention follows `plan`; its input must be [1, T]."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    if _NAME not in ALL_ATTENTION_FUNCTIONS:
        ALL_ATTENTION_FUNCTIONS.register(_NAME, _attention)
    config = model.config.get_text_config()
    before, config._attn_implementation = config._attn_implementation, _NAME
    _current.plan = plan
    try:
        yield
    finally:
        config._attn_implementation = before
        _current.plan = None


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Tensor, None]:
    """Queries [1, H, T, D] -> outputs [1, T, H, D], each row of the plan by itself."""
    plan = _current.plan
    if plan is None:
        raise AssertionError("packed attention was called outside of `attending`")
    window = options.get("sliding_window")
    if (
        options.get("softcap")
        or options.get("s_aux") is not None
        or (window is not None and window < plan.longest)
    ):
        raise ConfigError(
            f"a {type(module).__name__} caps or windows its attention, which packed rows do not "
            "follow; expected a model with plain causal attention, such as Llama, Qwen or SmolLM"
        )
    query, key = query.to(value.dtype), key.to(value.dtype)  # rotary embeddings leave float32
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    plain = query.device.type == "cpu" and torch.is_grad_enabled() and not dropout

    def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        if plain and mask is None:
            return _causal(q, k, v, scale).transpose(1, 2)
        found = torch.nn.functional.scaled_dot_product_attention(
            q,
            k,
            v,
            mask,
            dropout,
            is_causal=mask is None,
            scale=scale,
            enable_gqa=k.shape[1] != q.shape[1],
        )
        return found.transpose(1, 2)

    if plan.uniform is not None:
        rows, length = plan.uniform

        def split(x: Tensor) -> Tensor:
            return x.reshape(x.shape[1], rows, length, x.shape[3]).transpose(0, 1)

        whole = attend(split(query), split(key), split(value), None)
        return whole.reshape(1, rows * length, *whole.shape[2:]), None
    parts = []
    tokens = [x[0].transpose(0, 1) for x in (query, key, value)]  # [T, H, D]
    for group in plan.groups:
        at = group.places.reshape(-1)
        q, k, v = (
            x.index_select(0, at).view(*group.places.shape, *x.shape[1:]).transpose(1, 2)
            for x in tokens
        )
        parts.append(attend(q, k, v, group.mask).flatten(0, 1))
    return torch.cat(parts).index_select(0, plan.back).unsqueeze(0), None


def _causal(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Causal attention [B, H, L, D] by its formula: on a processor, its gradient takes a third of
    the time of the fused kernel's (bfloat16, L = 120: 12 against 37 ms)."""
    rows, heads, length, width = query.shape
    spread = heads // key.shape[1]
    key, value = (
        x.unsqueeze(2).expand(-1, -1, spread, -1, -1).reshape(rows * heads, length, width)
        for x in (key, value)
    )
    future = torch.full((length, length), -torch.inf, dtype=query.dtype).triu(1)
    scores = torch.baddbmm(
        future.expand(rows * heads, length, length),
        (scale * query).reshape(rows * heads, length, width),
        key.transpose(1, 2),
    )
    return (scores.softmax(dim=-1) @ value).view(rows, heads, length, width)
