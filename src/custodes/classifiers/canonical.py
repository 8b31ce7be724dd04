"""What a segment says once its disguise is off.

Compatibility forms, invisible characters, look-alike letters of other scripts, and base64 or
hexadecimal that holds text are undone. It works on one segment at a time, so it is the same for
every chunking. It knows nothing of meaning, and it does not undo ciphers (ROT13, Caesar, Morse):
those need the whole text (`readings`).
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from functools import lru_cache

__all__ = ["canonical", "from_base64", "readable"]

# Letters of other scripts that pass for Latin ones (a small part of Unicode's confusables).
_LOOKALIKES = str.maketrans(
    "аеорсухіјѕԁһԛԝвкмнтАВЕКМНОРСТУХІЈЅαεικνορτυχΑΒΕΖΗΙΚΜΝΟΡΤΥΧɑɡıⅼ",
    "aeopcyxijsdhqwbkmhtABEKMHOPCTYXIJSaeiknoptuxABEZHIKMNOPTYXagil",
)
# What is not drawn and no format character either (Unicode's Default_Ignorable_Code_Point). Behind
# a sign, a variation selector says how the sign is drawn, and stays; behind a letter it hides.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
    "|(?<=\\w)[\ufe00-\ufe0f]+(?!\u20e3)"
)
_BASE64 = re.compile(r"[A-Za-z0-9+/]{12,}={0,2}")
_HEXADECIMAL = re.compile(r"(?:0x)?((?:[0-9A-Fa-f]{2}){8,})")


@lru_cache(maxsize=65536)
def canonical(segment: str) -> str:
    """The segment without disguise; its leading white space stays.

    Lone surrogates become U+FFFD, so that whatever comes next can encode the result.
    """
    text = segment
    if not segment.isascii():
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        text = unicodedata.normalize("NFKC", text)
        text = "".join(c for c in text if unicodedata.category(c) != "Cf")
        text = _UNSEEN.sub("", text)
        if any("a" <= c <= "z" or "A" <= c <= "Z" for c in text):
            # Only in company of Latin letters: a Russian or Greek word is no disguise.
            text = text.translate(_LOOKALIKES)
    text = _HEXADECIMAL.sub(_from_hexadecimal, text)
    return _BASE64.sub(_from_base64, text)


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


def readable(data: bytes) -> str | None:
    """The text that the bytes spell, or None where they spell none."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        # The group at the end of a cut may hold half a character.
        if error.start < len(data) - 3:
            return None
        text = data[: error.start].decode("utf-8")
    letters = sum(c.isalpha() or c == " " for c in text)
    printable = all(c.isprintable() or c in "\n\t" for c in text)
    return text if printable and letters >= 0.7 * len(text) else None
