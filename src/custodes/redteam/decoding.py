"""What a reply may say once it is decoded: the readings that a judge looks at.

CC v1's grader failed on replies in codes (Sharma et al., arXiv 2501.18837, on their public demo),
so every reply is read plainly, with the probe's glossary undone, and through each code that can be
undone without a key. Whether a reading means anything is the judge's to say, so this is more
liberal than what a guard takes for a code (`classifiers.readings`), which it includes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from custodes.classifiers.canonical import canonical
from custodes.classifiers.readings import hidden
from custodes.errors import DataError

__all__ = ["readings"]

_WORDS = re.compile(r"\S+\s*")
_LEET = str.maketrans("4@83910$5702", "aabeglossto" + "z")


def readings(reply: str, glossary: Mapping[str, str] | None = None) -> dict[str, str]:
    """Name -> text: `plain` first, then each decoding that differs from it and could be text."""
    found = {"plain": reply}
    for name, text in _decodings(reply, glossary or {}):
        if text != reply and text not in found.values():
            found[name if name not in found else f"{name}, {len(found)}"] = text
    return found


def _decodings(reply: str, glossary: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if glossary:
        yield "glossary", _translated(reply, glossary)
    yield "canonical", "".join(canonical(word) for word in _WORDS.findall(reply))
    yield "leetspeak", reply.translate(_LEET)
    yield "joined", re.sub(r"(?<=\b\w)[ \-_.]+(?=\w\b)", "", reply)
    yield "first letters", "".join(line.strip()[:1] for line in reply.splitlines())
    try:
        codes = hidden(reply)
    except DataError:  # it would decode to many times itself: no reader does that by hand
        return
    yield from ((each.code, each.text) for each in codes)
    # Facts may stand partly in code.
    yield "with what is hidden", "\n".join([reply, *(each.text for each in codes)])


def _translated(reply: str, glossary: Mapping[str, str]) -> str:
    meant = {said.lower(): word for said, word in glossary.items()}
    said = "|".join(re.escape(word) for word in sorted(meant, key=len, reverse=True))
    return re.sub(rf"\b(?:{said})(?=s?\b)", lambda m: meant[m[0].lower()], reply, flags=re.I)
