"""Zero-width characters strewn between the letters; the text looks the same."""

from __future__ import annotations

from random import Random

from custodes.synthesis.transforms.base import Transform

__all__ = ["TRANSFORM"]

_MARKS = "\u200b\u200c\u200d\u2060\ufeff"
_NOTHING = str.maketrans("", "", _MARKS)


def _apply(text: str, rng: Random) -> str:
    rate = rng.choice((0.1, 0.3, 1.0))
    return "".join(c + rng.choice(_MARKS) if rng.random() < rate else c for c in text)


TRANSFORM = Transform(
    name="zero_width", family="noise", apply=_apply, inverse=lambda text: text.translate(_NOTHING)
)
"""Inverse: exact, for texts without zero-width characters of their own."""
