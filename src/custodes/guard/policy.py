"""What is done about a score: thresholds, responses, release.

Knows numbers and rule names; knows nothing of scorers, text or time.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

from pydantic import Field

from custodes.config import Config
from custodes.types import Mode, RuleId, Score

__all__ = ["Policy", "Response", "RulePolicy"]


class Response(StrEnum):
    """What is done when a rule's threshold is reached."""

    BLOCK = "block"
    FLAG = "flag"
    LOG = "log"


class RulePolicy(Config):
    """What differs for one rule."""

    action: Response = Response.BLOCK
    """block: stop; flag: let through and name the rule in `flags`; log: let through, name it."""
    threshold: float | None = Field(default=None, ge=0, le=1)
    """Probability from which the action is taken; None takes the mode's."""


class Policy(Config):
    """What is done about which score."""

    threshold: float = Field(default=0.5, ge=0, le=1)
    """Probability of harm from which action is taken."""
    thresholds: Mapping[Mode, float] = Field(default_factory=dict)
    """Mode (input, output, exchange) -> threshold; a mode not named takes `threshold`."""
    action: Response = Response.BLOCK
    """What is done for a rule not named in `rules`, and where no rule can be named."""
    rules: Mapping[RuleId, RulePolicy] = Field(default_factory=dict)
    """Rule -> what differs for it."""
    on_failure: Literal[Response.BLOCK, Response.FLAG] = Response.BLOCK
    """When a scorer fails. block: stop (fail closed). flag: let the text through unjudged."""
    release: Literal["checked", "immediate"] = "checked"
    """checked: a character leaves once a clean point covers it. immediate: every piece leaves
    at once and a stop comes late, after harm may have left; for shadow use only."""
    hold_back: int = Field(default=0, ge=0)
    """Characters kept back behind the last clean point until the text is complete. 0 releases
    all that is judged clean; a window of some 50 lets a score that rises late still catch the
    beginning of what raised it, at the price of as much delay."""
    deadline: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Seconds a scorer may take for each point it returns; None sets no limit. Measured when
    the call is over: whoever runs the session ends a call that never returns (`Session.fail`)."""

    def threshold_of(self, rule: RuleId | None, mode: Mode) -> float:
        """The probability from which `rule` is acted on."""
        own = self._own(rule)
        if own is None or own.threshold is None:
            return self.thresholds.get(mode, self.threshold)
        return own.threshold

    def response(self, score: Score, rule: RuleId | None, mode: Mode) -> Response | None:
        """What a score whose most probable rule is `rule` calls for; None: nothing."""
        if score < self.threshold_of(rule, mode):
            return None
        own = self._own(rule)
        return self.action if own is None else own.action

    def floor(self, mode: Mode) -> float:
        """The least threshold of any rule: below it nothing is ever done."""
        return min(self.threshold_of(rule, mode) for rule in (None, *self.rules))

    def _own(self, rule: RuleId | None) -> RulePolicy | None:
        return None if rule is None else self.rules.get(rule)
