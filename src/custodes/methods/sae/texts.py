"""Plain texts from files: Parquet and JSONL (a column `text`, or `messages`), or whole files.

Knows nothing of tokens.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from custodes.errors import DataError

__all__ = ["check_sources", "read_texts"]

_WHOLE = (".txt", ".md", ".rst")
_TABLES = (".jsonl", ".jsonl.gz", ".parquet")


def read_texts(sources: Sequence[Path]) -> Iterator[str]:
    """Every text of the files and folders, in the order given, folders sorted by name.

    `DataError` for a missing file, a kind that is not read, or a row without a text.
    """
    check_sources(sources)
    for source in sources:
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
            yield from (text for text in _checked(path) if text.strip())


def check_sources(sources: Sequence[Path]) -> None:
    """`DataError` for a file or folder that is not there."""
    for source in sources:
        if not source.exists():
            raise DataError(f"{source}: no such file or folder")


def _checked(path: Path) -> Iterator[str]:
    """The texts of a file; whatever a damaged one makes its reader raise, its name is told."""
    try:
        yield from _texts(path)
    except DataError:
        raise
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _texts(path: Path) -> Iterator[str]:
    if path.name.endswith(_WHOLE):
        yield path.read_text(encoding="utf-8-sig")
    elif path.name.endswith((".jsonl", ".jsonl.gz")):
        opened: Any = gzip.open if path.name.endswith(".gz") else open
        with opened(path, "rt", encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
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
            said = [_said(turn.get("content")) for turn in turns]
            if None not in said:
                return "\n\n".join(map(str, said))
            raise DataError(f"{place}: got a turn whose content is no text")
        got = ", ".join(map(str, row))
    else:
        got = type(row).__name__
    raise DataError(f"{place}: got {got}; expected a text under 'text', or turns under 'messages'")


def _said(content: Any) -> str | None:
    """A turn's text, whole or in parts of type text; None where it is anything else."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not all(isinstance(part, Mapping) for part in content):
        return None
    texts = [part.get("text") for part in content if part.get("type") == "text"]
    whole = len(texts) == len(content) and all(isinstance(text, str) for text in texts)
    return "".join(map(str, texts)) if whole else None
