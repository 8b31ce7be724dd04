"""Plain texts from files: Parquet and JSONL (a column `text`, or `messages`), or whole files.

Knows nothing of tokens.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from custodes.errors import DataError

__all__ = ["read_texts"]

_WHOLE = (".txt", ".md", ".rst")
_TABLES = (".jsonl", ".jsonl.gz", ".parquet")


def read_texts(sources: Sequence[Path]) -> Iterator[str]:
    """Every text of the files and folders, in the order given, folders sorted by name.

    `DataError` for a missing file, a kind that is not read, or a row without a text.
    """
    for source in sources:
        if not source.exists():
            raise DataError(f"{source}: no such file or folder")
        if source.is_dir():
            files = [
                path
                for path in sorted(source.rglob("*"))
                if path.is_file() and path.name.endswith((*_WHOLE, *_TABLES))
            ]
            if not files:
                raise DataError(f"{source}: holds no {', '.join((*_WHOLE, *_TABLES))}")
        else:
            files = [source]
        for path in files:
            yield from (text for text in _texts(path) if text.strip())


def _texts(path: Path) -> Iterator[str]:
    if path.name.endswith(_WHOLE):
        try:
            yield path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8: {error}") from error
    elif path.name.endswith((".jsonl", ".jsonl.gz")):
        opened: Any = gzip.open if path.name.endswith(".gz") else open
        with opened(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise DataError(f"{path}, line {number}: not JSON: {error}") from error
                yield _text(row, f"{path}, line {number}")
    elif path.name.endswith(".parquet"):
        from pyarrow import parquet

        number = 0
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                number += 1
                yield _text(row, f"{path}, row {number}")
    else:
        raise DataError(f"{path}: expected one of {', '.join((*_WHOLE, *_TABLES))}")


def _text(row: Any, place: str) -> str:
    if isinstance(row, Mapping):
        if isinstance(row.get("text"), str):
            return str(row["text"])
        turns = row.get("messages")
        if isinstance(turns, list) and all(isinstance(turn, Mapping) for turn in turns):
            return "\n\n".join(str(turn.get("content", "")) for turn in turns)
        got = ", ".join(map(str, row))
    else:
        got = type(row).__name__
    raise DataError(f"{place}: got {got}; expected a text under 'text', or turns under 'messages'")
