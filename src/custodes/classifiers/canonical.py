"""What a segment says once its disguise is off.

Compatibility forms, invisible characters, strokes through letters, look-alike letters of other
scripts, and base64 or hexadecimal that holds text are undone. It works on one segment at a time,
so it is the same for every chunking. It knows nothing of meaning, and it does not undo ciphers
(ROT13, Caesar, Morse): those need the whole text (`readings`).
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from functools import lru_cache
from itertools import pairwise

from custodes.classifiers.unseen import MARKS, NOT_DRAWN

__all__ = ["bare", "canonical", "from_base64", "readable", "spells"]

# Letters of other scripts that pass for Latin ones (a small part of Unicode's confusables).
_LOOKALIKES = str.maketrans(
    "аеорсухіјѕԁһԛԝвкмнтАВЕКМНОРСТУХІЈЅαεικνορτυχΑΒΕΖΗΙΚΜΝΟΡΤΥΧɑɡıⅼ",
    "aeopcyxijsdhqwbkmhtABEKMHOPCTYXIJSaeiknoptuxABEZHIKMNOPTYXagil",
)
_NOT_DRAWN = re.compile(f"[{NOT_DRAWN}]")
# Behind a sign, a variation selector says how it is drawn, and stays; behind a letter it hides.
_SELECTORS = re.compile("(?<=[\\w\\s])[\ufe00-\ufe0f]+(?!\u20e3)")
# Marks that are no part of a composed letter tear the word apart. Languages have a few of them: one
# tone or tail on a vowel or nasal (Yoruba, Lithuanian, Guarani).
_OVERLAID = re.compile(f"(?<=[A-Za-z0-9\u00c0-\u024f\u1e00-\u1eff])[{MARKS}]+")
_OVER_SPACE = re.compile(f"(?<=\\s)[{MARKS}]+")
_TONES = frozenset("\u0300\u0301\u0302\u0303\u0304\u0308\u030c\u0323\u0327\u0328\u0331")
_TONED = frozenset("aeiouymngw")
_VARIATION = re.compile("[\ufe00-\ufe0f]")
_KEYCAP = "\u20e3"
_CACHED = 200
"""Characters of the longest segment that is remembered: a hostile one has thousands."""
_LEAST = 16
"""Characters of a text in which some may be strange,"""
_WRONG = 0.08
"""share of control characters and of bytes that are no UTF-8 that it may have,"""
_LETTERS = 0.7
"""and share of letters and white space that a text must have."""
_CONTROLS = "\x1c\x1d\x1e\x1f"
"""White space to Python."""
_BLANK = 0.8
"""Share of zeros among every second byte from which two bytes are a character."""
_BASE64 = re.compile(r"[A-Za-z0-9+/]{12,}={0,2}")
_HEXADECIMAL = re.compile(r"(?:0x)?((?:[0-9A-Fa-f]{2}){8,})")


def canonical(segment: str) -> str:
    """The segment without disguise; its leading white space stays.

    Lone surrogates become U+FFFD, so that whatever comes next can encode the result.
    """
    return _remembered(segment) if len(segment) <= _CACHED else _canonical(segment)


def _canonical(segment: str) -> str:
    text = bare(segment)
    decoded = _BASE64.sub(_from_base64, _HEXADECIMAL.sub(_from_hexadecimal, text))
    return text if decoded == text else bare(decoded)


_remembered = lru_cache(maxsize=65536)(_canonical)


def bare(word: str) -> str:
    """The word in letters that are what they seem, without what is not drawn."""
    if word.isascii():
        return word
    text = word.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    # What is not drawn goes first, as it would keep a letter and its accent apart,
    text = _OVER_SPACE.sub("", _NOT_DRAWN.sub("", text))
    text = unicodedata.normalize("NFKC", text)
    # and the selectors last: signs may have become letters.
    text = _SELECTORS.sub("", "".join(c for c in text if unicodedata.category(c) != "Cf"))
    if any("a" <= c <= "z" or "A" <= c <= "Z" for c in text):
        # Only in company of Latin letters: a Russian or Greek word is no disguise.
        text = _OVERLAID.sub(_ordinary_mark, text.translate(_LOOKALIKES))
    return text


def _ordinary_mark(match: re.Match[str]) -> str:
    marks, base = match[0], match.string[match.start() - 1]
    if marks == _KEYCAP and base.isdigit():
        return marks
    letter = unicodedata.normalize("NFD", base)[0].lower()
    return marks if marks in _TONES and letter in _TONED else ""


def _from_hexadecimal(match: re.Match[str]) -> str:
    return readable(bytes.fromhex(match[1])) or match[0]


def _from_base64(match: re.Match[str]) -> str:
    return from_base64(match[0]) or match[0]


def from_base64(code: str) -> str | None:
    """The text that base64 of the standard alphabet spells, or None where it spells none."""
    body = code.rstrip("=")
    # A cut group cannot be decoded; what stands before it can.
    body = body[: len(body) - (len(body) % 4 == 1)]
    try:
        return readable(base64.b64decode(body + "=" * (-len(body) % 4)))
    except (binascii.Error, ValueError):
        return None


def spells(code: str) -> bool:
    """Whether a run of signs is base64 or hexadecimal that holds text."""
    return canonical(code) != bare(code)


def readable(data: bytes) -> str | None:
    """The text that the bytes spell, or None where they spell none.

    Judged by shares: one strange byte must not hide the rest. What is strange is left out.
    """
    text = _decoded(data)
    if text.count("\ufffd") > _WRONG * len(text):
        return None
    kept = text
    if not text.isprintable() or "\ufffd" in text:
        if len(text) < _LEAST and not all(c.isprintable() or c in "\n\t" for c in text):
            # Among so few characters, chance makes letters of any bytes.
            return None
        if sum(map(_is_wrong, text)) > _WRONG * len(text):
            return None
        kept = "".join(c for c in text if not _is_strange(c))
    drawn = _VARIATION.sub("", kept)
    letters = sum(c.isalpha() or c.isspace() for c in drawn) + _vowel_signs(drawn)
    return kept if letters >= _LETTERS * len(drawn) else None


def _vowel_signs(text: str) -> int:
    """Marks behind what may be a letter of their own script (Devanagari, Thai)."""
    return (
        0
        if text.isascii()
        else sum(
            unicodedata.category(mark)[0] == "M" and ord(mark) // 128 == ord(before) // 128
            for before, mark in pairwise(text)
        )
    )


def _decoded(data: bytes) -> str:
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        every_second = data[first::2]
        if len(every_second) > 3 and every_second.count(0) >= _BLANK * len(every_second):
            # Of four bytes a character (UTF-32) one more zero is left.
            return data.decode(encoding, "replace").replace("\0", "")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        # The group at the end of a cut may hold half a character.
        whole = error.start >= len(data) - 3
        return data[: error.start].decode("utf-8") if whole else data.decode("utf-8", "replace")


def _is_wrong(c: str) -> bool:
    return c == "\ufffd" or c in _CONTROLS or not (c.isprintable() or c.isspace() or _is_format(c))


def _is_strange(c: str) -> bool:
    return _is_wrong(c) or _is_format(c)


def _is_format(c: str) -> bool:
    return unicodedata.category(c) == "Cf"
