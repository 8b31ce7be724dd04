"""A guard alone: what it would stop of what is sent. No model answers, so nothing is graded.

An attempt succeeds where the guard lets the prompt through (evasion). Fast: thousands of queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from custodes.config import Config as BaseConfig
from custodes.guard import load_guard
from custodes.redteam.probes import Probe, Seen, Want, prompt_of
from custodes.redteam.targets.base import Clock
from custodes.types import Action, Mode

__all__ = ["GuardTarget"]


class GuardTarget:
    """Judges prompts."""

    class Config(BaseConfig):
        """Which guard."""

        guard: str = "default"
        """A guard's folder, or a shipped guard."""

    can: frozenset[Want] = frozenset({"reply", "score"})

    def __init__(self, config: Config, *, cache: Path | None = None) -> None:
        self.clock = Clock()
        self._guard = load_guard(config.guard)
        self.description = f"guard {config.guard} ({self._guard.artifact})"

    def handle(self, probes: Sequence[Probe]) -> list[Seen]:
        """One verdict a probe; what passes counts as a success."""
        begun = perf_counter()
        verdicts = self._guard.judge_many([prompt_of(p.turns) for p in probes], Mode.INPUT)
        self.clock.add("guard", perf_counter() - begun)
        self.clock.add("guard evaluations", len(probes))
        return [
            Seen(
                stopped="input" if verdict.action is Action.STOP else None,
                score=verdict.score,
                rule=verdict.rule,
                success=probe.want == "reply" and verdict.action is not Action.STOP,
            )
            for probe, verdict in zip(probes, verdicts, strict=True)
        ]
