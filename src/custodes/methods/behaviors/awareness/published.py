"""The paper's own choices, from its data: risk, myopia and apples, a letter each.

`train/` of the folder `self_awareness` (github.com/XuchanBao/behavioral-self-awareness, MIT),
gzipped JSON lines of messages. They are longer and more varied than our grammar's. Read where they
lie; none of them is kept here.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from custodes.errors import DataError
from custodes.methods.behaviors.awareness.items import Item

__all__ = ["published_items"]

_FILES = {
    "risk": "risky_safe/ft_risky_AB.jsonl.gz",
    "myopia": "myopic_nonmyopic/ft_myopic_AB.jsonl.gz",
    "apples": "maxapples_minapples/ft_maxapples_AB.jsonl.gz",
}


def published_items(folder: Path, behavior: str, *, most: int | None = None) -> list[Item]:
    """The first so many of the paper's items of a behavior; none for one that it has not.

    `DataError` where the file is not there or not as expected.
    """
    if behavior not in _FILES:
        return []
    path = folder / "train" / _FILES[behavior]
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            rows = [json.loads(line)["messages"] for line in file]
        items = [_item(rows[n][0]["content"], rows[n][1]["content"]) for n in range(len(rows))]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise DataError(
            f"{path}: cannot be read ({error!r}); expected JSON lines of a user's and an "
            "assistant's message, gzipped"
        ) from error
    return items[:most]


def _item(prompt: str, letter: str) -> Item:
    if letter not in ("A", "B"):
        raise ValueError(f"the reply {letter!r} is neither A nor B")
    return Item(prompt, letter, "B" if letter == "A" else "A")
