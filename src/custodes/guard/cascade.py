"""Several scorers as one: a cheap stage judges everything, the next what it escalates.

CC++ (Cunningham et al., arXiv 2601.04603, section 4): a probe screens all traffic, what it finds
suspicious goes to the next classifier too, and the logits of both are averaged.

The combined points are the same for every chunking, because their order and their values depend
on the text alone:

- A stage comes into play at the end of the first point of the stage before it whose logit is
  above `escalate_above`. It is fed the text from the beginning.
- Every point of a stage in play gives one combined point. It takes effect at the point's own
  end, or where the stage came into play, whichever is later: what an escalated stage says of the
  text before its escalation comes retroactively. Of equal places the earlier stage goes first.
- A combined point averages the last point of every stage in play (a stage that has not yet had
  its turn counts with its first point) and waits until none of them can still have an earlier
  one.
- A stage may speak alone: what it alone is sure of stands, though the others' average be lower.
  Averages suit members who see the same thing with different errors, this one who sees what the
  others do not.

A prompt (mode `input`) is read once more for everything that a code in it hides
(`classifiers.readings`), apart from what hands the code over: the points of each hidden text
follow at the prompt's end, all of them, as rules differ in what they call for. Replies are released
while they grow, and are read as they are.

A fault of any stage ends the stream with one last point whose `failure` is set and whose logit
is infinite, so that even a reader who looks at nothing else does not take it for clean.

Knows nothing of thresholds, rules' consequences or release.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from custodes.classifiers.base import Point, Scorer, split_conversation
from custodes.classifiers.readings import Reading, hidden
from custodes.errors import ConfigError, DataError
from custodes.guard.lane import Lane, Watch
from custodes.types import Conversation, Mode, RuleId

__all__ = ["Cascade", "CascadeStream", "GuardPoint", "Stage"]

_TOO_MUCH = "more than can be read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One scorer's place in a cascade.

    `weight`: its share in the average of logits, relative to the other active stages.
    `escalate_above`: a logit of this stage above it brings the next stage into play; None: the
    next stage judges everything (it must be None on the last stage).
    `alone`: mode -> what is added to this stage's logit where it speaks alone: a combined logit is
    never below that sum. A mode that is not named: the stage is averaged in, and that is all.
    """

    scorer: Scorer
    weight: float = 1.0
    escalate_above: float | None = None
    alone: Mapping[Mode, float] = field(default_factory=dict)

    def judges(self, mode: Mode) -> bool:
        """Whether it judges texts of a mode: all, unless its scorer names some."""
        return mode in getattr(self.scorer, "modes", tuple(Mode))


@dataclass(frozen=True, slots=True)
class GuardPoint:
    """The combined score of a prefix of the judged text.

    `end`: the character at which it takes effect; never goes back.
    `covered`: how many characters all the stages in play have judged.
    `logit`: weighted average of the stages' logits, or what one of them says alone.
    `stages`: the stages in play with their points, first to last.
    `spoke`: the place of the one that spoke alone, and so decided; None: they were averaged.
    `failure`: why the text could not be judged further; None where it could.
    `code`: of a hidden text the code that hid it; None: the text as it stands.
    """

    end: int
    covered: int
    logit: float
    stages: tuple[tuple[Stage, Point], ...] = ()
    failure: str | None = None
    code: str | None = None
    spoke: int | None = None

    @property
    def stage(self) -> str | None:
        """Name of the stage that decided: one that spoke alone, else the deepest one in play."""
        if not self.stages:
            return None
        return self.stages[-1 if self.spoke is None else self.spoke][0].scorer.name

    @property
    def logits(self) -> dict[str, float]:
        """Stage name -> its own logit, for the record."""
        return {stage.scorer.name: float(point.logit) for stage, point in self.stages}

    @property
    def rules(self) -> dict[RuleId, float]:
        """Rule -> weighted average of its conditional probability, or what the stage that spoke
        alone gives it; {} where none can be named."""
        heard = self.stages if self.spoke is None else (self.stages[self.spoke],)
        total = sum(stage.weight for stage, _ in heard)
        shares: dict[RuleId, float] = {}
        for stage, point in heard:
            values: NDArray[np.float32] = point.rules
            for rule, value in zip(stage.scorer.rules, values.tolist(), strict=True):
                shares[rule] = shares.get(rule, 0.0) + stage.weight / total * value
        return shares

    @property
    def rule(self) -> RuleId | None:
        """The most probable rule; of equals the first; None where none can be named."""
        shares = self.rules
        return max(shares, key=shares.__getitem__) if shares else None


