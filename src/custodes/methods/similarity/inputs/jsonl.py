"""JSONL, one answer a line: `model, question, label`, and `probabilities`, `logprobs` or `choice`.

With `choice` the number of `options` is needed too; a null answer means that there was none.
`group` is optional. Files may be gzipped; a folder is read file by file.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from custodes.errors import DataError
from custodes.methods.similarity.inputs.rows import Row, one_hot_row, softmax

__all__ = ["json_lines", "read", "whole"]


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place ("file:line") and object of each line; `DataError` names a line that is none."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                place = f"{path}:{number}"
                if not line.strip():
                    continue
                try:
                    value = json.loads(line)
                except ValueError as error:
                    raise DataError(f"{place}: not JSON: {error}") from None
                if not isinstance(value, dict):
                    raise DataError(f"{place}: got a {type(value).__name__}, expected an object")
                yield place, value
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text: {error}") from error


def read(path: Path) -> Iterator[Row]:
    """Rows of one file, or of every `.jsonl` and `.jsonl.gz` in a folder."""
    found = [*path.rglob("*.jsonl"), *path.rglob("*.jsonl.gz")]
    files = [path] if path.is_file() else sorted(found)
    for file in files:
        for place, value in json_lines(file):
            try:
                yield _row(value)
            except (KeyError, TypeError, ValueError, DataError) as error:
                raise DataError(
                    f"{place}: {error!s:.120}; expected model, question, label and one of "
                    "probabilities, logprobs, or choice with options"
                ) from None


def whole(value: Any) -> int:
    """An index or a count; `ValueError` where it is no whole number (`int` would cut 1.9 to 1)."""
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"got {value}, expected a whole number")
    return int(value)


def _row(value: dict[str, Any]) -> Row:
    options = value.get("options")
    if value.get("probabilities") is not None:
        answer: Any = [float(p) for p in value["probabilities"]]
    elif value.get("logprobs") is not None:
        answer = softmax([float(p) for p in value["logprobs"]])
    elif value.get("choice") is not None:
        answer = one_hot_row(whole(value["choice"]), whole(value["options"]))
    else:
        answer = None
    group = value.get("group")
    if isinstance(group, list | dict):
        raise ValueError(f"got the group {group!r:.60}, expected a name or a number")
    return Row(
        model=str(value["model"]),
        question=str(value["question"]),
        label=whole(value["label"]),
        options=len(answer) if options is None and answer is not None else whole(value["options"]),
        probabilities=answer,
        group=group,
    )
