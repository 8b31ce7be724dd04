"""Question sets from files: the shipped ones, YAML, and tables of public behaviors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from custodes.errors import DataError
from custodes.redteam.behaviors import read_behaviors
from custodes.redteam.questions import QuestionSet

__all__ = ["read_questions", "shipped_questions"]

_SHIPPED = Path(__file__).parent / "shipped"


def shipped_questions() -> dict[str, Path]:
    """Name -> file of each question set that comes with custodes."""
    return {path.stem: path for path in sorted(_SHIPPED.glob("*.yaml"))}


def read_questions(name: str | Path, *, only: Sequence[str] = ()) -> QuestionSet:
    """A shipped set by its name, or a YAML file, or a behaviors file of `interop` (CSV, JSON).

    `only` keeps those ids, in their order. `DataError` says what is wrong with the file.
    """
    path = shipped_questions().get(str(name), Path(name))
    if not path.is_file():
        raise DataError(
            f"questions: {name} is neither a file nor a shipped set; expected a YAML file, or one "
            f"of {', '.join(shipped_questions())}"
        )
    found = _parse(path)
    if only:
        found = found.model_copy(update={"questions": tuple(found.question(q) for q in only)})
    return found


def _parse(path: Path) -> QuestionSet:
    if path.suffix in {".csv", ".json", ".jsonl"}:
        return read_behaviors(path)
    try:
        values: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(values, dict):
        raise DataError(f"{path}: got a {type(values).__name__}, expected a mapping")
    try:
        return QuestionSet.parse(values, origin=str(path))
    except ValueError as error:
        raise DataError(str(error)) from error
