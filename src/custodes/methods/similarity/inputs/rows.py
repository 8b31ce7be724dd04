"""One model's answer to one question, and the table that many of them make.

Models are lined up by question: kept are the questions that all of them answered. Knows no format.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from custodes.errors import DataError
from custodes.methods.similarity.answers import Answers, Floats

__all__ = ["Reading", "Row", "assemble", "one_hot_row", "softmax"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`probabilities` None: the model gave no valid answer among `options` options."""

    model: str
    question: str
    label: int
    options: int
    probabilities: Sequence[float] | Floats | None
    group: Hashable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Answers, the questions in their order, and why others were left out."""

    answers: Answers
    questions: tuple[str, ...]
    not_shared: int
    unanswered: int


def softmax(logits: Sequence[float]) -> Floats:
    """Probabilities of log-scores; -inf is 0. `DataError` where none is finite."""
    values = np.asarray(logits, dtype=np.float64)
    if values.size == 0 or np.isnan(values).any() or not np.isfinite(values.max()):
        raise DataError(f"got the log-probabilities {list(logits)!r:.80}; expected finite numbers")
    powers = np.exp(values - values.max())
    return np.asarray(powers / powers.sum())


def one_hot_row(choice: int, options: int) -> Floats:
    """All the mass on one option."""
    if not 0 <= choice < options:
        raise DataError(f"got the choice {choice}; expected 0 to {options - 1}")
    row = np.zeros(options)
    row[choice] = 1.0
    return row


def assemble(rows: Iterable[Row], *, unanswered: str = "drop", origin: str = "rows") -> Reading:
    """Line the rows up by question; `DataError` for a repeated answer or a changed question."""
    if unanswered not in ("drop", "uniform"):
        raise DataError(f"unanswered: got {unanswered!r}, expected 'drop' or 'uniform'")
    table, known = _by_model(rows, origin)
    shared = [q for q in known if all(q in answers for answers in table.values())]
    kept = [
        q
        for q in shared
        if unanswered == "uniform" or all(a[q].probabilities is not None for a in table.values())
    ]
    if not kept:
        raise DataError(
            f"{origin}: no question was answered by all of {', '.join(table)}; expected "
            "models that share questions"
        )
    return Reading(
        answers=Answers.of(
            {model: [_filled(answers[q]) for q in kept] for model, answers in table.items()},
            [known[q].label for q in kept],
            groups=_groups([known[q] for q in kept]),
        ),
        questions=tuple(kept),
        not_shared=len(known) - len(shared),
        unanswered=len(shared) - len(kept),
    )


def _by_model(rows: Iterable[Row], origin: str) -> tuple[dict[str, dict[str, Row]], dict[str, Row]]:
    """Model -> question -> row, and the first row of each question."""
    table: dict[str, dict[str, Row]] = {}
    known: dict[str, Row] = {}
    for row in rows:
        first = known.setdefault(row.question, row)
        if (row.label, row.options) != (first.label, first.options):
            raise DataError(
                f"{origin}: question {row.question!r}: {row.model!r} has label {row.label} of "
                f"{row.options} options, {first.model!r} has label {first.label} of {first.options}"
            )
        answers = table.setdefault(row.model, {})
        if row.question in answers:
            raise DataError(
                f"{origin}: got two answers of {row.model!r} to question {row.question!r}; "
                "expected one (are two runs mixed?)"
            )
        answers[row.question] = row
    if not table:
        raise DataError(f"{origin}: got no answers")
    return table, known


def _filled(row: Row) -> Floats:
    if row.probabilities is None:
        return np.full(row.options, 1.0 / row.options)
    values = np.asarray(row.probabilities, dtype=np.float64)
    place = f"question {row.question!r}, {row.model!r}"
    if len(values) != row.options:
        raise DataError(f"{place}: got {len(values)} probabilities for {row.options} options")
    if not math.isfinite(float(values.sum())):
        raise DataError(
            f"{place}: got the probabilities {values.tolist()!r:.80}; expected finite numbers, or "
            "null where there was no answer"
        )
    return values


def _groups(rows: Sequence[Row]) -> list[Hashable] | None:
    if all(row.group is None for row in rows):
        return None
    return [("own", row.question) if row.group is None else ("group", row.group) for row in rows]
