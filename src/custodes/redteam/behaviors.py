"""Public behaviors as questions: HarmBench's and JailbreakBench's tables, JailbreakBench artifacts.

They bring no fact rubrics: a model or people judge them, or a guard alone is attacked. Nothing of
them comes with custodes.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from custodes.errors import DataError
from custodes.redteam.questions import Question, QuestionSet

__all__ = ["read_behaviors"]

_TEXT = ("Behavior", "Goal", "goal", "behavior", "text", "prompt", "request")
_ID = ("BehaviorID", "Index", "index", "id")
_CATEGORY = ("SemanticCategory", "Category", "category")


def read_behaviors(path: Path) -> QuestionSet:
    """A CSV (HarmBench, JailbreakBench), an artifact (JSON), or JSON lines; `DataError` if not."""
    try:
        rows = _rows(path)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    questions: dict[str, Question] = {}
    for number, row in enumerate(rows):
        question = _question(row, number, path)
        questions.setdefault(question.text, question)
    if not questions:
        raise DataError(f"{path}: holds no behavior; expected a column such as {', '.join(_TEXT)}")
    return QuestionSet(id=path.stem, title=path.name, questions=tuple(questions.values()))


def _rows(path: Path) -> list[Mapping[str, Any]]:
    if path.suffix == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:  # Excel begins with a mark
            return list(csv.DictReader(file))
    text = path.read_text(encoding="utf-8-sig")
    values: Any
    if path.suffix == ".jsonl":
        # Not splitlines, which also cuts at signs that JSON may hold, such as U+2028.
        values = [json.loads(line) for line in text.split("\n") if line.strip()]
    else:
        values = json.loads(text)
    if isinstance(values, dict):
        values = values.get("jailbreaks", values.get("behaviors"))
    if not isinstance(values, list) or not all(isinstance(row, dict) for row in values):
        raise ValueError("expected a list of objects, or an object with `jailbreaks`")
    return values


def _question(row: Mapping[str, Any], number: int, path: Path) -> Question:
    # HarmBench's column Behavior is the request; JailbreakBench's is a short name beside Goal.
    names = ("Goal", "goal") if ("Goal" in row or "goal" in row) else _TEXT
    text = next((str(row[name]) for name in names if row.get(name)), "")
    if not text:
        raise DataError(
            f"{path}: row {number}: has none of the columns {', '.join(_TEXT)}; it has "
            f"{', '.join(map(str, row))}"
        )
    if context := row.get("ContextString"):
        text = f"{context}\n\n{text}"
    label = next((str(row[name]) for name in _ID if row.get(name) not in (None, "")), str(number))
    category = next((str(row[name]) for name in _CATEGORY if row.get(name)), "")
    return Question(id=re.sub(r"[^A-Za-z0-9_.:-]", "_", label), text=text, category=category)
