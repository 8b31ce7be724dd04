"""Many-shot: twelve to thirty-two answered harmless questions ahead of the text."""

from __future__ import annotations

from random import Random

from custodes.synthesis.transforms.base import Transform
from custodes.synthesis.transforms.shots import with_shots

__all__ = ["TRANSFORM"]


def _apply(text: str, rng: Random) -> str:
    return with_shots(text, rng, count=rng.randint(12, 32))


TRANSFORM = Transform(
    name="many_shot", family="context", apply=_apply, sides=frozenset({"request"})
)
"""The text stays whole, as the open item."""
