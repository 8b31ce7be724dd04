"""Homoglyphs: Latin letters replaced by Cyrillic or Greek ones that look the same."""

from __future__ import annotations

from random import Random

from custodes.synthesis.transforms.base import Transform

__all__ = ["TRANSFORM"]

_ALIKE = dict(
    zip(
        "aceijopsxyABCEHIJKMNOPSTXYZ",
        "\u0430\u0441\u0435\u0456\u0458\u043e\u0440\u0455\u0445\u0443"
        "\u0410\u0412\u0421\u0415\u041d\u0406\u0408\u041a\u041c\u039d\u041e\u0420\u0405\u0422\u0425"
        "\u04ae\u0396",
        strict=True,
    )
)
_LATIN = str.maketrans({alike: latin for latin, alike in _ALIKE.items()})


def _apply(text: str, rng: Random) -> str:
    rate = rng.choice((0.25, 0.5, 1.0))
    return "".join(_ALIKE[c] if c in _ALIKE and rng.random() < rate else c for c in text)


TRANSFORM = Transform(
    name="homoglyphs", family="noise", apply=_apply, inverse=lambda text: text.translate(_LATIN)
)
"""Inverse: exact, for texts without these Cyrillic and Greek letters."""
