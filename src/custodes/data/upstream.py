"""Read the makers' own files of a few sets, and make examples of their rows.

Each loader takes the file and yields rows. They were written after the makers' documentation and
tested on small files of the same form, never on the real addresses (the machine had no network).
A row's id is the set's name and the row's place in the makers' file. The gathered sets were also
cleaned of prompts that repeat across sets; a copy made here was not.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from custodes.data.catalogue import DataSet
from custodes.data.duplicates import normalize
from custodes.errors import DataError
from custodes.types import Example, Label, Message

__all__ = ["LOADERS", "read_upstream"]

Row = Mapping[str, Any]
Loader = Callable[[Row], dict[str, Any] | None]
"""One row of the makers' -> fields of the example, or None where the set leaves the row out."""


def read_upstream(dataset: DataSet, path: Path) -> Iterator[Example]:
    """The examples in the makers' file of a set; `DataError` names file, row and column."""
    if dataset.upstream is None or dataset.upstream.loader not in LOADERS:
        raise DataError(f"{dataset.name}: custodes has no loader for the makers' file of this set")
    parse, make = LOADERS[dataset.upstream.loader]
    number = 0
    try:
        for number, row in enumerate(parse(path)):
            fields = make(row)
            if fields is not None:
                yield _example(dataset, number, fields)
    except KeyError as error:
        raise DataError(
            f"{path}: row {number}: no column {error}; the makers' file has changed its form"
        ) from error
    except (ValueError, TypeError, AttributeError, OSError, EOFError, csv.Error) as error:
        raise DataError(f"{path}: row {number}: not in the form expected: {error}") from error


def _example(dataset: DataSet, number: int, fields: dict[str, Any]) -> Example:
    asked = fields["text"] if "text" in fields else fields["messages"][0].content
    common: dict[str, Any] = {
        "id": f"{dataset.name}-{number:05d}",
        "source": dataset.address.removeprefix("https://github.com/"),
        "licence": dataset.licence,
        "kind": dataset.kind,
        "group": hashlib.sha256(normalize(asked).encode()).hexdigest()[:12],
    }
    return Example(**common, **fields)


def _csv(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        # a short row gives "" and not None; what is too much stands under the key None
        yield from csv.DictReader(file, restval="", strict=True)


def _json_lines(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else path.open("rb") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)


def _json_list(path: Path) -> Iterator[Row]:
    yield from json.loads(path.read_text(encoding="utf-8"))


def _advbench(row: Row) -> dict[str, Any]:
    return {"text": row["goal"], "label": 1}


def _harmbench(row: Row) -> dict[str, Any]:
    functional, semantic = row["FunctionalCategory"], row["SemanticCategory"]
    return {
        "text": row["Behavior"],
        "context": row["ContextString"] or None,
        "label": 1,
        "category": f"{functional}/{semantic}",
        "meta": {"behavior_id": row["BehaviorID"]},
    }


_MODERATION = ("S", "H", "V", "HR", "SH", "S3", "H2", "V2")


def _openai_moderation(row: Row) -> dict[str, Any] | None:
    labels = {name: int(row.get(name) or 0) for name in _MODERATION}
    if labels["S3"]:  # sexual content about minors: the gathered set leaves it out too
        return None
    given = [name for name, value in labels.items() if value]
    label: Label = 1 if given else 0
    category = "+".join(given) or "none"
    return {
        "text": row["prompt"],
        "label": label,
        "category": category,
        "meta": {"labels": labels},
    }


def _simplesafetytests(row: Row) -> dict[str, Any]:
    return {"text": row["prompt"], "label": 1, "category": f"{row['harm_area']}/{row['category']}"}


def _humaneval(row: Row) -> dict[str, Any]:
    asked = f"Complete this Python function:\n\n{row['prompt']}"
    return {
        **_exchange(asked, row["canonical_solution"]),
        "category": "code",
        "meta": {"note": "instruction line added"},
    }


def _gsm8k(row: Row) -> dict[str, Any]:
    return {**_exchange(row["question"], row["answer"]), "category": "math"}


def _awesome_prompts(row: Row) -> dict[str, Any]:
    return {"text": row["prompt"], "label": 0, "category": f"persona/{row['act']}"}


def _alpaca_exchange(row: Row) -> dict[str, Any] | None:
    if not row["output"]:
        return None
    asked = f"{row['instruction']}\n\n{row['input']}" if row["input"] else row["instruction"]
    return {**_exchange(asked, row["output"]), "category": "alpaca"}


def _alpaca_instruction(row: Row) -> dict[str, Any] | None:
    if row["input"]:
        return None
    return {"text": row["instruction"], "label": 0, "category": "alpaca"}


def _exchange(asked: str, answered: str) -> dict[str, Any]:
    return {"messages": (Message("user", asked), Message("assistant", answered)), "label": 0}


LOADERS: Final[Mapping[str, tuple[Callable[[Path], Iterator[Row]], Loader]]] = {
    "advbench": (_csv, _advbench),
    "harmbench": (_csv, _harmbench),
    "openai_moderation": (_json_lines, _openai_moderation),
    "simplesafetytests": (_csv, _simplesafetytests),
    "humaneval": (_json_lines, _humaneval),
    "gsm8k": (_json_lines, _gsm8k),
    "awesome_prompts": (_csv, _awesome_prompts),
    "alpaca_exchanges": (_json_list, _alpaca_exchange),
    "alpaca_instructions": (_json_list, _alpaca_instruction),
}
"""Loader -> how the file is parsed, and how a row becomes an example."""
