"""Marks that judges have given already, from JSONL: `judge, judged, mark`, a line a mark.

A pair may have one line (its mean mark) or many (a line a question, which may name its `question`).
Knows no model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from custodes.errors import DataError
from custodes.methods.similarity.answers import Answers
from custodes.methods.similarity.inputs.jsonl import json_lines
from custodes.methods.similarity.judges import Marks

__all__ = ["read_marks"]


def read_marks(
    path: Path,
    answers: Answers,
    *,
    questions: Sequence[str] | None = None,
    say: Callable[[str], object] | None = None,
) -> Marks:
    """Mean marks of every judge and judged in the file; all of them must be among the answers.

    Where lines name a `question`, only those of `questions` count (all, where that is None), so
    that marks are compared with what was answered to the same questions; `say` hears how many
    lines were left out. A question that comes twice for a pair is a `DataError`.
    """
    found: dict[tuple[str, str], list[float]] = {}
    seen: set[tuple[str, str, str]] = set()
    kept = None if questions is None else frozenset(questions)
    left_out = 0
    for place, value in json_lines(path):
        try:
            pair, mark = (str(value["judge"]), str(value["judged"])), float(value["mark"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{place}: {error!r}; expected judge, judged and mark") from None
        if not math.isfinite(mark):
            raise DataError(f"{place}: got the mark {mark}; expected a number, or no line")
        if (question := value.get("question")) is not None:
            if (*pair, str(question)) in seen:
                raise DataError(
                    f"{place}: got a second mark of {pair[0]!r} for {pair[1]!r} on the question "
                    f"{str(question)!r}; expected one (are two runs mixed?)"
                )
            seen.add((*pair, str(question)))
            if kept is not None and str(question) not in kept:
                left_out += 1
                continue
        found.setdefault(pair, []).append(mark)
    if not found and left_out:
        raise DataError(
            f"{path}: got {left_out} marks, none of a question that all models answered; expected "
            "the questions of the answers, under the same names"
        )
    if not found:
        raise DataError(f"{path}: got no marks")
    if left_out and say is not None:
        say(f"left out: {left_out} marks of questions that not every model answered")
    judges = tuple(dict.fromkeys(judge for judge, _ in found))
    judged = tuple(dict.fromkeys(name for _, name in found))
    for name in (*judges, *judged):
        answers.index(name)
    marks = [
        [float(np.mean(found[judge, name])) if (judge, name) in found else math.nan
         for name in judged]
        for judge in judges
    ]  # fmt: skip
    return Marks(answers=answers, judges=judges, judged=judged, marks=np.array(marks))
