"""One stage's stream of points, checked: whatever goes wrong in a scorer becomes a fault here.

This is the only place of the guard that calls a scorer's stream. Knows one stage; knows nothing
of other stages, thresholds or release.
"""

from __future__ import annotations

import math
import operator
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from custodes.classifiers.base import Point, Scorer, Stream
from custodes.types import Conversation, Mode

__all__ = ["Lane", "Watch", "faulty"]


@dataclass(frozen=True, slots=True)
class Watch:
    """A clock and the seconds that a scorer may take for each point it returns."""

    clock: Callable[[], float]
    seconds: float


def faulty(point: Point, *, after: int, length: int, rules: int) -> str | None:
    """Why `point` cannot be trusted, or None.

    `after`: the end of the point before it; `length`: characters received so far; `rules`: how
    many rules the scorer can name.
    """
    if not after <= operator.index(point.end) <= length:
        return f"got a point at character {point.end!r}, expected one in {after}..{length}"
    if not math.isfinite(point.logit):
        return f"got the logit {point.logit!r} at character {point.end}, expected a finite number"
    shares = np.asarray(point.rules)
    if shares.shape != (rules,):
        return f"got rule probabilities of shape {shares.shape}, expected ({rules},)"
    if rules and not (shares.min() >= 0 and math.isfinite(shares.sum())):
        return f"got rule probabilities {shares.tolist()!r:.80}, expected finite ones from 0"
    return None


class Lane:
    """One stage at work on one text.

    `start`: the character at which the stage came into play; `queue`: its points that are not
    yet combined; `current`: its last combined point; `fault`: why it cannot go on;
    `escalated_at`: the end of its first point above the stage's `escalate_above`.
    """

    def __init__(
        self, scorer: Scorer, escalate_above: float | None, *, start: int, watch: Watch | None
    ) -> None:
        self._scorer = scorer
        self._escalate_above = escalate_above
        self._watch = watch
        self._stream: Stream | None = None
        self.last = 0
        self.start = start
        self.queue: deque[Point] = deque()
        self.current: Point | None = None
        self.fault: str | None = None
        self.finished = False
        self.escalated_at: int | None = start if escalate_above is None else None

    def open(self, context: Conversation, mode: Mode) -> None:
        """Open the scorer's stream."""

        def begin() -> Sequence[Point]:
            self._stream = self._scorer.open(context, mode)
            return ()

        self._call(begin, length=0)

    def push(self, text: str, *, length: int) -> None:
        """Give the stage more text; `length` counts the whole text so far."""
        if self._stream is not None and self.fault is None:
            stream = self._stream
            self._call(lambda: stream.push(text), length=length)

    def finish(self, *, length: int) -> None:
        """Tell the stage that the text is complete; its points must reach the end."""
        if self._stream is None or self.fault is not None:
            return
        self._call(self._stream.finish, length=length)
        seen = self.queue[-1] if self.queue else self.current
        if self.fault is None and (seen is None or seen.end != length):
            covered = "no point" if seen is None else f"points up to character {seen.end}"
            self.fault = self._name(f"gave {covered} for a text of {length} characters")
        self.finished = self.fault is None

    def next_end(self) -> int:
        """Where its next point takes effect: no earlier than the stage came into play."""
        return max(self.queue[0].end, self.start)

    def take(self) -> None:
        """Make the next point the current one."""
        self.current = self.queue.popleft()

    def used(self) -> Point | None:
        """The point that stands for the stage: its current one, else its first."""
        if self.current is None and self.queue:
            return self.queue[0]
        return self.current

    def _call(self, function: Callable[[], Sequence[Point]], *, length: int) -> None:
        began = self._watch.clock() if self._watch else 0.0
        points: Sequence[Point] = ()
        try:
            points = function()
            for point in points:
                self.fault = self._check(point, length)
                if self.fault:
                    return
                self._accept(point)
        except Exception as error:  # noqa: BLE001 - a scorer may raise anything: it fails closed
            self.fault = self._name(f"raised {type(error).__name__}: {error}")
            return
        if self._watch:
            took = self._watch.clock() - began
            allowed = self._watch.seconds * max(1, len(points))
            if took > allowed:
                self.fault = self._name(f"took {took:.3g} s, {allowed:.3g} s were allowed")

    def _check(self, point: Point, length: int) -> str | None:
        why = faulty(point, after=self.last, length=length, rules=len(self._scorer.rules))
        return self._name(why) if why else None

    def _accept(self, point: Point) -> None:
        self.last = point.end
        self.queue.append(point)
        above = self._escalate_above
        if above is not None and self.escalated_at is None and point.logit > above:
            self.escalated_at = max(point.end, self.start)

    def _name(self, why: str) -> str:
        return f"stage {self._scorer.name!r} {why}"
