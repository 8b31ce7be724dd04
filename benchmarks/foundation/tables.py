"""Tables of real rows, written and read in every form, and freed of near duplicates."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

from timing import processor_seconds, rate

from custodes.data import Places, catalogue, deduplicate, load, present, read, to_record, write
from custodes.types import Example

FORMS = {"Parquet": "parquet", "JSON lines": "jsonl", "JSON lines, gzip": "jsonl.gz"}
MOST = 60_000
NEAR = 0.8


def gathered(options: Any) -> list[Example]:
    """Rows of every set of examples that is on this machine, with ids of their own; none of it is
    kept. Made up ones if tiny."""
    if options.size == "tiny":
        return [
            Example(id=str(n), source="made up", kind="prompt", label=n % 2, text=_sentence(n))
            for n in range(400)
        ]
    places = Places.from_environment()
    found: list[Example] = []
    for name, dataset in sorted(catalogue().items()):
        if dataset.layout == "examples" and present(dataset, places) is not None:
            found += load(name, places=places)
    if not found:
        raise SystemExit("no set of the catalogue is here: set CUSTODES_DATA_DIR")
    return list(islice(_renamed(found), MOST))


def _sentence(n: int) -> str:
    return f"the {n} quick brown foxes jump over {n * n} lazy dogs, " * (1 + n % 7)


def _renamed(rows: list[Example]) -> Any:
    for number, row in enumerate(rows):
        yield Example(**{**{name: getattr(row, name) for name in row.__slots__}, "id": str(number)})


def tables(options: Any) -> list[dict]:
    """Rows written and read a processor second."""
    rows = gathered(options)
    size = sum(len(json.dumps(to_record(row), ensure_ascii=False).encode()) for row in rows)
    figures = [
        {"figure": "rows", "value": len(rows)},
        {"figure": "mean row as JSON", "value": size / len(rows), "unit": "bytes"},
    ]
    for name, suffix in FORMS.items():
        path = Path(options.work) / f"rows.{suffix}"
        for what, work in (
            ("written", lambda path=path: write(path, rows)),
            ("read", lambda path=path: read(path)),
        ):
            seconds = processor_seconds(work, options.repeats)
            figures.append(
                {"figure": f"{name}, {what}", "value": rate(len(rows), seconds), "unit": "rows/s"}
            )
        path.unlink()
    return figures


def duplicates(options: Any) -> list[dict]:
    """Rows looked at a processor second, and what was found."""
    rows = gathered(options)[:20_000]
    found = deduplicate(rows, near=NEAR)
    seconds = processor_seconds(lambda: deduplicate(rows, near=NEAR), options.repeats)
    exact = processor_seconds(lambda: deduplicate(rows, near=None), options.repeats)
    return [
        {"figure": "rows", "value": len(rows)},
        {"figure": "rows kept, near=0.8", "value": len(found.rows)},
        {"figure": "exact", "value": rate(len(rows), exact), "unit": "rows/s"},
        {"figure": "near=0.8", "value": rate(len(rows), seconds), "unit": "rows/s"},
    ]
