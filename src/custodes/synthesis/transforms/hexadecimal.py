"""Hexadecimal bytes of the UTF-8 text, with or without spaces."""

from __future__ import annotations

from random import Random

from custodes.synthesis.transforms.coding import coded

__all__ = ["TRANSFORM"]


def _encode(text: str, rng: Random) -> str:
    data = text.encode("utf-8", "surrogatepass")
    return data.hex(" ") if rng.random() < 0.5 else data.hex()


def _decode(code: str) -> str:
    return bytes.fromhex(code).decode("utf-8", "surrogatepass")


TRANSFORM = coded("hexadecimal", _encode, code="hexadecimal", inverse=_decode)
"""Inverse: exact, for any text."""
