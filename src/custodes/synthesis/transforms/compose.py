"""Chains of transforms.

Knows in which order a chain can still be undone by a reader: noise before codes, codes before
the words around them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import get_args

from custodes.synthesis.transforms.base import Family, Transform

__all__ = ["compose", "in_order"]

_RANK = {family: rank for rank, family in enumerate(get_args(Family))}


def in_order(transforms: Iterable[Transform]) -> tuple[Transform, ...]:
    """The transforms in the order in which a chain applies them; by name within a family."""
    return tuple(sorted(transforms, key=lambda each: (_RANK[each.family], each.name)))


def compose(transforms: Sequence[Transform]) -> Transform:
    """One transform that applies all of them, first to last; `ValueError` for none.

    It fits the sides that all of them fit, is readable where all are, breaks what any breaks,
    and has an inverse where all have one and nothing is wrapped around a code.
    """
    if not transforms:
        raise ValueError("compose: got no transform, expected one or more")

    def apply(text: str, rng: Random) -> str:
        for each in transforms:
            text = each.to_request(text, rng)
        return text

    def mild(text: str, rng: Random) -> str:
        for each in transforms:
            text = each.to_request(text, rng, mild=True)
        return text

    def bare(text: str, rng: Random) -> str:
        for each in transforms:
            text = each.to_reply(text, rng)
        return text

    def inverse(text: str) -> str:
        for each in reversed(transforms):
            assert each.inverse is not None
            text = each.inverse(text)
        return text

    violated = [each.violates for each in transforms if each.violates]
    return Transform(
        name="+".join(each.name for each in transforms),
        family=max((each.family for each in transforms), key=_RANK.__getitem__),
        apply=apply,
        sides=frozenset.intersection(*(each.sides for each in transforms)),
        readable=all(each.readable for each in transforms),
        violates=violated[0] if violated else None,
        mild=mild if violated else None,
        bare=bare,
        inverse=inverse if all(each.inverse for each in transforms) else None,
    )
