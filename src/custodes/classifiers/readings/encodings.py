"""Bytes and letters written in other signs: base64, base32, hexadecimal, binary, percent, Morse.

Each run of such signs is decoded by itself and counts where it spells text.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from string import ascii_lowercase, digits
from urllib.parse import unquote_to_bytes

from custodes.classifiers.canonical import from_base64, readable

__all__ = ["decoded"]

_LEAST = 8
"""Characters of a decoded text from which it counts: shorter ones are names and numbers."""

_BASE64 = re.compile(r"(?:[A-Za-z0-9+/_-]{4}\s?){3,}[A-Za-z0-9+/_-]*={0,2}")
_BASE32 = re.compile(r"(?:[A-Z2-7]{8}\s?){2,}[A-Z2-7]*={0,6}")
_HEXADECIMAL = re.compile(r"(?:(?:0x|\\x)?[0-9A-Fa-f]{2}[\s,:;]{0,3}){8,}")
_BINARY = re.compile(r"(?:(?:0b)?[01]{8}[\s,]{0,3}){8,}")
_DECIMAL = re.compile(r"(?:\b(?:3[2-9]|[4-9]\d|1[01]\d|12[0-6])\b[\s,]*){8,}")
_PERCENT = re.compile(r"(?:%[0-9A-Fa-f]{2}|[\w.+-]){12,}")
_MORSE = re.compile(r"(?<!\S)(?:[.\-\u2013\u2014\u2022\u00b7_]{1,6}(?:\s*[/|]\s*|\s+|$)){6,}")

_SIGNALS = (
    ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- "
    "-..- -.-- --.. ----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----."
)
_DIFFERENT = 4
"""Different letters that a run of Morse must have."""
_LETTERS = dict(zip(_SIGNALS.split(), ascii_lowercase + digits, strict=True))
_SIGNS = str.maketrans("\u2013\u2014_\u2022\u00b7|", "---../")


def decoded(text: str) -> Iterator[tuple[str, str]]:
    """(code, what a run in it spells) of all runs that spell something."""
    for name, runs, decode in _CODES:
        for run in runs.finditer(text):
            whole = decode(run.group())
            # A run may have caught a plain word before or behind the code.
            parts = [whole] if whole is not None else map(decode, run.group().split())
            for found in parts:
                if found is not None and len(found.strip()) >= _LEAST:
                    yield name, found


def _from_base64(run: str) -> str | None:
    return from_base64(re.sub(r"\s", "", run).replace("-", "+").replace("_", "/"))


def _from_base32(run: str) -> str | None:
    body = re.sub(r"\s|=", "", run)
    whole = body[: len(body) - len(body) % 8]
    return readable(base64.b32decode(whole))


def _from_hexadecimal(run: str) -> str | None:
    return readable(bytes.fromhex(re.sub(r"0x|\\x|[\s,:;]", "", run)))


def _from_binary(run: str) -> str | None:
    ones = re.sub(r"0b|[\s,]", "", run)
    return readable(bytes(int(ones[at : at + 8], 2) for at in range(0, len(ones), 8)))


def _from_decimal(run: str) -> str | None:
    return readable(bytes(map(int, re.findall(r"\d+", run))))


def _from_percent(run: str) -> str | None:
    if run.count("%") < 3:
        return None
    return readable(unquote_to_bytes(run.replace("+", " ")))


def _from_morse(run: str) -> str | None:
    words = run.translate(_SIGNS).split("/")
    signals = [word.split() for word in words]
    known = [each for word in signals for each in word if each in _LETTERS]
    # Rows of dots and dashes are drawings.
    if len(known) < 0.8 * sum(map(len, signals)) or len(set(known)) < _DIFFERENT:
        return None
    return " ".join("".join(_LETTERS.get(each, "") for each in word) for word in signals).strip()


_CODES: tuple[tuple[str, re.Pattern[str], Callable[[str], str | None]], ...] = (
    ("base64", _BASE64, _from_base64),
    ("base32", _BASE32, _from_base32),
    ("hexadecimal", _HEXADECIMAL, _from_hexadecimal),
    ("binary", _BINARY, _from_binary),
    ("decimal", _DECIMAL, _from_decimal),
    ("percent", _PERCENT, _from_percent),
    ("morse", _MORSE, _from_morse),
)
