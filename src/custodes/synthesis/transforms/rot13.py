"""ROT13: the letters a to z moved by 13 places, which undoes itself."""

from __future__ import annotations

from custodes.synthesis.transforms.caesar import shift_letters
from custodes.synthesis.transforms.coding import coded

__all__ = ["TRANSFORM"]

TRANSFORM = coded(
    "rot13",
    lambda text, _: shift_letters(text, 13),
    code="ROT13",
    inverse=lambda text: shift_letters(text, 13),
)
"""Inverse: exact, for any text."""