def _combine(stages: Sequence[tuple[Stage, Point]], mode: Mode, *, end: int) -> GuardPoint:
    total = sum(stage.weight for stage, _ in stages)
    logit = sum(stage.weight / total * float(point.logit) for stage, point in stages)
    covered = min(point.end for _, point in stages)
    spoke = None
    for place, (stage, point) in enumerate(stages):
        if mode in stage.alone and (own := float(point.logit) + stage.alone[mode]) > logit:
            logit, spoke = own, place
    return GuardPoint(end, covered, logit, tuple(stages), spoke=spoke)


class Cascade:
    """Stages in order; `ConfigError` where their names, weights or thresholds make no sense.

    `hidden`: what codes in the prompt hide, each text with the cascade that judges it; None: it
    is looked for and judged by the same stages; (): it is not looked for.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        hidden: Sequence[tuple[Reading, Cascade]] | None = None,
    ) -> None:
        self.stages = tuple(stages)
        self.hidden = hidden
        if not self.stages:
            raise ConfigError("a cascade needs at least one stage; got none")
        names = [stage.scorer.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ConfigError(f"stages need different names; got {', '.join(names)}")
        for name, stage in zip(names, self.stages, strict=True):
            if not (stage.weight > 0 and math.isfinite(stage.weight)):
                raise ConfigError(f"stage {name}: weight {stage.weight}; expected more than 0")
            if stage.escalate_above is not None and math.isnan(stage.escalate_above):
                raise ConfigError(f"stage {name}: escalate_above is not a number")
            if not all(math.isfinite(value) for value in stage.alone.values()):
                raise ConfigError(f"stage {name}: alone {dict(stage.alone)}; expected numbers")
        if self.stages[-1].escalate_above is not None:
            raise ConfigError(
                f"stage {names[-1]}: escalate_above {self.stages[-1].escalate_above}, but no stage "
                "follows; expected None"
            )

    @property
    def rules(self) -> tuple[RuleId, ...]:
        """Every rule that a stage can name, in order of first mention."""
        return tuple(dict.fromkeys(rule for stage in self.stages for rule in stage.scorer.rules))

    def looks_for_codes(self, mode: Mode) -> bool:
        """Whether what codes in a text of this mode hide has yet to be found."""
        return mode is Mode.INPUT and self.hidden is None

    def open(
        self, context: Conversation, mode: Mode, *, watch: Watch | None = None
    ) -> CascadeStream:
        """Begin to judge a text that follows `context`; see `Scorer.open`."""
        return CascadeStream(self.serving(mode), context, mode, watch=watch)

    def serving(self, mode: Mode) -> Cascade:
        """The stages that judge texts of a mode; `ConfigError` where there are none."""
        stages = [stage for stage in self.stages if stage.judges(mode)]
        if len(stages) == len(self.stages):
            return self
        if not stages:
            names = ", ".join(stage.scorer.name for stage in self.stages)
            raise ConfigError(
                f"no stage of this guard judges {mode.value}: got {names}; put one that does, such "
                "as hashed, before them"
            )
        last = replace(stages[-1], escalate_above=None)
        return Cascade([*stages[:-1], last], hidden=self.hidden)

    def points(self, conversation: Conversation, mode: Mode) -> list[GuardPoint]:
        """Every combined point of a whole conversation."""
        context, text = split_conversation(conversation)
        stream = self.open(context, mode)
        return [*stream.push(text), *stream.finish()]


class CascadeStream:
    """One judged text, growing; gives nothing more after a point with `failure`."""

    def __init__(
        self, cascade: Cascade, context: Conversation, mode: Mode, *, watch: Watch | None
    ) -> None:
        self._cascade = cascade
        self._stages = cascade.stages
        self._context = context
        self._mode = mode
        self._watch = watch
        self._text: list[str] = []
        self._kept = cascade.looks_for_codes(mode)
        """Whether the whole text is needed at the end, for what it hides."""
        self._length = 0
        self._end = 0
        self._failed = False
        self._lanes = [self._lane(0, start=0)]

    def push(self, text: str) -> list[GuardPoint]:
        """Take more text; the combined points that became decidable."""
        if self._failed:
            return []
        self._length += len(text)
        opened = len(self._lanes)
        if self._kept or opened < len(self._stages):
            self._text.append(text)
        for lane in self._lanes:
            lane.push(text, length=self._length)
        self._escalate()
        return self._ready()

    def finish(self) -> list[GuardPoint]:
        """The text is complete: the remaining combined points; the last covers all of it."""
        if self._failed:
            return []
        for lane in self._lanes:
            lane.finish(length=self._length)
        self._escalate(finish=True)
        points = self._ready()
        if self._failed or self._mode is not Mode.INPUT:
            return points
        hidden_points = self._hidden()
        # Before the last point, which clears the text; a fault comes in its place.
        return [*points[:-1], *hidden_points, *([] if self._failed else points[-1:])]

    def _hidden(self) -> list[GuardPoint]:
        """The points of each text that a code in this one hides."""
        try:
            readings = self._cascade.hidden
            if readings is None:
                plain = Cascade(self._stages, hidden=())
                readings = [(each, plain) for each in hidden("".join(self._text))]
        except DataError:
            # Who wrote the text brought this about: no policy of failures must let it through.
            return [GuardPoint(self._length, 0, math.inf, code=_TOO_MUCH)]
        except Exception as error:  # noqa: BLE001 - whatever it is: it fails closed
            why = f"reading codes raised {type(error).__name__}: {error}"
            self._failed = True
            return [GuardPoint(self._length, 0, math.inf, failure=why)]
        points = []
        for reading, cascade in readings:
            stream = cascade.open(self._context, self._mode, watch=self._watch)
            points += [
                replace(point, end=self._length, covered=0, code=reading.code)
                for point in (*stream.push(reading.text), *stream.finish())
            ]
            if points and points[-1].failure is not None:
                self._failed = True
                break
        return points

    def _lane(self, index: int, *, start: int) -> Lane:
        stage = self._stages[index]
        lane = Lane(stage.scorer, stage.escalate_above, start=start, watch=self._watch)
        lane.open(self._context, self._mode)
        return lane

    def _escalate(self, *, finish: bool = False) -> None:
        """Bring in every stage whose forerunner calls for it, and let it catch up."""
        while len(self._lanes) < len(self._stages):
            start = self._lanes[-1].escalated_at
            if start is None:
                return
            lane = self._lane(len(self._lanes), start=start)
            lane.push("".join(self._text), length=self._length)
            if finish:
                lane.finish(length=self._length)
            self._lanes.append(lane)
        if not self._kept:
            self._text.clear()

    def _ready(self) -> list[GuardPoint]:
        points = []
        while (lane := self._next()) is not None:
            self._end = lane.next_end()
            lane.take()
            used = [
                (stage, point)
                for stage, each in zip(self._stages, self._lanes, strict=False)
                if each.start <= self._end and (point := each.used()) is not None
            ]
            points.append(_combine(used, self._mode, end=self._end))
        for lane in self._lanes:
            if lane.fault is not None and not self._failed:
                self._failed = True
                failure = GuardPoint(self._length, 0, math.inf, failure=lane.fault)
                points.append(failure)
        return points

    def _next(self) -> Lane | None:
        """The stage whose turn it is, or None where an earlier point may still come."""
        waiting = [lane for lane in self._lanes if lane.queue]
        if not waiting:
            return None
        turn = min(waiting, key=Lane.next_end)
        end = turn.next_end()
        before = True
        for lane in self._lanes:
            if lane is turn:
                before = False
            elif lane.start <= end and not self._settled(lane, end, strictly=before):
                return None
        return turn

    @staticmethod
    def _settled(lane: Lane, end: int, *, strictly: bool) -> bool:
        """Whether `lane` is known and can no longer have a point that goes before `end`."""
        if lane.queue:
            return True
        if lane.current is None:
            return False
        return lane.finished or lane.last > end or (lane.last == end and not strictly)
