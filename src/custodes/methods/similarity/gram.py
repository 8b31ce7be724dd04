"""Sums over questions from which every pairwise metric of two sets of models follows.

Knows blocks of answers and matrix products; knows neither where blocks come from nor names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from custodes.errors import DataError
from custodes.methods.similarity.answers import TOLERANCE, Floats, Integers, check
from custodes.methods.similarity.metrics import DEGENERATE, chance_corrected

__all__ = ["MATRIX_METRICS", "Gram"]

MATRIX_METRICS = (
    "capa",
    "capa-discrete",
    "error-consistency",
    "cohen",
    "scott",
    "agreement",
    "both-wrong",
    "error-correlation",
)
"""The metrics of the family that are matrix products; Jensen-Shannon is not one."""

_NEED_CHOICES = frozenset({"capa-discrete", "cohen", "scott", "agreement", "both-wrong"})


@dataclass(slots=True)
class _Side:
    """Sums of one set of m models."""

    right: Any = 0.0
    mass: Any = 0.0
    own_overlap: Any = 0.0
    choices: Any = 0.0


@dataclass(slots=True)
class Gram:
    """Accumulates blocks [m, b, O] of two sets of models (`second=None`: the first with itself).

    Sums: overlap sum_o p1(o)p2(o) (float64), equal choices and both right (exact counts).
    """

    metrics: Sequence[str]
    questions: int = 0
    _chance: float = 0.0
    _overlap: Any = 0.0
    _equal: Any = 0.0
    _both: Any = 0.0
    _first: _Side = field(default_factory=_Side)
    _second: _Side = field(default_factory=_Side)

    def __post_init__(self) -> None:
        unknown = [name for name in self.metrics if name not in MATRIX_METRICS]
        if unknown or not self.metrics:
            raise DataError(
                f"got the metrics {list(self.metrics)}; for all pairs expected some of "
                f"{', '.join(MATRIX_METRICS)}"
            )

    def update(
        self,
        first: Any,
        second: Any | None,
        labels: Integers,
        options: Integers,
        *,
        trusted: bool = False,
    ) -> None:
        """Add b questions; `DataError` where a row is no distribution (unless `trusted`)."""
        for block in (first,) if second is None else (first, second):
            if not trusted:
                _check_block(block, labels, options)
        self.questions += len(labels)
        self._chance += float((1.0 / (options - 1)).sum())
        a = self._side(self._first, first, labels)
        b = a if second is None else self._side(self._second, second, labels)
        if "capa" in self.metrics:
            self._overlap = self._overlap + _product(a[0], b[0])
        if self._needs_choices:
            self._equal = self._equal + _product(a[1], b[1]).astype(np.float64)
        if self._needs_right:
            self._both = self._both + _product(a[2], b[2]).astype(np.float64)
        if second is None:
            self._second = self._first

    @property
    def _needs_choices(self) -> bool:
        return not _NEED_CHOICES.isdisjoint(self.metrics)

    @property
    def _needs_right(self) -> bool:
        # Finding the choices costs as much as the overlap's product: not for CAPA alone.
        return set(self.metrics) != {"capa"}

    def _side(self, side: _Side, block: Any, labels: Integers) -> tuple[Any, Any, Any]:
        """Flat answers [m, b O], flat one-hot choices, rightness [m, b]; None if not needed."""
        models, count, width = block.shape
        side.mass = side.mass + _numpy(block[:, np.arange(count), labels].sum(-1))
        flat = block.reshape(models, count * width)
        if "capa" in self.metrics:
            side.own_overlap = side.own_overlap + _own_products(flat)
        right = chosen = None
        if self._needs_right:
            choice = _numpy(block.argmax(-1))
            right = (choice == labels).astype(np.float32)
            side.right = side.right + right.sum(axis=1, dtype=np.float64)
        if self._needs_choices:
            # Counts below 2^24 a block are exact in float32, at half the cost.
            chosen = np.zeros((models, count, width), dtype=np.float32)
            np.put_along_axis(chosen, choice[..., None], 1.0, axis=-1)
            side.choices = side.choices + chosen.sum(axis=1, dtype=np.float64)
            chosen = chosen.reshape(models, count * width)
        return flat, chosen, right

    def accuracy(self) -> tuple[Floats, Floats]:
        """Share of right choices of the first and the second set; NaN for CAPA alone."""
        if not self._needs_right:
            mass = self.mass()
            return np.full_like(mass[0], np.nan), np.full_like(mass[1], np.nan)
        return self._first.right / self.questions, self._second.right / self.questions

    def mass(self) -> tuple[Floats, Floats]:
        """Mean probability of the right option of the first and the second set."""
        return self._first.mass / self.questions, self._second.mass / self.questions

    def values(self) -> dict[str, Floats]:
        """Each metric for each pair [m1, m2], and `ceiling` where `capa` was asked for."""
        if not self.questions:
            raise DataError("got no questions; a similarity needs at least one")
        result = {name: self._value(name) for name in self.metrics}
        if "capa" in self.metrics:
            most = np.sqrt(np.multiply.outer(self._first.own_overlap, self._second.own_overlap))
            result["ceiling"] = self._capa(most, *self.mass())
        return result

    def _value(self, name: str) -> Floats:
        if name == "capa":
            return self._capa(_numpy(self._overlap), *self.mass())
        n, right = self.questions, self.accuracy()
        if name == "capa-discrete":
            return self._capa(self._equal, *right)
        if name == "agreement":
            return np.asarray(self._equal / n)
        if name in ("cohen", "scott"):
            return chance_corrected(self._equal / n, self._expected_choices(name))
        a, b = right[0][:, None], right[1][None, :]
        both = self._both / n
        if name == "both-wrong":
            wrong = np.rint(n * (1 - a - b + both))
            return _where_positive(self._equal - self._both, wrong)
        if name == "error-consistency":
            return chance_corrected(1 - a - b + 2 * both, a * b + (1 - a) * (1 - b))
        spread = a * (1 - a) * b * (1 - b)
        usable = np.where(spread > DEGENERATE, spread, 0.0)
        return _where_positive(both - a * b, np.sqrt(usable))

    def _capa(self, observed: Floats, first: Floats, second: Floats) -> Floats:
        a, b = first[:, None], second[None, :]
        chance = self._chance / self.questions
        return chance_corrected(observed / self.questions, a * b + chance * (1 - a) * (1 - b))

    def _expected_choices(self, name: str) -> Floats:
        a, b = self._first.choices / self.questions, self._second.choices / self.questions
        if name == "cohen":
            return np.asarray(a @ b.T)
        squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :]
        return np.asarray((squares + 2 * (a @ b.T)) / 4)


def _where_positive(part: Floats, whole: Floats) -> Floats:
    usable = whole > 0
    return np.where(usable, part / np.where(usable, whole, 1.0), np.nan)


def _numpy(values: Any) -> Any:
    return values.detach().cpu().numpy() if hasattr(values, "detach") else values


def _product(first: Any, second: Any) -> Any:
    """`first second^T`; numpy sees that `x @ x.T` is symmetric and does half the work."""
    return first @ second.T


def _own_products(flat: Any) -> Floats:
    if hasattr(flat, "detach"):
        return np.asarray(_numpy((flat * flat).sum(-1)), dtype=np.float64)
    return np.asarray(np.einsum("mk,mk->m", flat, flat), dtype=np.float64)


def _check_block(block: Any, labels: ArrayLike, options: Integers) -> None:
    gold = np.asarray(labels)
    if hasattr(block, "detach"):
        # On its device first; the message, if one is needed, comes from the CPU copy.
        fine = float((block.sum(-1) - 1).abs().max()) <= TOLERANCE and float(block.min()) >= 0
        ragged = int(options.min()) < block.shape[-1]
        block = _numpy(block if ragged or not fine else block[:1])
    check(np.asarray(block, dtype=np.float64), gold, options)
