"""Writes rows from the slots, intents and frames that the constitution carries; needs no model.

A request is an intent in a frame, or one of the rule's whole requests, statements or examples.
A reply is a reply frame around some of the rule's steps (or a statement), a refusal, or a refusal
followed by the former. Rows of a pair use the same frame, fillers and surroundings for every rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from custodes.constitution import Constitution, Frames, Grammar, Lexicon, Rule, capitalize
from custodes.models import GenerateModel
from custodes.synthesis.config import SynthesisConfig
from custodes.synthesis.rows import example, labels
from custodes.synthesis.task import Task, stable_seed
from custodes.synthesis.writers.base import Draft
from custodes.synthesis.writers.surroundings import earlier_turns, system_prompt
from custodes.types import Message, Mode

__all__ = ["GrammarWriter"]

# Stand for what is put in later: no author's text holds these code points (noncharacters).
_INTENT, _STEPS = "\ufdd0", "\ufdd1"

_FORM_WEIGHTS = {"frame": 0.6, "request": 0.15, "statement": 0.15, "example": 0.1}
_STATEMENT_REPLIES = 0.25


@dataclass(frozen=True, slots=True)
class _Asked:
    text: str
    form: str
    intent: str | None = None


class _Voice:
    """One rule's grammar in one language, with the frames."""

    def __init__(self, constitution: Constitution, rule: Rule, lang: str) -> None:
        self.grammar: Grammar = rule.grammar[lang]
        self.frames: Frames = constitution.frames.get(lang, Frames())
        slots = self.frames.slots
        self._words = Lexicon({**slots, **self.grammar.slots}, language=lang)
        self._framed = Lexicon({**slots, "intent": (_INTENT,), "steps": (_STEPS,)}, language=lang)
        # The examples of a rule are in one language: that of its first grammar.
        own = lang == next(iter(rule.grammar))
        self.examples = (*rule.examples, *rule.boundary_examples) if own else ()

    def phrase(self, phrases: Sequence[str], rng: Random) -> str:
        """One of the rule's own phrases, filled."""
        return self._words.draw(rng.choice(phrases), rng)

    def frame(self, frames: Sequence[str], intent: str | None, rng: Random) -> str:
        """One of the frames, filled, with the intent in its place; without one, a frame that
        names none."""
        if intent is None:
            frames = [frame for frame in frames if "{intent}" not in frame] or ["{steps}"]
        text = self._framed.draw(rng.choice(frames), rng)
        if text.startswith(_INTENT) and text[-1] in ".!?":
            return capitalize(text.replace(_INTENT, intent or "", 1)).replace(_INTENT, intent or "")
        return text.replace(_INTENT, intent or "")

    def ask(self, task: Task, own: Random, shared: Random) -> _Asked:
        """A user's turn."""
        form = self._form(task, own)
        if form == "frame":
            intent = self.phrase(self.grammar.intents, own)
            text = self.frame(self.frames.requests[task.style], intent, shared)
            return _Asked(text, form, intent)
        if form == "example":
            return _Asked(own.choice(self.examples), form)
        source = self.grammar.requests if form == "request" else self.grammar.statements
        return _Asked(self.phrase(source, own), form)

    def _form(self, task: Task, own: Random) -> str:
        able = {
            "frame": self.grammar.intents and self.frames.requests.get(task.style),
            "request": self.grammar.requests,
            "statement": self.grammar.statements and task.side is Mode.INPUT,
            "example": self.examples,
        }
        forms = [form for form, phrases in able.items() if phrases]
        if task.pair and "frame" in forms:
            return "frame"
        return own.choices(forms, [_FORM_WEIGHTS[form] for form in forms])[0]

    def comply(self, asked: _Asked, own: Random, shared: Random, *, alone: bool) -> tuple[str, int]:
        """A reply that does what is asked, and the character where it begins to.

        One that is judged `alone` names what it does, where that is known.
        """
        grammar = self.grammar
        bare = shared.random()
        if grammar.statements and (not grammar.steps or own.random() < _STATEMENT_REPLIES):
            content = self.phrase(grammar.statements, own)
            if bare < 0.5:
                return content, 0
        else:
            content = self._steps(own, shared)
        frames = self.frames.replies
        if alone and asked.intent:
            frames = tuple(frame for frame in frames if "{intent}" in frame) or frames
        text = self.frame(frames, asked.intent, shared)
        before, _, after = text.partition(_STEPS)
        before = capitalize(before)
        if "\n" in content:  # a list stands in a paragraph of its own
            before, after = _apart(before, after)
        return before + content + after, len(before)

    def _steps(self, own: Random, shared: Random) -> str:
        steps = self.grammar.steps
        chosen = sorted(own.sample(range(len(steps)), min(own.randint(2, 6), len(steps))))
        texts = [capitalize(self._words.draw(steps[place], own)) for place in chosen]
        match shared.randrange(5):
            case 0:
                return "\n".join(f"{number}. {text}" for number, text in enumerate(texts, 1))
            case 1:
                return "\n".join(f"- {text}" for text in texts)
            case _:
                return " ".join(texts)

    def refuse(self, asked: _Asked, shared: Random) -> str:
        """A reply that declines."""
        refusals = self.frames.refusals
        if asked.intent is None:
            refusals = tuple(r for r in refusals if "{intent}" not in r) or refusals
        return capitalize(self.frame(refusals, asked.intent or "do that", shared))


