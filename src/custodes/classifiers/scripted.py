"""The shipped double of a scorer: a table of patterns instead of a trained head.

For tests, demonstrations and dry runs of a deployment. It gives the same points whichever way
the text is cut, and it can be told to fail in every way that a scorer can. It learns nothing
and knows nothing of guards.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field, ValidationError, field_validator

from custodes.classifiers.base import Point, split_conversation
from custodes.config import Config, write_atomically
from custodes.errors import ArtifactError
from custodes.types import Conversation, Mode, RuleId

__all__ = ["Fault", "Pattern", "ScriptedConfig", "ScriptedScorer"]

_FILE = "scripted.json"
_FORMAT = 1


class Fault(StrEnum):
    """What goes wrong when a scripted scorer reaches `fault_at`."""

    RAISE = "raise"
    STALL = "stall"
    NAN = "nan"
    INFINITE = "infinite"
    NONE = "none"
    BACKWARDS = "backwards"
    BEYOND = "beyond"
    RULES = "rules"
    SILENT = "silent"
    OPEN = "open"


class Pattern(Config):
    """One row of the table."""

    regex: str
    """A regular expression; letter case is ignored."""
    logit: float
    """The harmful log-odds of a text in whose window it is found."""
    rule: RuleId | None = None
    """The rule that is named then; None spreads the probability over all rules."""

    @field_validator("regex")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return value


class ScriptedConfig(Config):
    """What a scripted scorer answers."""

    name: str = "scripted"
    """The stage's name."""
    rules: tuple[RuleId, ...] = ()
    """The rules that it can name."""
    patterns: tuple[Pattern, ...] = ()
    """The table; of the patterns that are found the greatest logit counts."""
    base: float = -4.0
    """The logit where no pattern is found."""
    step: int = Field(default=8, ge=1)
    """One point every so many characters, and one at the end."""
    lag: int = Field(default=0, ge=0)
    """A point is given only when so many more characters have come, or at the end."""
    window: int = Field(default=256, ge=1)
    """Patterns are looked for in the last so many characters: a logit falls back afterwards."""
    context_logit: float = 0.0
    """Added to every logit where a pattern is found in the context (not in mode output)."""
    fault: Fault | None = None
    """What goes wrong."""
    fault_at: int = Field(default=0, ge=0)
    """It goes wrong at the first point whose end is at least this."""
    stall_seconds: float = Field(default=0.0, ge=0)
    """How long a stall lasts."""


