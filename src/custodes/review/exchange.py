"""Cases in and labels out: JSONL, CSV, Inspect logs, tables of training rows.

An Inspect log is read from its JSON form or from its zip (`.eval`), without Inspect. Nothing here
knows a database: rows are given and taken.
"""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from custodes.config import write_atomically
from custodes.data.tables import iterate_lines
from custodes.errors import DataError
from custodes.review.cases import Case, read_case

__all__ = ["COLUMNS", "read_cases", "write_labels"]

COLUMNS = (
    "case", "ref", "origin", "slice", "state", "answer", "settled_by", "rater", "part", "rating",
    "confidence", "arm", "first_answer", "seconds", "changes", "given", "note", "ai_answer",
    "ai_confidence", "gold",
)  # fmt: skip
"""Of a label, in files."""
_LARGEST_CELL = 2**31 - 1


def read_cases(path: Path) -> list[Case]:
    """Cases of a file; its form is told by its name. `DataError` names the place of a bad row.

    .jsonl, .jsonl.gz: one case an object. .csv: columns id, text (or prompt and reply), and as
    wanted question, ai_answer, ai_confidence, reasoning, skill, slice, gold. .eval, .json: an
    Inspect log, whose samples become cases and whose scores become opinions.
    """
    name = path.name
    if name.endswith((".jsonl", ".jsonl.gz")):
        found = [read_case(record, place=place) for place, record in iterate_lines(path)]
    elif name.endswith(".csv"):
        found = list(_from_csv(path))
    elif name.endswith((".eval", ".json")):
        found = list(_from_inspect(path))
    else:
        raise DataError(f"{path}: expected .jsonl, .jsonl.gz, .csv, .eval or .json")
    if not found:
        raise DataError(f"{path}: holds no case")
    seen: set[str] = set()
    for case in found:
        if case.ref in seen:
            raise DataError(f"{path}: the id {case.ref!r} comes twice")
        seen.add(case.ref)
    return found


def _from_csv(path: Path) -> Iterator[Case]:
    before = csv.field_size_limit(_LARGEST_CELL)  # a long conversation is more than 131,072
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            rows = [(f"{path}:{reader.line_num}", row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV: {error}") from error
    finally:
        csv.field_size_limit(before)
    for place, row in rows:
        if None in row:
            raise DataError(
                f"{place}: got more cells than the header has names, from {row[None][0]!r:.40} on; "
                "put a text that holds a comma in quotes"
            )
        record: dict[str, Any] = {name: value for name, value in row.items() if value}
        prompt, reply = record.pop("prompt", None), record.pop("reply", None)
        if prompt is not None:
            turns = [{"role": "user", "content": prompt}]
            if reply is not None:
                turns.append({"role": "assistant", "content": reply})
            record["messages"] = turns
        answer, confidence, reasoning = (
            record.pop(name, other)
            for name, other in (("ai_answer", None), ("ai_confidence", 0.5), ("reasoning", ""))
        )
        if answer is not None:
            record["opinions"] = [
                {
                    "source": "ai",
                    "answer": answer,
                    "confidence": confidence,
                    "reasoning": reasoning,
                }
            ]
        yield read_case(record, place=place)


def _from_inspect(path: Path) -> Iterator[Case]:
    for place, sample in _samples(path):
        try:
            record = _of_sample(sample, path.name)
        except (AttributeError, KeyError, TypeError) as error:
            raise DataError(
                f"{place}: is no sample of an Inspect log: {type(error).__name__}: {error}"
            ) from error
        yield read_case(record, place=place)


def _of_sample(sample: Mapping[str, Any], log: str) -> dict[str, Any]:
    """A sample as a case's record."""
    messages = [
        {"role": each["role"], "content": _plain(each.get("content"))}
        for each in sample.get("messages") or ()
    ]
    if not messages:
        messages = [{"role": "user", "content": _plain(sample.get("input"))}]
    scores = sample.get("scores") or {}
    opinions = [
        {
            "source": name,
            "answer": str(score.get("value")),
            "confidence": (score.get("metadata") or {}).get("confidence", 0.5),
            "reasoning": score.get("explanation") or "",
        }
        for name, score in scores.items()
    ]
    epoch = sample.get("epoch", 1)
    return {
        "id": f"{sample.get('id')}" + (f" epoch {epoch}" if epoch != 1 else ""),
        "messages": messages,
        "opinions": opinions,
        "meta": {"target": sample.get("target"), "log": log},
    }


def _samples(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        if path.suffix == ".json":
            log = json.loads(path.read_text(encoding="utf-8"))
            samples = log["samples"]
            yield from ((f"{path}: sample {n}", each) for n, each in enumerate(samples))
            return
        with zipfile.ZipFile(path) as packed:
            for name in sorted(packed.namelist()):
                if name.startswith("samples/") and name.endswith(".json"):
                    yield f"{path}: {name}", json.loads(packed.read(name))
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: is no Inspect log: {type(error).__name__}: {error}") from error


def _plain(content: Any) -> str:
    """The text of a message's content, which Inspect may keep in parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text", "") if isinstance(part, dict) else str(part) for part in content]
        return "\n".join(part for part in parts if part)
    return "" if content is None else str(content)


def write_labels(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Labels into .jsonl or .csv, whole or not at all; how many."""
    table: Sequence[Mapping[str, Any]] = list(rows)
    if path.suffix == ".csv":
        import io

        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _safe(row.get(name)) for name in COLUMNS} for row in table)
        write_atomically(path, text.getvalue())
    elif path.suffix == ".jsonl":
        lines = [json.dumps({name: row.get(name) for name in COLUMNS}) + "\n" for row in table]
        write_atomically(path, "".join(lines))
    else:
        raise DataError(f"{path}: expected .jsonl or .csv")
    return len(table)


def _safe(value: Any) -> Any:
    """A spreadsheet must not take a note for a formula."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value
