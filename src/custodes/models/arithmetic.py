"""What this processor multiplies fast, measured once in a process.

Products of 8-bit integers and of bfloat16 are several times as fast as float32's where a
processor has units for them (AVX-512 VNNI and BF16, AMX), and some thirty to sixty times as slow
where it has none: libraries then compute number by number. Flags do not tell which of its units a
library uses, so a small product is timed. Light to import: settings take `Precision` from here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

__all__ = ["Precision", "bfloat16_pays", "integers_pay", "resolved"]

Precision = Literal["auto", "float32", "bfloat16"]
"""Of matrix products; auto: bfloat16 where it is the faster, else float32."""

_ROWS, _WIDTH, _TIMES = 256, 576, 5
"""Of the product that is timed: at 64 rows what a call costs besides hides what the units gain."""


def resolved(precision: Precision, device: torch.device | str) -> Literal["float32", "bfloat16"]:
    """What `auto` comes to on a device; accelerators are taken to have bfloat16."""
    import torch

    if precision != "auto":
        return precision
    fast = bfloat16_pays() if torch.device(device).type == "cpu" else True
    return "bfloat16" if fast else "float32"


@cache
def bfloat16_pays() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32."""
    values = _values()
    rough = values.bfloat16()
    return _faster(lambda: rough @ rough.t(), lambda: values @ values.t())


@cache
def integers_pay() -> bool:
    """Whether it multiplies 8-bit integers faster than float32."""
    import torch

    values = _values()
    small = values.to(torch.int8)
    return _faster(lambda: torch._int_mm(small, small.t()), lambda: values @ values.t())


def _values() -> torch.Tensor:
    import torch

    return torch.arange(_ROWS * _WIDTH, dtype=torch.float32).view(_ROWS, _WIDTH) % 7


def _faster(one: Callable[[], torch.Tensor], other: Callable[[], torch.Tensor]) -> bool:
    """By the least of some runs of each, after one to warm up; by turns, so that what else the
    machine does meets both."""
    import torch

    least = [float("inf"), float("inf")]
    with torch.inference_mode():
        for number in range(_TIMES + 1):
            for side, product in enumerate((one, other)):
                began = time.perf_counter()
                product()
                if number:
                    least[side] = min(least[side], time.perf_counter() - began)
    return least[0] < least[1]
