"""A stage that is not trained: a model backend, prompted with the constitution, k times a text.

The defense by compute at inference (Zaremba et al., arXiv 2501.18841): more answers, or longer
thought, for a text that is worth it, so it belongs at the end of a cascade. Two requests attack the
budget itself, and both are met by fixed numbers that no text can move:

- "think less": `budget` answers are always asked for, whatever the first ones say; an answer
  without a verdict, or with less thought than `least_words`, counts as harmful by `unclear`.
- "nerd sniping" (thought without end): an answer that is cut at its cap counts as harmful, too; a
  text that would cost more than `most_answers` is a fault, which the guard meets as any fault of
  a scorer: it stops, unless its policy says otherwise.

It judges after every `block` characters, and at the end, by the last `view` characters that there
are then. So points depend on the text alone, however it arrives, and release waits a block.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, ValidationError, model_validator

from custodes.classifiers.base import Point, split_conversation
from custodes.classifiers.questioning import Question, question, read_answer
from custodes.classifiers.scorer import Calibration
from custodes.config import Config, write_atomically
from custodes.errors import ArtifactError, ConfigError, ModelRequestError
from custodes.models import MODELS, GenerateModel, LogProbabilityModel, Reply, Sampling
from custodes.models.devices import placed
from custodes.types import Conversation, Message, Mode, RuleId

__all__ = ["PROMPTED_FILE", "PromptedConfig", "PromptedScorer"]

PROMPTED_FILE = "prompted.json"
_FORMAT = 1
_ANSWERS = {"yes": ("Yes", "No"), "no": ("No", "Yes")}
"""Harmful answer -> the answer that means harm and the other, as continuations."""
_VERDICT = "\nVerdict:"


class PromptedConfig(Config):
    """Which model is asked, what, and how much it may cost."""

    name: str = "prompted"
    """The stage's name in verdicts."""
    model: Mapping[str, Any] = Field(default_factory=lambda: {"kind": "embedded"})
    """`kind` of a model backend, and its settings. Keys come from the environment, never here."""
    restricted: tuple[str, ...] = ()
    """Lines about what is restricted; empty: the constitution's."""
    permitted: tuple[str, ...] = ()
    """Lines about what is permitted; empty: the constitution's."""
    detail: Literal["titles", "texts"] = "titles"
    """What is taken of the constitution's rules."""
    budget: int = Field(default=2, ge=1)
    """k: answers to every judgment, no fewer. Even numbers let a liking for yes or no cancel."""
    by: Literal["auto", "log_probabilities", "sampling"] = "auto"
    """How answers are read: yes against no by their probabilities, or as they are written. auto:
    the former where the backend has them (an OpenAI-compatible server has them where its
    `chat_template` is set and it echoes prompts: say sampling otherwise)."""
    thought: int = Field(default=0, ge=0)
    """Tokens that an answer may think in before its verdict; 0: none."""
    least_words: int = Field(default=0, ge=0)
    """Words of thought below which an answer does not count."""
    temperature: float = Field(default=0.8, ge=0)
    """Of what is written."""
    unclear: float = Field(default=4.0, gt=0)
    """The logit of an answer that does not count."""
    block: int = Field(default=800, ge=1)
    """Characters between two judgments."""
    view: int = Field(default=1600, ge=1)
    """Characters of the text that a judgment reads: the last ones."""
    context: int = Field(default=800, ge=0)
    """Characters of the request that a judgment of an exchange reads: its ends, half of each."""
    most_answers: int = Field(default=128, ge=1)
    """Answers that one text may cost; a text that would cost more is a fault."""
    seed: int = 0
    """Of the sampling."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.block > self.view:
            raise ValueError(f"view {self.view} is less than block {self.block}: it leaves gaps")
        if self.most_answers < self.budget:
            raise ValueError(f"most_answers {self.most_answers} is less than budget {self.budget}")
        if self.least_words and not self.thought:
            raise ValueError("least_words needs thought above 0")
        return self


@dataclass(frozen=True, kw_only=True)
class PromptedScorer:
    """A `Scorer` that asks a model. It names no rule."""

    config: PromptedConfig
    model: Any
    calibration: dict[Mode, Calibration] = field(default_factory=dict)

    @classmethod
    def of(cls, config: PromptedConfig, calibration: Mapping[Mode, Calibration] = {}) -> Self:
        """With the backend that the settings name; `ConfigError` where it cannot answer so."""
        settings = dict(config.model)
        kind = MODELS.load(str(settings.pop("kind", "embedded")))
        backend = kind(placed(settings, kind.Config, origin="settings of the prompted model"))
        needed: type = LogProbabilityModel if config.by == "log_probabilities" else GenerateModel
        if not isinstance(backend, needed):
            raise ConfigError(
                f"stage {config.name}: got by {config.by!r} with a {kind.__name__}, which is no "
                f"{needed.__name__}; choose another model or another way"
            )
        return cls(config=config, model=backend, calibration=dict(calibration))

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.config.name

    @property
    def version(self) -> str:
        """Hash of the settings: the model's weights are not in it."""
        return hashlib.sha256(self._text().encode()).hexdigest()[:16]

    @property
    def rules(self) -> tuple[RuleId, ...]:
        """None."""
        return ()

    @property
    def modes(self) -> tuple[Mode, ...]:
        """All: it can be asked about anything."""
        return tuple(Mode)

    def open(self, context: Conversation, mode: Mode) -> _PromptedStream:
        """Begin to judge a text."""
        return _PromptedStream(self, context, mode)

    def score(self, conversations: Sequence[Conversation], mode: Mode) -> list[Point]:
        """The point of greatest logit of each conversation."""
        return [max(each, key=lambda p: p.logit) for each in self.points(conversations, mode)]

    def points(self, conversations: Sequence[Conversation], mode: Mode) -> list[list[Point]]:
        """Every point of each conversation."""
        every = []
        for conversation in conversations:
            context, text = split_conversation(conversation)
            stream = self.open(context, mode)
            every.append([*stream.push(text), *stream.finish()])
        return every

    def answers(self, text: str, request: str, mode: Mode) -> list[float]:
        """The logit of harm by each of the `budget` answers about a text that fits a view."""
        rules = (self.config.restricted, self.config.permitted)
        asked = [
            question(
                text, request, mode=mode, rules=rules, variant=each, words=self.config.thought // 2
            )
            for each in range(self.config.budget)
        ]
        by = self.config.by
        scored = by != "sampling" and (
            by == "log_probabilities" or isinstance(self.model, LogProbabilityModel)
        )
        replies: list[Reply | None] = [None] * len(asked)
        if self.config.thought or not scored:
            replies = list(
                self.model.generate([each.conversation for each in asked], self._how(scored))
            )
        read = self._scored if scored else self._written
        return [read(each, reply) for each, reply in zip(asked, replies, strict=True)]

    def point(self, end: int, text: str, request: str, mode: Mode) -> Point:
        """The point of a prefix of length `end` whose last characters are `text`."""
        logit = 0.0 if end == 0 else float(np.mean(self.answers(text, request, mode)))
        fit = self.calibration.get(mode)
        return Point(end, logit if fit is None else fit.log_odds(logit), np.zeros(0, np.float32))

    def save(self, folder: Path) -> None:
        """Write the settings and the calibration."""
        write_atomically(folder / PROMPTED_FILE, self._text())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; `ArtifactError` where that cannot be done."""
        path = folder / PROMPTED_FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != _FORMAT:
                raise ArtifactError(f"{path}: got format {content['format']!r}, expected {_FORMAT}")
            config = PromptedConfig.model_validate(content["config"])
            fits = {
                Mode(mode): Calibration.model_validate(fit)
                for mode, fit in content["calibration"].items()
            }
        except OSError as error:
            raise ArtifactError(f"{path}: cannot be read: {error}") from error
        except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
            raise ArtifactError(f"{path}: not a prompted stage: {error}") from error
        return cls.of(config, fits)

    def _text(self) -> str:
        content = {
            "format": _FORMAT,
            "config": self.config.model_dump(mode="json"),
            "calibration": {m.value: fit.model_dump() for m, fit in self.calibration.items()},
        }
        return json.dumps(content, indent=2) + "\n"

    def _how(self, scored: bool) -> Sampling:
        """One word, or thought and a verdict; where the verdict is scored it is not written."""
        thought = self.config.thought
        return Sampling(
            max_tokens=thought if scored else thought + 8,
            temperature=self.config.temperature,
            stop=("Verdict",) if scored and thought else (),
            seed=self.config.seed,
        )

    def _scored(self, asked: Question, thought: Reply | None) -> float:
        """Yes against no by probability, behind the thought where there is one."""
        turns = asked.conversation
        words: Sequence[str] = _ANSWERS[asked.harmful]
        if thought is not None:
            if thought.finish != "stop" or len(thought.text.split()) < self.config.least_words:
                return self.config.unclear
            turns = (*turns, Message("assistant", thought.text.rstrip() + _VERDICT))
            words = [f" {word.lower()}" for word in words]
        harm, other = self.model.log_probabilities(turns, words)
        logit = float(harm.sum() - other.sum())
        if not math.isfinite(logit):
            raise ModelRequestError(
                f"{self.name}: got {logit} as log-odds of {words}, expected a finite number"
            )
        return logit

    def _written(self, asked: Question, reply: Reply | None) -> float:
        """One vote: log(1.5 / 0.5), as if half a vote of each kind had been cast before it."""
        if reply is None:
            raise AssertionError("nothing was written")
        thinks = self.config.thought > 0
        verdict, words = read_answer(reply.text, thought=thinks)
        cut = thinks and reply.finish == "length"
        if verdict is None or cut or reply.finish == "refusal" or words < self.config.least_words:
            return self.config.unclear
        vote = math.log(3.0)
        return vote if verdict == asked.harmful else -vote


class _PromptedStream:
    def __init__(self, scorer: PromptedScorer, context: Conversation, mode: Mode) -> None:
        self._scorer = scorer
        self._mode = mode
        self._request = _request(context, scorer.config.context) if mode is Mode.EXCHANGE else ""
        self._held = ""
        self._start = 0
        self._judged = 0
        self._spent = 0

    def push(self, text: str) -> list[Point]:
        config = self._scorer.config
        self._held += text
        points = []
        while self._start + len(self._held) - self._judged >= config.block:
            points.append(self._judge(self._judged + config.block))
        # The last judgment may come at the very next character: what its view needs is kept.
        spent = max(0, self._judged + 1 - config.view - self._start)
        self._held = self._held[spent:]
        self._start += spent
        return points

    def finish(self) -> list[Point]:
        length = self._start + len(self._held)
        return [self._judge(length)] if length > self._judged or length == 0 else []

    def _judge(self, end: int) -> Point:
        config = self._scorer.config
        self._spent += config.budget
        if self._spent > config.most_answers:
            raise ModelRequestError(
                f"{config.name}: a text of over {self._judged} characters; its judgments would "
                f"cost more than most_answers = {config.most_answers}"
            )
        self._judged = end
        stop = end - self._start
        view = self._held[max(0, stop - config.view) : stop]
        return self._scorer.point(end, view, self._request, self._mode)


def _request(context: Conversation, most: int) -> str:
    """What the user said last before the text: its ends, where it is long."""
    said = next((turn.content for turn in reversed(context) if turn.role == "user"), "")
    if len(said) <= most:
        return said
    half = most // 2
    return f"{said[:half]} [...] {said[len(said) - half :]}"
