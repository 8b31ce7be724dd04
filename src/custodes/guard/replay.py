"""Judge many whole texts at once, exactly as streams of them would be judged one by one.

Every stage scores its texts in one batch; what it said is then replayed through the very same
cascade that serves streams. A stage that fails in the batch is asked again text by text, so that
only the faulty text fails. Knows nothing of policies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from custodes.classifiers.base import Point, Scorer, judged_text
from custodes.classifiers.readings import Reading, hidden
from custodes.guard.cascade import Cascade, GuardPoint, Stage
from custodes.guard.lane import faulty
from custodes.types import Conversation, Mode, RuleId

__all__ = ["decisive", "replays"]


def decisive(
    cascade: Cascade, conversations: Sequence[Conversation], mode: Mode
) -> list[GuardPoint]:
    """The decisive point of each conversation: that of greatest logit, of equals the first."""
    return [
        max(replay.points(conversation, mode), key=lambda point: point.logit)
        for conversation, replay in zip(
            conversations, replays(cascade, conversations, mode), strict=True
        )
    ]


def replays(cascade: Cascade, conversations: Sequence[Conversation], mode: Mode) -> list[Cascade]:
    """For each conversation a cascade that already knows what its stages will say of it, and of
    what codes in it hide."""
    cascade = cascade.serving(mode)
    looked_for = cascade.looks_for_codes(mode)
    readings = [_readings(each) if looked_for else [] for each in conversations]
    every = [*conversations]
    for conversation, found in zip(conversations, readings, strict=True):
        every += [_saying(conversation, each.text) for each in found or ()]
    known = iter(_known(cascade, every, mode))
    own = [next(known) for _ in conversations]
    return [
        Cascade(stages, hidden=_judged(found, known))
        for stages, found in zip(own, readings, strict=True)
    ]


def _readings(conversation: Conversation) -> list[Reading] | None:
    """None where they cannot be found: whoever judges the text alone meets the same fault."""
    try:
        return hidden(judged_text(conversation))
    except Exception:  # noqa: BLE001 - as of scorers: one text's fault is not the batch's
        return None


def _judged(
    readings: Sequence[Reading] | None, known: Iterator[Sequence[Stage]]
) -> list[tuple[Reading, Cascade]] | None:
    if readings is None:
        return None
    return [(each, Cascade(next(known), hidden=())) for each in readings]


def _saying(conversation: Conversation, text: str) -> Conversation:
    *context, last = conversation
    return (*context, replace(last, content=text))


def _known(
    cascade: Cascade, conversations: Sequence[Conversation], mode: Mode
) -> list[list[Stage]]:
    """For each conversation the cascade's stages, with what those that read it will say."""
    known: list[list[Stage]] = [[] for _ in conversations]
    asked = list(range(len(conversations)))
    for stage in cascade.stages:
        answers = _points(stage.scorer, [conversations[place] for place in asked], mode)
        onward = []
        for place, points in zip(asked, answers, strict=True):
            scorer = stage.scorer if points is None else _Replay(stage.scorer, points)
            known[place].append(replace(stage, scorer=scorer))
            above = stage.escalate_above
            if points is None or above is None or any(p.logit > above for p in points):
                onward.append(place)
        asked = onward
    return [[*stages, *cascade.stages[len(stages) :]] for stages in known]


def _points(
    scorer: Scorer, conversations: Sequence[Conversation], mode: Mode
) -> Sequence[list[Point] | None]:
    """The scorer's points of each; None where they are missing or cannot be trusted."""
    try:
        every = scorer.points(conversations, mode)
        return [
            points if _sound(points, len(judged_text(conversation)), len(scorer.rules)) else None
            for points, conversation in zip(every, conversations, strict=True)
        ]
    except Exception:  # noqa: BLE001 - a scorer may raise anything: each row is judged alone
        return [None] * len(conversations)


def _sound(points: list[Point], length: int, rules: int) -> bool:
    after = 0
    for point in points:
        if faulty(point, after=after, length=length, rules=rules):
            return False
        after = point.end
    return bool(points) and after == length


class _Replay:
    """A scorer, and a stream of it, that says what was said before."""

    def __init__(self, scorer: Scorer, points: list[Point]) -> None:
        self._scorer = scorer
        self._points = points

    @property
    def name(self) -> str:
        return self._scorer.name

    @property
    def version(self) -> str:
        return self._scorer.version

    @property
    def rules(self) -> tuple[RuleId, ...]:
        return self._scorer.rules

    def open(self, context: Conversation, mode: Mode) -> _Replay:
        return self

    def push(self, text: str) -> list[Point]:
        return []

    def finish(self) -> list[Point]:
        return self._points

    def points(self, conversations: Sequence[Conversation], mode: Mode) -> list[list[Point]]:
        return [self._points for _ in conversations]

    def score(self, conversations: Sequence[Conversation], mode: Mode) -> list[Point]:
        return [max(self._points, key=lambda point: point.logit) for _ in conversations]