class ScriptedScorer:
    """A `Scorer` that answers from its configuration.

    `sleep` is what a stall calls; give a fake clock's in tests.
    """

    Config = ScriptedConfig

    def __init__(
        self, config: ScriptedConfig, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.config = config
        self._sleep = sleep
        self._table = [(re.compile(row.regex, re.IGNORECASE), row) for row in config.patterns]

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.config.name

    @property
    def version(self) -> str:
        """Hash of the configuration."""
        return hashlib.sha256(self.config.model_dump_json().encode()).hexdigest()[:16]

    @property
    def rules(self) -> tuple[RuleId, ...]:
        """The rules that it can name."""
        return self.config.rules

    def open(self, context: Conversation, mode: Mode) -> ScriptedStream:
        """Begin to judge a text."""
        if self.config.fault is Fault.OPEN:
            raise RuntimeError("scripted: told to raise when opened")
        bonus = 0.0
        said = "\n".join(message.content for message in context)
        if mode is not Mode.OUTPUT and any(found.search(said) for found, _ in self._table):
            bonus = self.config.context_logit
        return ScriptedStream(self, bonus)

    def score(self, conversations: Sequence[Conversation], mode: Mode) -> list[Point]:
        """The point of greatest logit of each conversation (the first of equals)."""

        def rank(point: Point) -> float:
            return math.inf if math.isnan(point.logit) else point.logit

        return [max(points, key=rank) for points in self.points(conversations, mode)]

    def points(self, conversations: Sequence[Conversation], mode: Mode) -> list[list[Point]]:
        """Every point of each conversation."""
        every = []
        for conversation in conversations:
            context, text = split_conversation(conversation)
            stream = self.open(context, mode)
            every.append([*stream.push(text), *stream.finish()])
        return every

    def point(self, window: str, end: int, bonus: float) -> Point:
        """The point of a prefix of length `end` that ends in `window`."""
        logit, rule = self.config.base, None
        for regex, row in self._table:
            if row.logit > logit and regex.search(window):
                logit, rule = row.logit, row.rule
        count = len(self.rules)
        shares = np.full(count, 1 / count if count else 0.0, dtype=np.float32)
        if rule in self.rules:
            shares[:] = 0.1 / max(count - 1, 1)
            shares[self.rules.index(rule)] = 1.0 if count == 1 else 0.9
        point = Point(end=end, logit=logit + bonus, rules=shares)
        return point if end < self.config.fault_at else self._spoil(point)

    def _spoil(self, point: Point) -> Point:
        match self.config.fault:
            case Fault.RAISE:
                raise RuntimeError(f"scripted: told to raise at character {point.end}")
            case Fault.STALL:
                self._sleep(self.config.stall_seconds)
            case Fault.NAN:
                return Point(point.end, math.nan, point.rules)
            case Fault.INFINITE:
                return Point(point.end, -math.inf, point.rules)
            case Fault.NONE:
                return Point(point.end, None, point.rules)  # type: ignore[arg-type]
            case Fault.BACKWARDS:
                return Point(point.end - 1 - self.config.step, point.logit, point.rules)
            case Fault.BEYOND:
                return Point(point.end + 1_000_000_000, point.logit, point.rules)
            case Fault.RULES:
                return Point(point.end, point.logit, point.rules * np.float32(math.nan))
        return point

    def save(self, folder: Path) -> None:
        """Write the scorer into a folder."""
        content = {"format": _FORMAT, "config": self.config.model_dump(mode="json")}
        write_atomically(folder / _FILE, json.dumps(content, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a scorer that `save` wrote; `ArtifactError` where that cannot be done."""
        path = folder / _FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != _FORMAT:
                raise ArtifactError(
                    f"{path}: got format {content['format']!r}, expected {_FORMAT}; "
                    "save the scorer again with this version of custodes"
                )
            return cls(ScriptedConfig.model_validate(content["config"]))
        except FileNotFoundError as error:
            raise ArtifactError(f"{path}: missing; expected a saved scripted scorer") from error
        except (ValueError, KeyError, TypeError, ValidationError) as error:
            raise ArtifactError(f"{path}: not a scripted scorer: {error}") from error


class ScriptedStream:
    """One text judged by a scripted scorer."""

    def __init__(self, scorer: ScriptedScorer, bonus: float) -> None:
        self._scorer = scorer
        self._config = scorer.config
        self._bonus = bonus
        self._held = ""
        self._start = 0
        self._length = 0
        self._next = self._config.step
        self._last: int | None = None

    def push(self, text: str) -> list[Point]:
        """One point for every multiple of `step` that lies `lag` characters back."""
        self._held += text
        self._length += len(text)
        points = self._until(self._length - self._config.lag)
        keep = max(self._start, min(self._next, self._length) - self._config.window)
        self._held = self._held[keep - self._start :]
        self._start = keep
        return [] if self._config.fault is Fault.SILENT else points

    def finish(self) -> list[Point]:
        """The remaining points, and that of the whole text unless it was given."""
        points = self._until(self._length)
        if self._last != self._length:
            points.append(self._point(self._length))
        return [] if self._config.fault is Fault.SILENT else points

    def _until(self, reach: int) -> list[Point]:
        points = []
        while self._next <= reach:
            points.append(self._point(self._next))
            self._next += self._config.step
        return points

    def _point(self, end: int) -> Point:
        self._last = end
        stop = end - self._start
        window = self._held[max(0, stop - self._config.window) : stop]
        return self._scorer.point(window, end, self._bonus)
