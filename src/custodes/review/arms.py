"""Assistance arms: what of the AI's view a rater sees, and which arm a rater is put in.

The arms of "Human-AI Complementarity: A Goal for Amplified Oversight" (arXiv 2510.26518), from no
help to all of it; `contrast` alone shows quotes for both sides. The server assigns them; a page
shows what its arm lets it and no more. Pure functions; what was assigned before is given.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum

from custodes.errors import ConfigError

__all__ = ["Arm", "Shown", "choose_arm"]


class Arm(StrEnum):
    """How much of the AI's view is shown."""

    NONE = "none"
    EVIDENCE = "evidence"
    CONTRAST = "contrast"
    REASONING = "reasoning"
    JUDGMENT = "judgment"
    CONFIDENCE = "confidence"

    @property
    def shows(self) -> Shown:
        """What a page may show."""
        return _SHOWS[self]


class Shown(frozenset[str]):
    """Names of: quotes, contrast (quotes for both sides), reasoning, judgment, confidence."""


_SHOWS = {
    Arm.NONE: Shown(),
    Arm.EVIDENCE: Shown({"quotes"}),
    Arm.CONTRAST: Shown({"quotes", "contrast"}),
    Arm.REASONING: Shown({"quotes", "reasoning"}),
    Arm.JUDGMENT: Shown({"quotes", "reasoning", "judgment"}),
    Arm.CONFIDENCE: Shown({"quotes", "reasoning", "judgment", "confidence"}),
}


def choose_arm(
    arms: Sequence[Arm],
    *,
    of_rater: Sequence[str],
    on_case: Mapping[str, int],
    seed: int,
    unit: str,
) -> Arm:
    """The arm of a rater's next case.

    Counter-balanced by minimization (Pocock and Simon 1975): among the arms that this rater had
    least often in `of_rater` (recent arms), those that the case had least often; ties fall by a
    hash of `seed` and `unit` (rater and case), which nobody can foresee without the seed. A rater
    therefore goes through the arms in blocks, and a case that several judge is seen in several.
    """
    if not arms:
        raise ConfigError("arms: got none, expected at least one")
    had = Counter(of_rater)

    def order(arm: Arm) -> tuple[int, int, bytes]:
        draw = hashlib.sha256(f"{seed}\0{unit}\0{arm}".encode()).digest()
        return had[arm], on_case.get(arm, 0), draw

    return min(arms, key=order)
