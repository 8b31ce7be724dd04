"""Replay: prompts that somebody found before, sent again; before and after a change, say.

Takes a campaign's transcripts.jsonl, a JailbreakBench artifact (JSON) or a garak report (JSONL);
see `custodes.redteam.found`.
"""

from __future__ import annotations

from pathlib import Path

from custodes.config import Config as BaseConfig
from custodes.redteam.attack import Strategy, Tools, waves
from custodes.redteam.found import read_found
from custodes.redteam.probes import Probe, Want
from custodes.redteam.questions import Question

__all__ = ["Replay"]


class Replay:
    """Sends what is in a file."""

    needs: frozenset[Want] = frozenset({"reply"})
    exhaustive = True

    class Config(BaseConfig):
        """Which file."""

        file: Path
        """transcripts.jsonl, a JailbreakBench artifact, or a garak report."""
        successes: bool = True
        """Only those that were marked as a success."""

    def __init__(self, config: Config) -> None:
        self._found = [
            each for each in read_found(config.file) if each.success or not config.successes
        ]

    def begin(self, question: Question, tools: Tools) -> Strategy:
        """The prompts that were found for this question."""
        own = [each for each in self._found if each.question in (question.id, question.text)]
        probes = (
            Probe(turns=each.turns, strategy=each.strategy, glossary=each.glossary)
            for each in own[: tools.budget]
        )
        return waves(probes, tools)
