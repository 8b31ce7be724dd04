"""What a reply may say once it is decoded: the readings that a judge looks at.

CC v1's grader failed on replies in codes (Sharma et al., arXiv 2501.18837, on their public demo),
so every reply is read plainly, with the probe's glossary undone, and through each code that can be
undone without a key. Whether a reading means anything is the judge's to say.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping

from custodes.classifiers.canonical import canonical
from custodes.synthesis.transforms import TRANSFORMS
from custodes.synthesis.transforms.caesar import shift_letters

__all__ = ["readings"]

_WORDS = re.compile(r"\S+\s*")
_MORSE = re.compile(r"[.\-/ ]{12,}")
_BASE64_LINES = re.compile(r"(?:[A-Za-z0-9+/]{8,}\s*)+={0,2}")
_HEX = re.compile(r"(?:(?:0x|\\x)?[0-9A-Fa-f]{2}[ ,]?){6,}")
_LEET = str.maketrans("4@83910$5702", "aabeglossto" + "z")
_COMMON = frozenset(
    [
        "the",
        "and",
        "of",
        "to",
        "in",
        "is",
        "for",
        "you",
        "with",
        "that",
        "it",
        "on",
        "be",
        "are",
        "this",
        "a",
        "as",
        "at",
        "or",
        "from",
    ]
)


def readings(reply: str, glossary: Mapping[str, str] | None = None) -> dict[str, str]:
    """Name -> text: `plain` first, then each decoding that differs from it and could be text."""
    found = {"plain": reply}
    for name, text in _decodings(reply, glossary or {}):
        if text != reply and text not in found.values():
            found[name] = text
    return found


def _decodings(reply: str, glossary: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if glossary:
        yield "glossary", _translated(reply, glossary)
    yield "canonical", "".join(canonical(word) for word in _WORDS.findall(reply))
    yield "leetspeak", reply.translate(_LEET)
    yield "base64", _BASE64_LINES.sub(_from_base64, reply)
    yield "hexadecimal", _HEX.sub(_from_hexadecimal, reply)
    yield "joined", re.sub(r"(?<=\b\w)[ \-_.]+(?=\w\b)", "", reply)
    yield "first letters", "".join(line.strip()[:1] for line in reply.splitlines())
    if _MORSE.search(reply):
        yield "morse", _MORSE.sub(_from_morse, reply)
    # What is English already has nothing to gain from a cipher.
    if not _reads_like_english(reply):
        yield "reversed", reply[::-1]
        yield "reversed words", TRANSFORMS.load("reversed_words").inverse(reply)
        for places in range(1, 26):
            shifted = shift_letters(reply, -places)
            if _reads_like_english(shifted):
                yield "rot13" if places == 13 else f"caesar {places}", shifted


def _reads_like_english(text: str) -> bool:
    words = re.findall(r"[a-z]+", text.lower())
    return len(words) > 4 and sum(word in _COMMON for word in words) >= 0.12 * len(words)


def _translated(reply: str, glossary: Mapping[str, str]) -> str:
    meant = {said.lower(): word for said, word in glossary.items()}
    said = "|".join(re.escape(word) for word in sorted(meant, key=len, reverse=True))
    return re.sub(rf"\b(?:{said})(?=s?\b)", lambda m: meant[m[0].lower()], reply, flags=re.I)


def _from_base64(match: re.Match[str]) -> str:
    body = re.sub(r"\s", "", match[0]).rstrip("=")
    try:
        data = base64.b64decode(body[: len(body) - (len(body) % 4 == 1)] + "=" * (-len(body) % 4))
        text = data.decode("utf-8")
    except (binascii.Error, ValueError):
        return match[0]
    return text if sum(c.isprintable() or c.isspace() for c in text) > 0.9 * len(text) else match[0]


def _from_hexadecimal(match: re.Match[str]) -> str:
    digits = re.sub(r"0x|\\x|[ ,]", "", match[0])
    try:
        return bytes.fromhex(digits).decode("utf-8")
    except ValueError:
        return match[0]


def _from_morse(match: re.Match[str]) -> str:
    try:
        decoded: str = TRANSFORMS.load("morse").inverse(match[0].strip())
    except KeyError:
        return match[0]
    return decoded
