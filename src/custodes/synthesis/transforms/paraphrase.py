"""Paraphrase: everyday words replaced by others of like meaning, from a table or by a model.

The table is English; a text without any of its words stays as it is. It holds function words and
words of asking and explaining only, so that no rule's own subject is ever exchanged.
"""

from __future__ import annotations

import re
from random import Random

from custodes.synthesis.transforms.asking import asking, unbound
from custodes.synthesis.transforms.base import Transform

__all__ = ["BY_MODEL", "TRANSFORM"]

_ALIKE = (
    "explain|lay out|spell out|describe",
    "show me|walk me through|take me through",
    "tell me|let me know",
    "help me|assist me|give me a hand so that I can",
    "how do i|how can i|how would i|in what way do i",
    "how to|the way to|ways to",
    "what is|what's",
    "can you|could you|would you|are you able to",
    "please|kindly|if you would",
    "i want to|i'd like to|i am hoping to|i mean to",
    "i need to|i have to|i must",
    "write|draft|compose|put together",
    "make|create|produce|come up with",
    "step by step|one step at a time|in small steps",
    "steps|stages",
    "detailed|thorough|in-depth|exact",
    "quick|fast|swift",
    "easy|simple|straightforward",
    "best|finest|most suitable",
    "way|method|approach",
    "list|enumerate",
    "guide|manual|walkthrough",
    "instructions|directions",
    "without|with no",
    "use|employ|work with",
    "get|obtain|come by",
    "find|locate|track down",
    "start|begin|set about",
    "because|since|as",
    "also|in addition|as well",
    "first|to begin with",
    "then|after that|next",
    "someone|somebody|a person",
    "people|folks|persons",
    "thanks|thank you|cheers",
    "for my|for a|for some",
    "question|query",
    "friend|buddy|pal",
    "need|require",
    "important|crucial|essential",
)
_TABLE = {
    phrase: tuple(other for other in group.split("|") if other != phrase)
    for group in _ALIKE
    for phrase in group.split("|")[:1]
}
_PHRASE = re.compile(
    r"\b(?:" + "|".join(re.escape(p) for p in sorted(_TABLE, key=len, reverse=True)) + r")\b",
    re.IGNORECASE,
)


def _apply(text: str, rng: Random) -> str:
    def swap(match: re.Match[str]) -> str:
        found = match.group()
        if rng.random() < 0.25:
            return found
        other = rng.choice(_TABLE[found.lower()])
        return other[0].upper() + other[1:] if found[0].isupper() else other

    return _PHRASE.sub(swap, text)


TRANSFORM = Transform(name="paraphrase", family="noise", apply=_apply)
"""By the table."""

BY_MODEL = Transform(
    name="paraphrase_by_model",
    family="noise",
    apply=unbound("paraphrase_by_model"),
    bind=asking("paraphrase.j2", lambda rng: {}),
)
"""By a model; as good as the model is."""
