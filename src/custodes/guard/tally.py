"""What a run of points amounts to under a policy: the verdict, for streams and whole texts alike.

Knows points and policy; knows nothing of text, release or time.
"""

from __future__ import annotations

from dataclasses import dataclass

from custodes.classifiers.scorer import Calibration
from custodes.guard.cascade import GuardPoint
from custodes.guard.policy import Policy, Response
from custodes.types import Action, Mode, RuleId, Score, Verdict

__all__ = ["Tally", "Terms"]

_RANK = {None: 0, Response.LOG: 1, Response.FLAG: 2, Response.BLOCK: 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what terms a text is judged.

    `constitution` and `artifact`: the versions that verdicts carry.
    """

    policy: Policy
    mode: Mode
    calibration: Calibration
    constitution: str
    artifact: str


class Tally:
    """Takes points in order; the verdict rests on the point that calls for the most.

    block counts more than flag, flag more than log, log more than nothing; of equal calls the
    greatest logit counts, of equal logits the first.
    """

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._floor = terms.policy.floor(terms.mode)
        self._flags: dict[RuleId, None] = {}
        self._rule: RuleId | None = None
        self._response: Response | None = None
        self._score: Score = 0.0
        self.decisive: GuardPoint | None = None

    def add(self, point: GuardPoint) -> Response | None:
        """Count one point in; what it calls for."""
        terms = self._terms
        score = terms.calibration.probability(point.logit)
        rule = point.rule if score >= self._floor else None
        response = terms.policy.response(score, rule, terms.mode)
        if response is Response.FLAG and rule is not None:
            self._flags[rule] = None
        best = self.decisive
        if best is None or (_RANK[response], point.logit) > (_RANK[self._response], best.logit):
            self.decisive = point
            self._score, self._response = score, response
            self._rule = rule if response is not None else None
        return response

    def verdict(self) -> Verdict:
        """The verdict on the points so far; at least one must have been added."""
        if self.decisive is None:
            raise AssertionError("no point was added")
        blocked = self._response is Response.BLOCK
        return Verdict(
            action=Action.STOP if blocked else Action.RELEASE,
            mode=self._terms.mode,
            score=self._score,
            rule=self._rule,
            flags=tuple(self._flags),
            stage=self.decisive.stage,
            code=self.decisive.code,
            span=(0, self.decisive.end),
            constitution=self._terms.constitution,
            artifact=self._terms.artifact,
        )

    def failure(self, why: str) -> Verdict:
        """The verdict where judging went wrong: what the policy says of failures."""
        blocked = self._terms.policy.on_failure is Response.BLOCK
        return Verdict(
            action=Action.STOP if blocked else Action.RELEASE,
            mode=self._terms.mode,
            score=1.0,
            flags=tuple(self._flags),
            constitution=self._terms.constitution,
            artifact=self._terms.artifact,
            failure=why,
        )

    def conclude(self, points: list[GuardPoint]) -> Verdict:
        """The verdict on a whole text: as a session's, but the worst point of all decides."""
        for point in points:
            if point.failure is not None:
                blocked = self._response is Response.BLOCK
                return self.verdict() if blocked else self.failure(point.failure)
            self.add(point)
        return self.verdict()
