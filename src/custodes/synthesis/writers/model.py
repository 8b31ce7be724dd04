"""Writes rows by asking a model: a query, its restyling, a reply; any `GenerateModel` will do.

What does not parse is asked for again with another seed, up to `tries` times, and counted.
Whether the text falls under the rule is for the judge to say, not for this module.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from custodes.constitution import Constitution, Rule
from custodes.errors import ConfigError
from custodes.models import GenerateModel, Reply, Sampling
from custodes.synthesis.config import SynthesisConfig
from custodes.synthesis.prompting import render
from custodes.synthesis.rows import example, labels
from custodes.synthesis.task import Task
from custodes.synthesis.writers.base import Draft
from custodes.synthesis.writers.surroundings import earlier_turns, system_prompt
from custodes.types import Message, Mode

__all__ = ["ModelWriter"]

_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)]|(?:user|message|query|rewritten message)\s*:)\s*", re.I)
_QUOTES = "\"'“”«»`"
_DECLINES = re.compile(
    r"i(?:'m| am) (?:really |very )?sorry|sorry, (?:but )?i\b|i must decline|as an ai\b"
    r"|i (?:can(?:no|')t|won't|will not|am (?:not able|unable) to) "
    r"(?:help|assist|write|provide|create|do|fulfil|comply|continue|support|share|answer|offer)",
    re.IGNORECASE,
)
_OPENING = 120
"""A reply that declines does so within so many characters."""
_FALLBACK_REFUSAL = "I can't help with that."
_PLAIN_STYLES = frozenset({"plain"})


@dataclass
class _Work:
    """A task under way."""

    task: Task
    query: str | None = None
    reply: str | None = None
    rejected: list[str] = field(default_factory=list)


class ModelWriter:
    """Writes with a model backend; `ConfigError` where there is none.

    Languages: those of the settings, else those of the constitution's frames, else English.
    """

    def __init__(
        self,
        constitution: Constitution,
        config: SynthesisConfig,
        *,
        model: GenerateModel | None = None,
    ) -> None:
        if model is None:
            raise ConfigError(
                "writer 'model': got no model; set `model`, for example --set model.kind=embedded"
            )
        self._constitution = constitution
        self._tries = config.tries
        self._model = model

    @classmethod
    def languages(cls, constitution: Constitution, rule: Rule, side: Mode) -> tuple[str, ...]:
        """All languages that the constitution has frames for; English where it has none."""
        return tuple(constitution.frames) or ("en",)

    def write(self, tasks: Sequence[Task]) -> list[Draft]:
        """One draft a task, in order; no row where no attempt parsed."""
        works = [_Work(task) for task in tasks]
        self._each(works, "query", self._query_prompt, _parse_query, max_tokens=120)
        restyled = [w for w in works if w.query and w.task.style not in _PLAIN_STYLES]
        self._each(restyled, "style", self._style_prompt, _parse_query, max_tokens=160)
        replying = [w for w in works if w.query and w.task.act]
        self._each(replying, "reply", self._reply_prompt, _parse_reply, max_tokens=300)
        return [self._draft(work) for work in works]

    def _each(
        self,
        works: Sequence[_Work],
        stage: str,
        prompt: Callable[[_Work], str],
        parse: Callable[[_Work, Reply], str | None],
        *,
        max_tokens: int,
    ) -> None:
        """Ask for all, then again for those that did not parse; a style that fails is left."""
        pending = list(works)
        for attempt in range(self._tries):
            if not pending:
                return
            seed = (pending[0].task.seed + attempt) % 2**31
            sampling = Sampling(max_tokens=max_tokens, temperature=0.9, top_p=0.95, seed=seed)
            asked = [(Message("user", prompt(work)),) for work in pending]
            replies = self._model.generate(asked, sampling)
            failed = []
            for work, reply in zip(pending, replies, strict=True):
                parsed = parse(work, reply)
                if parsed is None:
                    work.rejected.append(f"{stage} did not parse")
                    failed.append(work)
                elif stage == "reply":
                    work.reply = parsed
                else:
                    work.query = parsed
            pending = failed

    def _query_prompt(self, work: _Work) -> str:
        rule = self._constitution.rule(work.task.rule)
        task = work.task
        return render("query.j2", rule=rule, subtopic=task.subtopic, lang=task.lang)

    def _style_prompt(self, work: _Work) -> str:
        return render("rewrite.j2", style=work.task.style, query=work.query)

    def _reply_prompt(self, work: _Work) -> str:
        act = "refuse" if work.task.act == "refuse" else "comply"
        return render("reply.j2", query=work.query, act=act, lang=work.task.lang)

    def _draft(self, work: _Work) -> Draft:
        task = replace(work.task, pair=None)  # a model's texts share no frame
        if work.query is None or (task.act and work.reply is None):
            return Draft(None, tuple(work.rejected))
        rng = task.frame_rng()
        system = system_prompt(task.lang, rng)
        turns = [*earlier_turns(task.lang, rng), Message("user", work.query)]
        meta: dict[str, object] = {"form": "model"}
        if task.subtopic:
            meta["subtopic"] = task.subtopic
        if work.reply is not None:
            opening = self._refusal(task) if task.act == "refuse_then_comply" else ""
            turns.append(Message("assistant", opening + work.reply))
            if labels(self._constitution.rule(task.rule).polarity, task)[0]:
                meta["onset"] = len(opening)
        row = example(
            self._constitution,
            task,
            turns=tuple(turns),
            writer="model",
            system=system,
            meta=meta,
        )
        return Draft(row, tuple(work.rejected))

    def _refusal(self, task: Task) -> str:
        """A refusal of the frames, for a reply that complies after it."""
        frames = self._constitution.frames.get(task.lang)
        whole = [text for text in frames.refusals if "{" not in text] if frames else []
        return task.frame_rng().choice(whole or [_FALLBACK_REFUSAL]) + "\n\n"


def _parse_query(_: _Work, reply: Reply) -> str | None:
    """The first line, without bullet and quotes; None for a refusal or a scrap."""
    lines = [line.strip() for line in reply.text.splitlines() if line.strip()]
    if reply.finish == "refusal" or not lines or _DECLINES.match(lines[0]):
        return None
    text = _BULLET.sub("", lines[0]).strip().strip(_QUOTES).strip()
    return text if len(text.split()) > 1 else None


def _parse_reply(work: _Work, reply: Reply) -> str | None:
    """The whole text; None where it declines and should not, or (in English) the reverse."""
    text = reply.text.strip().strip(_QUOTES)
    declines = reply.finish == "refusal" or _DECLINES.search(text[:_OPENING]) is not None
    if len(text.split()) < 2:
        return None
    if work.task.act != "refuse":
        return None if declines else text
    return text if declines or work.task.lang != "en" else None
