"""The scorer: features -> head -> smoothing -> calibrated points.

The same arithmetic serves whole texts and streams. Knows nothing of policies, thresholds and
cascades.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from custodes.classifiers.base import Point
from custodes.classifiers.features.base import Features, FeatureStream, Judged, Tokens
from custodes.classifiers.heads import Head
from custodes.classifiers.smoothing import Smoother, ema
from custodes.config import Config
from custodes.types import Conversation, Mode, RuleId, Score

__all__ = ["Calibration", "TokenScorer", "Windows", "softmax"]

_CHUNK = 128
"""Texts whose features are in memory at a time."""


class Calibration(Config):
    """Platt scaling: log-odds = slope x logit + intercept."""

    slope: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Above 0: calibration never changes which text is the more harmful."""
    intercept: float = Field(default=0.0, allow_inf_nan=False)
    """Moves the odds to the base rate that calibration saw."""

    def log_odds(self, logit: float) -> float:
        """The calibrated logit."""
        return self.slope * logit + self.intercept

    def probability(self, logit: float) -> Score:
        """The probability of harm, computed so that no finite logit overflows."""
        z = self.log_odds(logit)
        if z >= 0:
            return 1 / (1 + math.exp(-z))
        odds = math.exp(z)
        return odds / (1 + odds)


class Windows(Config):
    """Tokens that smoothing looks back on, by mode; also the tokens before the first point."""

    input: int = Field(default=16, ge=1)
    """Prompts."""
    output: int = Field(default=16, ge=1)
    """Replies judged alone."""
    exchange: int = Field(default=16, ge=1)
    """Replies judged in context."""

    def of(self, mode: Mode) -> int:
        """The window of a mode."""
        return int(getattr(self, mode.value))


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax of [n]; an empty array stays empty."""
    if len(logits) == 0:
        return logits
    shifted = np.exp(logits - logits.max())
    return np.asarray(shifted / shifted.sum(), np.float32)


@dataclass(frozen=True, kw_only=True)
class TokenScorer:
    """A classifier of one stage; see `base.Scorer`."""

    name: str
    version: str
    rules: tuple[RuleId, ...]
    features: Features
    head: Head
    windows: Windows = field(default_factory=Windows)
    calibration: dict[Mode, Calibration] = field(default_factory=dict)
    serves: tuple[Mode, ...] = tuple(Mode)

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes that it is to serve and whose texts its features can read."""
        readable = getattr(self.features, "modes", tuple(Mode))
        return tuple(mode for mode in readable if mode in self.serves)

    def open(self, context: Conversation, mode: Mode) -> _TokenStream:
        """Begin to judge a text."""
        return _TokenStream(self, self.features.open(context, mode), mode)

    def score(self, conversations: Sequence[Conversation], mode: Mode) -> list[Point]:
        """The decisive point of each conversation."""
        return [
            self.points_of(logits, tokens, length, mode, decisive=True)[0]
            for logits, tokens, length in self._logits(conversations, mode)
        ]

    def points(self, conversations: Sequence[Conversation], mode: Mode) -> list[list[Point]]:
        """Every point of each conversation."""
        return [
            self.points_of(logits, tokens, length, mode)
            for logits, tokens, length in self._logits(conversations, mode)
        ]

    def token_logits(
        self, conversation: Conversation, mode: Mode
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """What the score is made of: (ends [n], each token's own harmful logit [n], unsmoothed).

        `ends`: characters of the judged text that are covered after each token.
        """
        ((logits, tokens, _),) = self._logits([conversation], mode)
        return tokens.ends, logits[:, 0].astype(np.float64)

    def _logits(
        self, conversations: Sequence[Conversation], mode: Mode
    ) -> Iterator[tuple[NDArray[np.float32], Tokens, int]]:
        for start in range(0, len(conversations), _CHUNK):
            rows = [Judged(c, mode) for c in conversations[start : start + _CHUNK]]
            for row, tokens in zip(rows, self.features.extract(rows), strict=True):
                yield self.head.logits(tokens), tokens, len(row.conversation[-1].content)

    def points_of(
        self,
        logits: NDArray[np.float32],
        tokens: Tokens,
        length: int,
        mode: Mode,
        *,
        decisive: bool = False,
    ) -> list[Point]:
        """Points from the logits [n, 1 + rules] of all tokens; the greatest alone if `decisive`."""
        count = len(tokens)
        if count == 0:
            return [self.point(length, 0.0, np.zeros(self.head.outputs - 1), mode)]
        window = self.windows.of(mode)
        served = ema(logits[:, 0].astype(np.float64), window)
        at = point_positions(count, window, self.features.stride)
        if decisive:
            at = at[[int(np.argmax(served[at]))]]
        named = logits[:, 1:].cumsum(axis=0, dtype=np.float64)
        return [
            self.point(
                length if place == count - 1 else int(tokens.ends[place]),
                served[place],
                named[place] / (place + 1),
                mode,
            )
            for place in at.tolist()
        ]

    def point(self, end: int, logit: float, rules: NDArray[np.floating], mode: Mode) -> Point:
        """Apply the mode's calibration to a smoothed logit and mean rule logits."""
        fit = self.calibration.get(mode)
        served = float(logit) if fit is None else fit.log_odds(float(logit))
        return Point(end, served, softmax(rules.astype(np.float32)))


def point_positions(count: int, window: int, stride: int) -> NDArray[np.int64]:
    """Indices of the tokens after which a point is served: every `stride`-th once a window is
    full, and the last."""
    last = count - 1
    regular = np.arange(stride - 1, count, stride)
    regular = regular[regular >= min(window, count) - 1]
    return np.append(regular[regular != last], last)


class _TokenStream:
    def __init__(self, scorer: TokenScorer, features: FeatureStream, mode: Mode) -> None:
        self._scorer = scorer
        self._features = features
        self._mode = mode
        self._smoother = Smoother(scorer.windows.of(mode))
        self._pending: Tokens | None = None
        self._count = 0
        self._length = 0
        self._logit = 0.0
        self._rules = np.zeros(scorer.head.outputs - 1)

    def push(self, text: str) -> list[Point]:
        self._length += len(text)
        return self._take(self._features.push(text), final=False)

    def finish(self) -> list[Point]:
        points = self._take(self._features.finish(), final=True)
        return [*points, self._point(self._length)]

    def _take(self, new: Tokens, *, final: bool) -> list[Point]:
        """Read tokens in groups of `stride`, always: a product of other shape rounds otherwise,
        and every chunking must give the same numbers to the last bit."""
        tokens = new if self._pending is None else self._pending.joined(new)
        stride = self._scorer.features.stride
        points = []
        start = 0
        while len(tokens) - start >= (1 if final else stride):
            group = tokens.part(start, start + stride)
            start += len(group)
            self._read(group)
            if self._count % stride == 0 and self._count >= self._smoother.window:
                points.append(self._point(int(group.ends[-1])))
        self._pending = tokens.part(start, len(tokens))
        return points

    def _read(self, group: Tokens) -> None:
        logits = self._scorer.head.logits(group)
        for logit in logits[:, 0]:
            self._logit = self._smoother.push(float(logit))
        self._rules += logits[:, 1:].sum(axis=0, dtype=np.float64)
        self._count += len(group)

    def _point(self, end: int) -> Point:
        mean = self._rules / max(self._count, 1)
        return self._scorer.point(end, self._logit, mean, self._mode)
