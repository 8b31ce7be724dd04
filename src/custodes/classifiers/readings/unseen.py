"""Texts in characters that are not drawn: ASCII in tag characters, bytes in variation selectors.

They are collected from the whole text, since each may stand behind another letter of a plain one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from custodes.classifiers.canonical import readable
from custodes.classifiers.unseen import SELECTORS, TAGS

__all__ = ["from_unseen"]

_LEAST = 8
"""Characters of a hidden text from which it counts."""

# The flags of England, Scotland and Wales are a black flag and tags.
_FLAG = re.compile(
    "(?<=\U0001f3f4)\U000e0067\U000e0062"
    "(?:\U000e0065\U000e006e\U000e0067|\U000e0073\U000e0063\U000e0074"
    "|\U000e0077\U000e006c\U000e0073)\U000e007f"
)
_TAGS = re.compile(f"[{TAGS}]+")
_TAG = 0xE0000

# One selector behind a sign says how it is drawn; rows of them, and those behind letters, do not.
_SELECTED = re.compile(
    f"[{SELECTORS}]{{2,}}+|(?<=\\w)[\ufe00-\ufe0f](?!\u20e3)|[\U000e0100-\U000e01ef]"
)


def from_unseen(text: str) -> Iterator[tuple[str, str]]:
    """("tags" or "selectors", what they spell)."""
    if text.isascii():
        return
    tags = "".join(_TAGS.findall(_FLAG.sub("", text)))
    if len(tags) >= _LEAST:
        yield "tags", "".join(chr(ord(c) - _TAG) for c in tags)
    rows = [bytes(map(_byte, row)) for row in _SELECTED.findall(text)]
    whole = b"".join(rows)
    # Others among them may spoil the whole.
    for data in (whole, *rows):
        found = _spelled(data)
        if found is not None:
            yield "selectors", found
            if data is whole:
                return


def _byte(selector: str) -> int:
    code = ord(selector)
    return code - 0xFE00 if code < 0xFE10 else code - 0xE0100 + 16


def _spelled(data: bytes) -> str | None:
    if data and max(data) < 16:
        # Of the first 16 selectors, two are a byte.
        data = bytes(a << 4 | b for a, b in zip(data[::2], data[1::2], strict=False))
    found = readable(data)
    return found if found is not None and len(found.strip()) >= _LEAST else None