def _apart(before: str, after: str) -> tuple[str, str]:
    before, after = before.rstrip(), after.lstrip()
    return before + "\n\n" if before else "", "\n\n" + after if after else ""


class GrammarWriter:
    """Writes without a model, even if it is given one; see the module."""

    def __init__(
        self,
        constitution: Constitution,
        config: SynthesisConfig,
        *,
        model: GenerateModel | None = None,
    ) -> None:
        self._constitution = constitution
        self._tries = config.tries
        self._voices: dict[tuple[str, str], _Voice] = {}

    @classmethod
    def languages(cls, constitution: Constitution, rule: Rule, side: Mode) -> tuple[str, ...]:
        """The languages whose grammar and frames suffice for the side."""
        return tuple(
            lang
            for lang, grammar in rule.grammar.items()
            if _suffices(grammar, constitution.frames.get(lang, Frames()), side)
        )

    def write(self, tasks: Sequence[Task]) -> list[Draft]:
        """One draft a task; a text that these tasks had already is tried again, then let be."""
        seen: set[str] = set()
        drafts = []
        for task in tasks:
            rejected: list[str] = []
            for attempt in range(self._tries):
                draft, said = self._draft(task, attempt)
                if said not in seen:
                    break
                rejected.append("written already")
            seen.add(said)
            drafts.append(Draft(draft.row, tuple(rejected)))
        return drafts

    def _draft(self, task: Task, attempt: int) -> tuple[Draft, str]:
        voice = self._voice(task)
        own = Random(stable_seed("own", task.seed, attempt))
        shared = task.frame_rng() if task.pair else Random(stable_seed("frame", task.seed, attempt))
        system = system_prompt(task.lang, shared)
        turns = list(earlier_turns(task.lang, shared))
        asked = voice.ask(task, own, shared)
        turns.append(Message("user", asked.text))
        meta: dict[str, object] = {"form": asked.form}
        if task.act is not None:
            reply, onset = self._reply(voice, task, asked, own=own, shared=shared)
            turns.append(Message("assistant", reply))
            if labels(self._constitution.rule(task.rule).polarity, task)[0]:
                meta["onset"] = onset
        row = example(
            self._constitution,
            task,
            turns=tuple(turns),
            writer="grammar",
            system=system,
            meta=meta,
        )
        return Draft(row), "\0".join(turn.content for turn in turns)

    def _reply(
        self, voice: _Voice, task: Task, asked: _Asked, *, own: Random, shared: Random
    ) -> tuple[str, int]:
        if task.act == "refuse":
            return voice.refuse(asked, shared), 0
        alone = task.side is Mode.OUTPUT
        reply, onset = voice.comply(asked, own, shared, alone=alone)
        if task.act == "comply":
            return reply, onset
        refusal = voice.refuse(asked, shared) + "\n\n"
        return refusal + reply, len(refusal) + onset

    def _voice(self, task: Task) -> _Voice:
        key = (task.rule, task.lang)
        if key not in self._voices:
            rule = self._constitution.rule(task.rule)
            self._voices[key] = _Voice(self._constitution, rule, task.lang)
        return self._voices[key]


def _suffices(grammar: Grammar, frames: Frames, side: Mode) -> bool:
    asks = bool((grammar.intents and any(frames.requests.values())) or grammar.requests)
    if side is Mode.INPUT:
        return asks or bool(grammar.statements)
    replies = bool(frames.replies and frames.refusals)
    return asks and replies and bool(grammar.steps or grammar.statements)
