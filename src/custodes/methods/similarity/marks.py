"""Marks that judges have given already, from JSONL: `judge, judged, mark`, a line a mark.

A pair may have one line (its mean mark) or many (a line a question). Knows no model.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from custodes.errors import DataError
from custodes.methods.similarity.answers import Answers
from custodes.methods.similarity.inputs.jsonl import json_lines
from custodes.methods.similarity.judges import Marks

__all__ = ["read_marks"]


def read_marks(path: Path, answers: Answers) -> Marks:
    """Mean marks of every judge and judged in the file; all of them must be among the answers."""
    found: dict[tuple[str, str], list[float]] = {}
    for place, value in json_lines(path):
        try:
            pair, mark = (str(value["judge"]), str(value["judged"])), float(value["mark"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{place}: {error!r}; expected judge, judged and mark") from None
        if not math.isfinite(mark):
            raise DataError(f"{place}: got the mark {mark}; expected a number, or no line")
        found.setdefault(pair, []).append(mark)
    if not found:
        raise DataError(f"{path}: got no marks")
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
