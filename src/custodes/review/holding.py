"""Cases in raters' hands: chosen, claimed, held for as long again, all within a transaction.

The arm of a rating is chosen here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from custodes import store
from custodes.errors import DataError
from custodes.review.arms import Arm, choose_arm
from custodes.review.cases import Case
from custodes.review.config import QueueConfig
from custodes.review.lookup import Lookup
from custodes.review.settling import case_in
from custodes.store import RATING, StoredCase, StoredJudgment

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Claim", "Hands", "locked"]

_RECENT = 120
_SLACK = 0.02
"""Share of a claim's time that passes before it is worth a write to renew it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A case in a rater's hands. `revealed`: whether the help of the arm may be shown now."""

    stored: StoredCase
    case: Case
    judgment: StoredJudgment
    config: QueueConfig

    @property
    def arm(self) -> Arm:
        """The assistance arm."""
        return Arm(self.judgment.arm)

    @property
    def revealed(self) -> bool:
        """Blind queues show help after a first answer only."""
        return not self.blind or self.judgment.revealed is not None

    @property
    def blind(self) -> bool:
        """Whether a first answer is asked for before the help is shown."""
        return self.config.blind and bool(self.arm.shows) and self.judgment.part == RATING


class Hands(Lookup):
    """What a desk does with claims; every method is given the connection of its transaction."""

    def _choose(
        self, connection: Connection, queue: str, rater: str, config: QueueConfig
    ) -> int | None:
        skills = store.skills_of(connection, rater)
        kinds = ["case"]
        if config.checks > 0:
            every = max(2, round(1 / config.checks))
            recent = store.recent_of(connection, queue, rater, every - 1)
            due = len(recent) == every - 1 and all(kind == "case" for _, kind in recent)
            kinds = ["gold", "case"] if due else ["case", "gold"]
        for kind in kinds:
            id_ = store.next_case(connection, queue=queue, rater=rater, kind=kind, skills=skills)
            if id_ is not None:
                return id_
        return None

    def _take(self, connection: Connection, id_: int, rater: str, config: QueueConfig) -> None:
        case = store.lock_case(connection, id_)
        arm = config.arms[0]
        if len(config.arms) > 1:
            recent = store.recent_of(connection, case.queue, rater, _RECENT)
            arm = choose_arm(
                config.arms,
                of_rater=[before for before, _ in recent],
                on_case=store.arms_on(connection, id_),
                seed=config.seed,
                unit=f"{rater} {case.ref}",
            )
        now = self._now()
        until = now + config.claim_seconds
        store.claim_case(connection, case, part=RATING, rater=rater, arm=arm, now=now, until=until)
        store.note_action(connection, case, rater, "claimed", {"arm": arm}, now=now)

    def _keep(self, connection: Connection, queue: str, rater: str, config: QueueConfig) -> None:
        """Let the rater hold what they hold for as long again."""
        now, length = self._now(), config.claim_seconds
        store.keep_claims(
            connection, queue, rater, until=now + length, enough=now + length * (1 - _SLACK)
        )

    def _held(
        self, connection: Connection, case: StoredCase, rater: str, config: QueueConfig
    ) -> Claim:
        """The rater's claim of a locked case; `DataError` where it is not held now."""
        claim = self._claim(connection, case.id, RATING, rater, config)
        if claim.judgment.state == "left":
            raise DataError(
                f"case {case.id}: your time with it ran out, or you gave it back; open it again"
            )
        if claim.judgment.state != "held":
            raise DataError(f"case {case.id}: you judged it; take your answer back to change it")
        return claim

    def _claim(
        self, connection: Connection, id_: int, part: str, rater: str, config: QueueConfig
    ) -> Claim:
        stored = store.case_of(connection, id_, cipher=self._cipher)
        judgment = store.judgment_of(connection, id_, part, rater)
        if stored is None or judgment is None:
            raise DataError(f"case {id_} is not yours; take the next one from the queue")
        return Claim(stored=stored, case=case_in(stored), judgment=judgment, config=config)


def locked(connection: Connection, queue: str, id_: int) -> StoredCase:
    """The case, which nobody else can change before the transaction ends."""
    case = store.lock_case(connection, id_)
    if case.queue != queue:
        raise DataError(f"case {id_} is not in the queue {queue}")
    return case
