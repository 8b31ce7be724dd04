"""Morse code of Latin letters and digits (accents are dropped); other characters are left out."""

from __future__ import annotations

import unicodedata
from random import Random

from custodes.synthesis.transforms.coding import coded

__all__ = ["TRANSFORM"]

_SIGNALS = """
.- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..-
-.-- --.. ----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----. .-.-.- --..-- ..--.. .----.
-.-.-- -..-. -.--. -.--.- .-... ---... -.-.-. -...- .-.-. -....- ..--.- .-..-. .--.-.
"""
_CODES = dict(
    zip(
        "abcdefghijklmnopqrstuvwxyz0123456789.,?'!/()&:;=+-_\"@",
        _SIGNALS.split(),
        strict=True,
    )
)
_LETTERS = {code: letter for letter, code in _CODES.items()}


def _encode(text: str, _: Random) -> str:
    plain = unicodedata.normalize("NFKD", text.lower())
    words = (" ".join(_CODES[c] for c in word if c in _CODES) for word in plain.split())
    return " / ".join(word for word in words if word)


def _decode(code: str) -> str:
    return " ".join("".join(_LETTERS[c] for c in word.split()) for word in code.split(" / "))


TRANSFORM = coded("morse", _encode, code="Morse code", inverse=_decode)
"""Inverse: for lower-case words of the code's own characters."""
