"""Judge many whole texts at once, exactly as streams of them would be judged one by one.

Every stage scores its texts in one batch; what it said is then replayed through the very same
cascade that serves streams. A stage that fails in the batch is asked again text by text, so that
only the faulty text fails. Knows nothing of policies.
"""

from __future__ import annotations

from collections.abc import Sequence

from custodes.classifiers.base import Point, Scorer, judged_text
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
    """For each conversation a cascade that already knows what its stages will say of it."""
    cascade = cascade.serving(mode)
    known: list[list[Stage]] = [[] for _ in conversations]
    asked = list(range(len(conversations)))
    for stage in cascade.stages:
        answers = _points(stage.scorer, [conversations[place] for place in asked], mode)
        onward = []
        for place, points in zip(asked, answers, strict=True):
            scorer = stage.scorer if points is None else _Replay(stage.scorer, points)
            known[place].append(
                Stage(scorer=scorer, weight=stage.weight, escalate_above=stage.escalate_above)
            )
            above = stage.escalate_above
            if points is None or above is None or any(p.logit > above for p in points):
                onward.append(place)
        asked = onward
    deeper = [[*stages, *cascade.stages[len(stages) :]] for stages in known]
    return [Cascade(stages) for stages in deeper]


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
