"""Which option a written reply names: `B`, `(B)`, `B. two`, `The answer is B`. Knows no model.

A reply that names none, or more than one, cannot be read: to guess would put words into a model's
mouth, and the first option would profit from it.
"""

from __future__ import annotations

import re

__all__ = ["named"]

_BARE = r"\W*({name})\W*"
_CLEAREST_FIRST = (
    r"(?i:\banswer\b)\W+(?:(?i:is)\W+)?({name})",  # The answer is B; Answer: (B)
    r"\(({name})\)",  # (B)
    r"^\W*({name})[.:)](?!\w)",  # B. two
    r"({name})",  # a name that stands alone anywhere
)


def named(reply: str, names: str) -> int | None:
    """Index of the one-character name that a reply gives; None where it gives none or several.

    The clearest form decides; a name merely standing alone counts only if it is the only one.
    """
    # Alone: not a part of a word, of a number (0.9) or of I'm, and not behind "not"; and neither
    # the pronoun I nor the article A, which a word follows ("A is right", "A or B" are options).
    one = (
        rf"(?<![\w'’])(?<!\d\.)(?<!\bnot\s)[{names}](?![\w'’-]|\.\d)"
        r"(?!(?<=[AI])[ \t]+(?!(?:is|because|or|and)\b)\w)"
    )
    if whole := re.fullmatch(_BARE.format(name=one), reply):
        return names.index(whole[1])
    for form in _CLEAREST_FIRST:
        found = set(re.findall(form.format(name=one), reply, re.MULTILINE))
        if found:
            return names.index(found.pop()) if len(found) == 1 else None
    return None
