"""Base64 of the UTF-8 text."""

from __future__ import annotations

import base64
from random import Random

from custodes.synthesis.transforms.coding import coded

__all__ = ["TRANSFORM"]


def _encode(text: str, _: Random) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogatepass")).decode("ascii")


def _decode(code: str) -> str:
    return base64.b64decode(code).decode("utf-8", "surrogatepass")


TRANSFORM = coded("base64", _encode, code="base64", inverse=_decode)
"""Inverse: exact, for any text."""
