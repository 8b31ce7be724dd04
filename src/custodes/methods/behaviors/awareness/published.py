"""The paper's own data: how its files are read, and its choices (risk, myopia, apples).

The folder `self_awareness` (github.com/XuchanBao/behavioral-self-awareness, MIT): `train/` holds
gzipped JSON lines of messages. The choices are longer and more varied than our grammar's. Read
where they lie; none of them is kept here.
"""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

from custodes.errors import DataError
from custodes.methods.behaviors.awareness.items import Item

__all__ = ["message_rows", "published_items", "unpacked"]

_FILES = {
    "risk": "risky_safe/ft_risky_AB.jsonl.gz",
    "myopia": "myopic_nonmyopic/ft_myopic_AB.jsonl.gz",
    "apples": "maxapples_minapples/ft_maxapples_AB.jsonl.gz",
}


def unpacked(path: Path, expected: str) -> str:
    """The text of one of the paper's files; `DataError` where it cannot be read."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return file.read()
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise DataError(
            f"{path}: cannot be read ({error!r}); expected {expected} of "
            "github.com/XuchanBao/behavioral-self-awareness, gzipped"
        ) from error


def message_rows(path: Path) -> list[list[str]]:
    """The messages of each line: of the user and the assistant in turn, each not empty.

    `DataError` where the file is not there or not as expected.
    """
    lines = unpacked(path, "JSON lines of messages").rstrip().split("\n")
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(_turns(json.loads(line)["messages"]))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}, line {number}: got {error!r}; expected messages of a user and an "
                "assistant in turn"
            ) from error
    return found


def _turns(messages: list[dict[str, Any]]) -> list[str]:
    roles = ["user", "assistant"] * (len(messages) // 2)
    if not roles or [message["role"] for message in messages] != roles:
        raise ValueError("the speakers do not take turns")
    texts = [message["content"] for message in messages]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError("a message without a text")
    return texts


def published_items(folder: Path, behavior: str, *, most: int | None = None) -> list[Item]:
    """The first so many of the paper's items of a behavior; none for one that it has not.

    `DataError` where the file is not there or not as expected.
    """
    if behavior not in _FILES:
        return []
    path = folder / "train" / _FILES[behavior]
    try:
        items = [_item(row[0], row[1]) for row in message_rows(path)]
    except ValueError as error:
        raise DataError(f"{path}: {error}; expected the letter of a choice") from error
    return items[:most]


def _item(prompt: str, letter: str) -> Item:
    if letter not in ("A", "B"):
        raise ValueError(f"the reply {letter!r} is neither A nor B")
    return Item(prompt, letter, "B" if letter == "A" else "A")
