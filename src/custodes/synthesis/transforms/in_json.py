"""The text as a value in a JSON document."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from custodes.synthesis.transforms.base import Apply, Transform

__all__ = ["TRANSFORM"]

_KEYS = ("query", "prompt", "question", "message", "input", "text", "task", "request", "content")
_REPLY_KEYS = ("answer", "reply", "response", "output", "result", "completion")
_EXTRAS: tuple[dict[str, Any], ...] = (
    {},
    {"format": "markdown"},
    {"id": 17, "priority": "normal"},
    {"user": "guest", "lang": "auto"},
    {"max_words": 400},
    {"tool": "chat", "version": 2},
    {"temperature": 0.7},
    {"stream": False, "n": 1},
)


def _under(keys: tuple[str, ...]) -> Apply:
    def apply(text: str, rng: Random) -> str:
        values = {**rng.choice(_EXTRAS), rng.choice(keys): text}
        match rng.randrange(3):
            case 0:
                return json.dumps(values, ensure_ascii=False)
            case 1:
                return json.dumps({"body": values}, ensure_ascii=False, indent=2)
            case _:
                return json.dumps([values], ensure_ascii=rng.random() < 0.5)

    return apply


TRANSFORM = Transform(
    name="in_json", family="structure", apply=_under(_KEYS), bare=_under(_REPLY_KEYS)
)
"""The document parses, and the text is one of its values."""
