"""A model behind a guard in this process: the prompt is judged, then the reply as it would stream.

What is graded is what would have left the system: of a reply that is cut, the part before the cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from pydantic import Field

from custodes.guard import Guard, load_guard
from custodes.guard.outcome import Outcome, outcomes
from custodes.redteam.probes import Probe, Seen, Stopped, prefill_of, prompt_of
from custodes.redteam.targets.base import Clock
from custodes.redteam.targets.model import capabilities, inside
from custodes.redteam.targets.replies import ModelSettings, Replies
from custodes.types import Action, Conversation, Message, Mode

__all__ = ["GuardedTarget"]


class GuardedTarget:
    """Input classifier, model, output or exchange classifier: any of the guards may be left out."""

    class Config(ModelSettings):
        """The model and the guard."""

        guard: str = "default"
        """A guard's folder, or a shipped guard."""
        modes: tuple[Mode, ...] = Field(default=(Mode.INPUT, Mode.EXCHANGE))
        """What is judged: input, and one of output and exchange, or only one of the three."""

    def __init__(self, config: Config, *, cache: Path | None = None) -> None:
        self.clock = Clock()
        self.replies = Replies(config, cache, self.clock)
        self._guard: Guard = load_guard(config.guard)
        if (features := self._guard.guarded) is not None:
            features.bind(self.replies.model, name="the target's model")
        self._modes = config.modes
        self.can = capabilities(self.replies) | {"score"}
        modes = " + ".join(config.modes)
        self.description = (
            f"{self.replies.description}, behind guard {config.guard} ({self._guard.artifact}): "
            f"{modes}"
        )

    def handle(self, probes: Sequence[Probe]) -> list[Seen]:
        """Judge all prompts, generate for those that pass, judge the replies."""
        found: dict[int, Seen] = {}
        judged = [i for i, probe in enumerate(probes) if probe.want in ("reply", "score")]
        for i, seen in zip(judged, self._prompts([probes[i] for i in judged]), strict=True):
            found[i] = seen
        passed = [i for i in judged if probes[i].want == "reply" and found[i].stopped is None]
        replies = self.replies.ask([probes[i].turns for i in passed])
        texts = ["" if reply.finish == "refusal" else reply.text for reply in replies]
        for i, seen in zip(passed, self._answers([probes[i] for i in passed], texts), strict=True):
            scores = [s for s in (found[i].score, seen.score) if s is not None]
            found[i] = replace(seen, score=max(scores) if scores else None)
        for i, probe in enumerate(probes):
            if i not in found:
                found[i] = inside(self.replies, probe)
        return [found[i] for i in range(len(probes))]

    def screen(self, conversations: Sequence[Conversation]) -> list[bool]:
        """Whether each would be stopped: its prompt, or the reply that it holds."""
        prompts = [prompt_of(turns) for turns in conversations]
        stopped = [False] * len(prompts)
        if Mode.INPUT in self._modes:
            stopped = [each.stop_at is not None for each in self._judge(prompts, Mode.INPUT)]
        mode = Mode.EXCHANGE if Mode.EXCHANGE in self._modes else Mode.OUTPUT
        if mode in self._modes:
            answered = [i for i, turns in enumerate(conversations) if turns[-1].role == "assistant"]
            replies = self._judge([conversations[i] for i in answered], mode)
            for i, outcome in zip(answered, replies, strict=True):
                stopped[i] = stopped[i] or outcome.stop_at is not None
        return stopped

    def _prompts(self, probes: Sequence[Probe]) -> list[Seen]:
        if Mode.INPUT not in self._modes:
            # A guard of replies alone tells nothing of a prompt.
            return [Seen(score=0.0 if probe.want == "score" else None) for probe in probes]
        verdicts = self._judge([prompt_of(probe.turns) for probe in probes], Mode.INPUT)
        return [
            Seen(
                stopped="input" if verdict.action is Action.STOP else None,
                score=verdict.score,
                rule=verdict.rule,
            )
            for verdict in (each.verdict for each in verdicts)
        ]

    def _answers(self, probes: Sequence[Probe], texts: Sequence[str]) -> list[Seen]:
        mode = Mode.EXCHANGE if Mode.EXCHANGE in self._modes else Mode.OUTPUT
        if mode not in self._modes:
            return [Seen(reply=text) for text in texts]
        begun = [prefill_of(probe.turns) for probe in probes]
        whole = [
            (*prompt_of(probe.turns), Message("assistant", start + text))
            for probe, start, text in zip(probes, begun, texts, strict=True)
        ]
        return [
            _left(outcome, start, text, mode)
            for outcome, start, text in zip(self._judge(whole, mode), begun, texts, strict=True)
        ]

    def _judge(self, conversations: Sequence[Conversation], mode: Mode) -> list[Outcome]:
        if not conversations:
            return []
        begun = perf_counter()
        found = outcomes(self._guard, conversations, mode)
        self.clock.add("guard", perf_counter() - begun)
        self.clock.add("guard evaluations", len(conversations))
        return found


def _left(outcome: Outcome, start: str, text: str, mode: Mode) -> Seen:
    verdict, cut = outcome.verdict, outcome.stop_at
    if cut is None:
        return Seen(reply=text, score=verdict.score, rule=verdict.rule)
    kept = (start + text)[:cut][len(start) :]
    stopped: Stopped = "exchange" if mode is Mode.EXCHANGE else "output"
    return Seen(reply=kept, stopped=stopped, score=verdict.score, rule=verdict.rule)
