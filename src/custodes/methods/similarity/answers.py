"""What models answered: distributions over the options of questions, checked once.

Knows shapes and what a distribution is; knows no metric and no file format. Shapes throughout:
M models, n questions, O the largest number of options; a question with fewer options has zeros
behind its last one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from custodes.errors import DataError

__all__ = [
    "TOLERANCE",
    "Answers",
    "Floats",
    "Integers",
    "Rows",
    "check",
    "check_questions",
    "check_rows",
    "group_index",
    "harden",
    "is_level",
    "is_one_hot",
    "one_hot",
    "pad",
    "rightness",
    "temper",
]

TOLERANCE = 1e-6
"""A row may miss the sum 1 by this much (the tolerance of lm-sim 0.1.1)."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Rows = ArrayLike | Sequence[ArrayLike]
"""Distributions of one model: an array or tensor [n, O], or n rows of their own lengths."""


def _as_array(values: Any) -> Floats:
    """Float64 numpy; a torch tensor is detached and brought to the CPU."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"got answers that are not numbers ({error}); expected rows of floats"
        ) from None


def pad(rows: Rows) -> tuple[Floats, Integers]:
    """Distributions [n, O] padded with zeros, and the number of options of each row [n]."""
    if hasattr(rows, "ndim"):
        array = _as_array(rows)
        if array.ndim != 2:
            raise DataError(f"got answers of shape {array.shape}; expected [questions, options]")
        return array, np.full(len(array), array.shape[1], dtype=np.int64)
    parts = [_as_array(row) for row in rows]  # type: ignore[union-attr]
    for index, part in enumerate(parts):
        if part.ndim != 1:
            raise DataError(
                f"question {index}: got shape {part.shape}; expected one row of options"
            )
    options = np.array([len(part) for part in parts], dtype=np.int64)
    padded = np.zeros((len(parts), int(options.max(initial=0))))
    if parts:
        inside = np.arange(padded.shape[1]) < options[:, None]
        padded[inside] = np.concatenate(parts)
    return padded, options


def check(probabilities: Floats, labels: Integers, options: Integers) -> None:
    """Raise `DataError` unless every row of [..., n, O] is a distribution over its own options.

    The message names the first wrong question, what was got and what was expected.
    """
    check_questions(labels, options, probabilities.shape[-2:])
    check_rows(probabilities, options)


def check_questions(labels: Integers, options: Integers, shape: tuple[int, ...]) -> None:
    """`DataError` unless labels and options [n] fit answers of shape (n, O)."""
    n, width = shape
    if n == 0:
        raise DataError("got no questions; a similarity needs at least one")
    if labels.shape != (n,) or options.shape != (n,):
        raise DataError(
            f"got {labels.shape} labels and {options.shape} option counts for {n} questions; "
            "expected one of each a question"
        )
    if options.min() < 2 or options.max() > width:
        at = int(np.argmax((options < 2) | (options > width)))
        raise DataError(
            f"question {at}: got {options[at]} options; expected 2 to {width} "
            "(with one option there is nothing to be wrong about)"
        )
    outside = (labels < 0) | (labels >= options)
    if outside.any():
        at = int(np.argmax(outside))
        raise DataError(
            f"question {at}: got the label {labels[at]}; expected 0 to {options[at] - 1}, "
            f"the index of one of its {options[at]} options"
        )


def check_rows(probabilities: Floats, options: Integers) -> None:
    """`DataError` unless every row of [..., n, O] is a distribution over its own options."""
    n, width = probabilities.shape[-2:]
    # A product with ones is several times faster than a sum over a short axis.
    off = np.abs(probabilities @ np.ones(width) - 1.0)
    if not off.max() <= TOLERANCE:
        at = int(np.argmax(~(off <= TOLERANCE).reshape(-1, n).all(axis=0)))
        raise DataError(
            f"question {at}: got a row that sums to {probabilities[..., at, :].sum(axis=-1)}; "
            "expected probabilities that sum to 1"
        )
    if probabilities.min() < 0:
        at = int(np.argmax((probabilities < 0).any(axis=-1).reshape(-1, n).any(axis=0)))
        raise DataError(f"question {at}: got a negative probability; expected values in [0, 1]")
    if options.min() < width and (probabilities * (np.arange(width) >= options[:, None])).any():
        raise DataError("got probability on an option that its question does not have")


def harden(probabilities: Floats) -> Floats:
    """One-hot rows at the most probable option; the first of equals, as `numpy.argmax` does."""
    return one_hot(np.argmax(probabilities, axis=-1), probabilities.shape[-1])


def one_hot(choices: ArrayLike, width: int) -> Floats:
    """Rows [..., width] with a single 1 at each choice."""
    index = np.asarray(choices)
    rows = np.zeros((*index.shape, width))
    np.put_along_axis(rows, index[..., None], 1.0, axis=-1)
    return rows


def is_level(probabilities: Floats, options: Integers, *, room: float = 1e-9) -> NDArray[np.bool_]:
    """Which rows [..., n] favor none of their options: they choose nothing.

    `room` is for rounding; 1e-6 for what was float32.
    """
    # The first option alone tells of nearly all rows that they are not level, at a fraction of the
    # cost of a maximum over a short axis; a row may miss the sum 1 by the tolerance.
    first = probabilities[..., 0] * options
    level = np.asarray(np.abs(first - 1.0) <= 2 * TOLERANCE * options)
    if level.any():
        # 1 / options is the least that the greatest probability of a row can be.
        most = probabilities[level].max(axis=-1) * np.broadcast_to(options, level.shape)[level]
        level[level] = most <= 1.0 + room
    return level


def rightness(probabilities: Floats, labels: Integers, options: Integers) -> Floats:
    """Whether each row [..., n] chooses the right option, 0 or 1.

    A level row counts as a guess, 1 / options: its first option is not what the model answered.
    """
    right = probabilities.argmax(axis=-1) == labels
    return np.where(is_level(probabilities, options), 1.0 / options, right)


def is_one_hot(probabilities: Floats) -> bool:
    """Whether every entry is 0 or 1 exactly, up to `TOLERANCE`."""
    return bool((probabilities * (1.0 - probabilities)).max(initial=0.0) <= TOLERANCE)


def temper(probabilities: Floats, temperature: float) -> Floats:
    """p^(1/T), renormalized: T < 1 sharpens towards `harden`, T > 1 flattens."""
    if not temperature > 0:
        raise DataError(f"got the temperature {temperature}; expected a positive number")
    powered = probabilities ** (1.0 / temperature)
    return np.asarray(powered / powered.sum(axis=-1, keepdims=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Checked answers of M models to the same n questions.

    `probabilities` [M, n, O], `labels` [n] (index of the right option), `options` [n],
    `groups` [n] (the unit of resampling; None: each question is its own).
    """

    names: tuple[str, ...]
    probabilities: Floats
    labels: Integers
    options: Integers
    groups: Integers | None = None

    def __post_init__(self) -> None:
        if len(self.names) != len(self.probabilities) or not self.names:
            raise DataError(
                f"got {len(self.names)} names for {len(self.probabilities)} models; "
                "expected at least one model and as many names"
            )
        if len(set(self.names)) != len(self.names):
            raise DataError("got two models of one name; expected different names")
        if self.groups is not None and len(self.groups) != len(self.labels):
            raise DataError(f"got {len(self.groups)} groups for {len(self.labels)} questions")
        check_questions(self.labels, self.options, self.probabilities.shape[1:])
        for probabilities in self.probabilities:
            check_rows(probabilities, self.options)

    @classmethod
    def of(
        cls, rows: Mapping[str, Rows], labels: ArrayLike, *, groups: Sequence[object] | None = None
    ) -> Answers:
        """From each model's rows (ragged or not); groups may be any hashable values."""
        padded = {name: pad(value) for name, value in rows.items()}
        shapes = {name: tuple(options) for name, (_, options) in padded.items()}
        if len(set(shapes.values())) > 1:
            raise DataError(
                "the models answered different questions: got rows of different counts or "
                f"numbers of options for {', '.join(map(repr, shapes))}"
            )
        arrays = [array for array, _ in padded.values()]
        options = next((options for _, options in padded.values()), np.zeros(0, np.int64))
        return cls(
            names=tuple(rows),
            probabilities=np.stack(arrays) if arrays else np.zeros((0, 0, 0)),
            labels=np.asarray(labels, dtype=np.int64),
            options=options,
            groups=None if groups is None else group_index(groups),
        )

    def index(self, name: str) -> int:
        """Position of a model; `DataError` names those that there are."""
        if name not in self.names:
            raise DataError(f"got the model {name!r}; expected one of {', '.join(self.names)}")
        return self.names.index(name)

    def row(self, name: str) -> Floats:
        """One model's distributions [n, O]."""
        return np.asarray(self.probabilities[self.index(name)])

    def accuracy(self) -> Floats:
        """Share of right choices of each model [M]; see `rightness`."""
        return np.asarray(rightness(self.probabilities, self.labels, self.options).mean(axis=-1))

    def take(self, names: Sequence[str]) -> Answers:
        """The same questions, these models only, in this order."""
        rows = [self.index(name) for name in names]
        return Answers(
            names=tuple(names),
            probabilities=self.probabilities[rows],
            labels=self.labels,
            options=self.options,
            groups=self.groups,
        )


def group_index(groups: Sequence[object]) -> Integers:
    """Numbers 0..G-1 in order of first appearance."""
    seen: dict[object, int] = {}
    return np.array([seen.setdefault(group, len(seen)) for group in groups], dtype=np.int64)
