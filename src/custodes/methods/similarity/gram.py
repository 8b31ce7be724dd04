"""Sums over questions from which every pairwise metric of two sets of models follows.

Knows blocks of answers and matrix products; knows neither where blocks come from nor names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from custodes.errors import DataError
from custodes.methods.similarity.answers import TOLERANCE, Floats, Integers, check, is_level
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
    """Sums of one set of m models over all questions."""

    right: Any = 0.0
    mass: Any = 0.0
    own_overlap: Any = 0.0


@dataclass(slots=True)
class _Block:
    """One set's answers to b questions; None where no metric needs it.

    `flat` [m, b O]. `chosen` [m, b, O] one-hot, `right` and `answered` [m, b]: of a level row,
    which chooses nothing, all three are 0.
    """

    flat: Any
    chosen: Any = None
    right: Any = None
    answered: Any = None


@dataclass(slots=True)
class _Shared:
    """Sums over the questions that both of a pair chose an option of.

    `questions`, `chance` (of 1 / (|O| - 1)): a number or [m1, m2]. `first`, `second`: right ones,
    [m1, 1] and [1, m2], or [m1, m2]; their choices likewise with a last axis O. Only level rows
    make pairs differ, so that the wide forms are rare.
    """

    questions: Any = 0.0
    chance: Any = 0.0
    first: Any = 0.0
    second: Any = 0.0
    first_choices: Any = 0.0
    second_choices: Any = 0.0


@dataclass(slots=True)
class Gram:
    """Accumulates blocks [m, b, O] of two sets of models (`second=None`: the first with itself).

    Sums: overlap sum_o p1(o)p2(o) (float64), equal choices and both right (exact counts). Blocks
    of float32 are multiplied as they are, other types as float64.
    """

    metrics: Sequence[str]
    questions: int = 0
    _chance: float = 0.0
    _overlap: Any = 0.0
    _equal: Any = 0.0
    _both: Any = 0.0
    _first: _Side = field(default_factory=_Side)
    _second: _Side = field(default_factory=_Side)
    _shared: _Shared = field(default_factory=_Shared)

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
        first = _wide(first)
        second = None if second is None else _wide(second)
        for block in (first,) if second is None else (first, second):
            if not trusted:
                _check_block(block, labels, options)
        self.questions += len(labels)
        weights = 1.0 / (options - 1)
        self._chance += float(weights.sum())
        a = self._side(self._first, first, labels, options)
        b = a if second is None else self._side(self._second, second, labels, options)
        if "capa" in self.metrics:
            self._overlap = self._overlap + _double(_product(a.flat, b.flat))
        if self._needs_choices:
            one, two = (x.chosen.reshape(len(x.chosen), -1) for x in (a, b))
            self._equal = self._equal + _double(_product(one, two))
        if self._needs_right:
            self._both = self._both + _double(_product(a.right, b.right))
            self._share(a, b, weights)
        if second is None:
            self._second = self._first

    @property
    def _needs_choices(self) -> bool:
        return not _NEED_CHOICES.isdisjoint(self.metrics)

    @property
    def _needs_right(self) -> bool:
        # Finding the choices costs as much as the overlap's product: not for CAPA alone.
        return set(self.metrics) != {"capa"}

    @property
    def _needs_marginals(self) -> bool:
        return not {"cohen", "scott"}.isdisjoint(self.metrics)

    def _side(self, side: _Side, block: Any, labels: Integers, options: Integers) -> _Block:
        models, count, width = block.shape
        side.mass = side.mass + _double(block[:, np.arange(count), labels].sum(-1))
        found = _Block(block.reshape(models, count * width))
        if "capa" in self.metrics:
            side.own_overlap = side.own_overlap + _own_products(found.flat)
        if not self._needs_right:
            return found
        choice = _numpy(block.argmax(-1))
        level = _level(block, options)
        right = (choice == labels) & ~level
        side.right = side.right + right.sum(axis=1, dtype=np.float64) + level @ (1.0 / options)
        # Counts below 2^24 a block are exact in float32, at half the cost.
        found.right = right.astype(np.float32)
        found.answered = (~level).astype(np.float32)
        if self._needs_choices:
            found.chosen = np.zeros((models, count, width), dtype=np.float32)
            np.put_along_axis(found.chosen, choice[..., None], 1.0, axis=-1)
            found.chosen[level] = 0.0
        return found

    def _share(self, a: _Block, b: _Block, weights: Floats) -> None:
        """Add what chance is computed of; pair by pair only where a row of the block is level."""
        sums = self._shared
        narrow = bool(a.answered.all() and b.answered.all())
        if narrow:
            sums.questions = sums.questions + float(len(weights))
            sums.chance = sums.chance + float(weights.sum())
            sums.first = sums.first + a.right.sum(axis=1, dtype=np.float64)[:, None]
            sums.second = sums.second + b.right.sum(axis=1, dtype=np.float64)[None, :]
        else:
            sums.questions = sums.questions + _double(a.answered @ b.answered.T)
            sums.chance = sums.chance + (a.answered * weights) @ b.answered.T.astype(np.float64)
            sums.first = sums.first + _double(a.right @ b.answered.T)
            sums.second = sums.second + _double(a.answered @ b.right.T)
        if self._needs_marginals:
            if narrow:
                one = a.chosen.sum(axis=1, dtype=np.float64)[:, None]
                two = b.chosen.sum(axis=1, dtype=np.float64)[None, :]
            else:
                one = np.moveaxis(np.moveaxis(a.chosen, 2, 0) @ b.answered.T, 0, 2)
                two = np.moveaxis(a.answered @ np.moveaxis(b.chosen, 0, 2).swapaxes(0, 1), 0, 2)
            sums.first_choices = sums.first_choices + _double(one)
            sums.second_choices = sums.second_choices + _double(two)

    def accuracy(self) -> tuple[Floats, Floats]:
        """Share of right choices of the first and the second set; NaN for CAPA alone.

        A level row counts as a guess, 1 / options."""
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
        """A pair that shares no question that both chose an option of has NaN."""
        if name == "capa":
            a, b = self.mass()
            return self._capa(self._overlap, a, b)
        sums = self._shared
        n = np.where(np.asarray(sums.questions) > 0, sums.questions, np.nan)
        a, b = sums.first / n, sums.second / n
        if name == "capa-discrete":
            expected = a * b + sums.chance / n * (1 - a) * (1 - b)
            return chance_corrected(self._equal / n, expected)
        if name == "agreement":
            return np.asarray(self._equal / n)
        if name in ("cohen", "scott"):
            return chance_corrected(self._equal / n, self._expected_choices(name, n))
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

    def _expected_choices(self, name: str, n: Floats) -> Floats:
        a = self._shared.first_choices / n[..., None]
        b = self._shared.second_choices / n[..., None]
        narrow = a.shape[1] == 1 and b.shape[0] == 1  # no level rows: a product of matrices
        product = a[:, 0] @ b[0].T if narrow else (a * b).sum(axis=-1)
        if name == "cohen":
            return np.asarray(product)
        return np.asarray(((a**2).sum(axis=-1) + (b**2).sum(axis=-1) + 2 * product) / 4)


def _wide(block: Any) -> Any:
    """The block in a type that sums do not overflow or round off in; `DataError` for no numbers."""
    if hasattr(block, "detach"):
        import torch

        return block if block.dtype in (torch.float32, torch.float64) else block.float()
    block = np.asarray(block)
    if block.dtype.kind not in "fiub":
        raise DataError(f"got answers of type {block.dtype}; expected numbers, float32 or float64")
    return block if block.dtype in (np.float32, np.float64) else block.astype(np.float64)


def _double(values: Any) -> Floats:
    return np.asarray(_numpy(values), dtype=np.float64)


def _level(block: Any, options: Integers) -> NDArray[np.bool_]:
    """`is_level` of a block; of a tensor where it lies, and with the room that float32 needs."""
    if not hasattr(block, "detach"):
        return is_level(block, options, room=1e-9 if block.dtype == np.float64 else TOLERANCE)
    return np.asarray(_double(block.amax(-1)) * options <= 1.0 + TOLERANCE)


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
