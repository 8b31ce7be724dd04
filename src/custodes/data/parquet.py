"""Records in Parquet: the columns, and how rows go in and come out.

`meta` is a JSON string; compression is zstd. The column `exact` is null but for rows with text
that is not valid Unicode: there it is the row's JSON, and the other columns hold U+FFFD for each
lone surrogate, so that any reader of Parquet can still open the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from custodes.data.records import NOT_JSON
from custodes.errors import DataError

__all__ = ["SCHEMA", "iterate_records", "write_records"]

_STRING, _LABEL = pa.string(), pa.int8()
_TURN = pa.struct([pa.field("role", _STRING), pa.field("content", _STRING)])

SCHEMA = pa.schema(
    [
        pa.field("id", _STRING, nullable=False),
        pa.field("source", _STRING, nullable=False),
        pa.field("kind", _STRING, nullable=False),
        ("licence", _STRING),
        ("text", _STRING),
        ("messages", pa.list_(_TURN)),
        ("label", _LABEL),
        ("request_label", _LABEL),
        ("category", _STRING),
        ("system", _STRING),
        ("context", _STRING),
        ("lang", _STRING),
        ("group", _STRING),
        ("dup_of", _STRING),
        ("prompt_dup_of", _STRING),
        ("review", pa.bool_()),
        ("meta", _STRING),
        ("rule", _STRING),
        ("writer", _STRING),
        ("transforms", pa.list_(_STRING)),
        ("seed", pa.int64()),
        ("exact", _STRING),
    ]
)
"""One column a field of `Example`, and `exact`."""

_OURS = frozenset({"exact", "prompt_dup_of", "request_label", "review", "transforms", "writer"})
"""Columns of every file that is written here; who has them all has our `exact`, too."""

_BATCH = 2048
"""Rows in memory at a time; also the size of a row group."""


def write_records(path: Path, records: Iterable[Mapping[str, Any]]) -> int:
    """Write all records; returns how many there were."""
    rows = iter(records)
    count = 0
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        while batch := [_flat(record) for record in islice(rows, _BATCH)]:
            writer.write_table(_table(batch))
            count += len(batch)
    return count


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """`meta` as JSON in ASCII: nothing in it can then offend Parquet."""
    if "meta" not in record:
        return dict(record)
    try:
        return {**record, "meta": json.dumps(record["meta"], allow_nan=False)}
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"row {record['id']!r}: {NOT_JSON}: {error}") from error


def _table(batch: list[dict[str, Any]]) -> pa.Table:
    try:
        return pa.Table.from_pylist(batch, schema=SCHEMA)
    except UnicodeEncodeError:
        return pa.Table.from_pylist([_readable(row) for row in batch], schema=SCHEMA)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        first, last = batch[0]["id"], batch[-1]["id"]
        raise DataError(
            f"rows {first!r} to {last!r}: a value does not fit its Parquet column: {error}"
        ) from error


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    line = json.dumps(row, ensure_ascii=False)
    clean = line.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if clean == line:
        return row
    return {**json.loads(clean), "exact": json.dumps(row)}


def iterate_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each record with its number, from 0; null columns are left out."""
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            # Another maker's column of this name is a column like any other.
            ours = set(file.schema_arrow.names) >= _OURS
            for batch in file.iter_batches(batch_size=_BATCH):
                for row in batch.to_pylist():
                    yield number, _record(row, f"{path}: row {number}", ours=ours)
                    number += 1
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file: {error}") from error


def _record(row: dict[str, Any], place: str, *, ours: bool) -> dict[str, Any]:
    try:
        if ours and (exact := row.pop("exact")) is not None:
            row = json.loads(exact)
            if not isinstance(row, dict):
                raise TypeError(f"exact is {exact!r:.80}, expected a row as a JSON object")
        record = {name: value for name, value in row.items() if value is not None}
        if isinstance(record.get("meta"), str):
            record["meta"] = json.loads(record["meta"])
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{place}: meta, exact: not JSON: {error}") from None
    return record
