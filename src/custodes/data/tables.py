"""Read and write tables of examples: Parquet inside, JSON lines (plain or gzip) at the borders.

Both are streamed: memory holds a batch of rows and, while writing, the ids already written.
Which format is meant is told by the suffix alone. Columns and compression are `parquet.py`'s.

Text that is not valid Unicode (a lone surrogate) survives in both formats: JSON lines escape it,
Parquet keeps the row's exact JSON in a column of its own. One thing JSON cannot tell apart: a
high surrogate followed by a low one comes back as the single character that the two encode.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, NoReturn

from custodes.data.atomic import replacing
from custodes.data.records import NOT_JSON, from_record, to_record
from custodes.errors import DataError
from custodes.types import Example

__all__ = ["iterate", "iterate_lines", "read", "write"]

Unknown = Literal["refuse", "keep"]


def read(
    path: str | Path, *, unknown: Unknown = "refuse", defaults: Mapping[str, Any] | None = None
) -> list[Example]:
    """Read a whole table; `DataError` where an id comes twice, else as `iterate`."""
    return list(_unique(iterate(path, unknown=unknown, defaults=defaults), Path(path)))


def iterate(
    path: str | Path, *, unknown: Unknown = "refuse", defaults: Mapping[str, Any] | None = None
) -> Iterator[Example]:
    """Read a table row by row; `DataError` names file, line (or row) and field.

    `unknown` says what becomes of fields that no example has, see `from_record`; `defaults` are
    the values of fields that a table of other makers lacks. Empty lines are passed over. Ids are
    not compared, so that memory stays bounded: `read` does that.
    """
    path = Path(path)
    suffix = _suffix(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; give a table of examples")
    if suffix == ".parquet":
        from custodes.data.parquet import iterate_records

        places: Iterator[tuple[str, Any]] = (
            (f"{path}: row {number}", record) for number, record in iterate_records(path)
        )
    else:
        places = _records(path, suffix)
    for place, record in places:
        try:
            whole = {**defaults, **record} if defaults and isinstance(record, dict) else record
            yield from_record(whole, unknown=unknown)
        except DataError as error:
            raise DataError(f"{place}: {error}") from None


def iterate_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """("file:line", object) of each line of a .jsonl or .jsonl.gz of any kind of rows."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; give a .jsonl or .jsonl.gz")
    if (suffix := _suffix(path)) == ".parquet":
        raise DataError(f"{path}: got a table of examples, expected a .jsonl or .jsonl.gz")
    for place, value in _records(path, suffix):
        if not isinstance(value, dict):
            raise DataError(f"{place}: got a {type(value).__name__}, expected an object")
        yield place, value


def write(path: str | Path, rows: Iterable[Example]) -> int:
    """Write a table, wholly or not at all; returns the number of rows.

    `DataError` where an id comes twice or `meta` holds what JSON cannot; the file that stood
    there before is then untouched.
    """
    path = Path(path)
    suffix = _suffix(path)
    checked = _unique(rows, path)
    with replacing(path) as temporary:
        if suffix == ".parquet":
            from custodes.data.parquet import write_records

            return write_records(temporary, map(to_record, checked))
        count = 0
        with _open_out(temporary, suffix) as file:
            for row in checked:
                file.write(_encode(row) + b"\n")
                count += 1
        return count


def _encode(example: Example) -> bytes:
    record = to_record(example)
    try:
        line = json.dumps(record, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"row {example.id!r}: {NOT_JSON}: {error}") from error
    try:
        return line.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate: escape it
        return json.dumps(record).encode("ascii")


def _suffix(path: Path) -> str:
    name = path.name
    for suffix in (".parquet", ".jsonl", ".jsonl.gz"):
        if name.endswith(suffix) and name != suffix:
            return suffix
    raise DataError(f"{path}: got a file of unknown kind, expected .parquet, .jsonl or .jsonl.gz")


def _unique(rows: Iterable[Example], path: Path) -> Iterator[Example]:
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise DataError(f"{path}: the id {row.id!r} comes twice; ids are unique within a table")
        seen.add(row.id)
        yield row


@contextmanager
def _open_out(path: Path, suffix: str) -> Iterator[BinaryIO]:
    with path.open("wb") as raw:
        if suffix == ".jsonl":
            yield raw
        else:  # no name and no time inside: equal rows make equal files
            packed = gzip.GzipFile("", "wb", fileobj=raw, mtime=0)
            with io.BufferedWriter(packed) as file:
                yield file


def _records(path: Path, suffix: str) -> Iterator[tuple[str, Any]]:
    for number, line in _lines(path, suffix):
        place = f"{path}:{number}"
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{place}: not UTF-8 text: {error}") from None
        if not text.strip():
            continue
        try:
            yield place, json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{place}: not JSON: {error}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _lines(path: Path, suffix: str) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with gzip.open(path) if suffix == ".jsonl.gz" else path.open("rb") as file:
            for line in file:
                number += 1
                yield number, line
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}:{number + 1}: cannot be read further: {error}") from error
