"""A trial: one person judged one item in one arm; and where trials come from.

Plain values; the analysis knows nothing of queues, so that trials from a file do as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from custodes.data.tables import iterate_lines
from custodes.errors import DataError
from custodes.store import Rated

__all__ = ["Trial", "read_trials", "trials_of", "units_of", "usable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """`order`: the rater's first trial is 0, the next 1... `first`: the answer before help was
    shown, in blind studies. `confidence`: the rater's own. `ai_confidence`: the AI's. Seconds
    count from when the item was shown."""

    rater: str
    item: str
    arm: str
    order: int
    truth: str
    answer: str
    ai_answer: str
    ai_confidence: float
    confidence: float | None = None
    first: str | None = None
    seconds: float = math.nan
    simulated: bool = False

    @property
    def right(self) -> bool:
        """Whether the rater was."""
        return self.answer == self.truth

    @property
    def ai_right(self) -> bool:
        """Whether the AI was."""
        return self.ai_answer == self.truth

    def to_values(self) -> dict[str, Any]:
        """Plain JSON."""
        values = asdict(self)
        return {**values, "seconds": None if math.isnan(self.seconds) else self.seconds}


def trials_of(rated: Iterable[Rated], truths: Mapping[str, str]) -> list[Trial]:
    """Trials from a queue's ratings; `truths`: ref of a case -> its right answer.

    Ratings whose case has no known answer, or of which the AI said nothing, are left out.
    """
    ordered = sorted(rated, key=lambda each: each.judgment.given or 0.0)
    count: dict[str, int] = {}
    found = []
    for each in ordered:
        judgment, case = each.judgment, each.case
        order = count.setdefault(judgment.rater, 0)
        count[judgment.rater] = order + 1
        truth = truths.get(case.ref, case.gold)
        if truth is None or case.ai_answer is None or judgment.answer is None:
            continue
        found.append(
            Trial(
                rater=judgment.rater,
                item=case.ref,
                arm=judgment.arm,
                order=order,
                truth=truth,
                answer=judgment.answer,
                ai_answer=case.ai_answer,
                ai_confidence=case.ai_confidence if case.ai_confidence is not None else math.nan,
                confidence=judgment.confidence,
                first=judgment.first_answer,
                seconds=judgment.seconds if judgment.seconds is not None else math.nan,
            )
        )
    return found


def read_trials(path: Path) -> list[Trial]:
    """Trials of a JSONL file, one object a line with the fields of `Trial`."""
    known = {field.name for field in fields(Trial)}
    found = []
    for place, record in iterate_lines(path):
        values = {name: value for name, value in record.items() if value is not None}
        try:
            trial = Trial(**values)
        except TypeError as error:
            raise DataError(f"{place}: {error}; expected {', '.join(sorted(known))}") from None
        found.append(trial)
    return found


def units_of(trials: Sequence[Trial]) -> int:
    """How many independent units trials hold at least: their raters or items, the fewer."""
    return min(len({trial.rater for trial in trials}), len({trial.item for trial in trials}))


def usable(trials: Sequence[Trial]) -> list[Trial]:
    """The trials, or `DataError` where nothing can be learned from them."""
    if len({trial.arm for trial in trials}) < 2:
        raise DataError(
            f"study: got {len(trials)} trials in "
            f"{', '.join(sorted({trial.arm for trial in trials})) or 'no arm'}; expected trials "
            "of two arms at least, on items with a known answer"
        )
    return list(trials)
