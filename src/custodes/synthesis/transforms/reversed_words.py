"""Each word spelled backwards, in place; spaces stay as they are."""

from __future__ import annotations

import re

from custodes.synthesis.transforms.coding import coded

__all__ = ["TRANSFORM"]

_WORD = re.compile(r"\S+")


def _turn(text: str) -> str:
    return _WORD.sub(lambda match: match.group()[::-1], text)


TRANSFORM = coded(
    "reversed_words",
    lambda text, _: _turn(text),
    code="text with each word spelled backwards",
    inverse=_turn,
)
"""Inverse: itself, for any text."""
