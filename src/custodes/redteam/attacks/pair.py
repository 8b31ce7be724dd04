"""PAIR: a model writes the attack, reads what came back with its grade, and improves it.

Chao et al., arXiv 2310.08419: several independent streams, each a conversation of the attacker
model with itself about its last prompt, the target's reply and the judge's grade.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pydantic import Field

from custodes.config import Config as BaseConfig
from custodes.redteam.attack import Strategy, Tools, UnsuitedError
from custodes.redteam.probes import Probe, Seen, Want, user
from custodes.redteam.questions import Question
from custodes.redteam.writing import improve

__all__ = ["PAIR", "parse_prompt"]

_QUOTED = re.compile(r'"prompt"\s*:\s*"((?:[^"\\]|\\.)*)"')


@dataclass
class _Stream:
    """One line of improvement."""

    last: str = ""
    seen: Seen = field(default_factory=Seen)


class PAIR:
    """Lets an attacker model improve its prompts."""

    needs: frozenset[Want] = frozenset({"reply"})

    class Config(BaseConfig):
        """How many streams."""

        streams: int = Field(default=2, ge=1)
        """Independent lines of improvement (the paper has 30)."""

    def __init__(self, config: Config) -> None:
        self._streams = config.streams

    def begin(self, question: Question, tools: Tools) -> Strategy:
        """All streams at once, round after round."""
        if tools.attacker is None:
            raise UnsuitedError("pair needs a model that writes: give --attacker")
        streams = [_Stream() for _ in range(self._streams)]
        while True:
            prompts = improve(question, [(each.last, each.seen) for each in streams], tools)
            for stream, prompt in zip(streams, prompts, strict=True):
                stream.last = parse_prompt(prompt) or question.text
            seen = yield [Probe(turns=user(stream.last)) for stream in streams]
            for stream, each in zip(streams, seen, strict=True):
                stream.seen = each


def parse_prompt(text: str) -> str:
    """The prompt that an attacker model proposes: its JSON field, else all that it wrote."""
    match = _QUOTED.search(text)
    if match:
        return match[1].replace('\\"', '"').replace("\\n", "\n").strip()
    return text.strip().strip("`\"'").strip()
