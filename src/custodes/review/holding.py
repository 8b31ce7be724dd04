"""Cases in raters' hands: chosen, claimed, held for as long again, all within a transaction.

The arm of a rating is chosen here and nowhere else.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from custodes import store
from custodes.errors import DataError
from custodes.review.arms import Arm, choose_arm
from custodes.review.cases import Case
from custodes.review.config import QueueConfig
from custodes.review.lookup import Lookup, config_in
from custodes.review.notes import open_notes
from custodes.review.settling import case_in
from custodes.store import RATING, StoredCase, StoredJudgment

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Claim", "Hands", "locked"]

_log = logging.getLogger(__name__)

_RECENT = 120
_AT_ONCE = 100
"""Unreadable cases that one transaction sets aside at most: others wait for it."""
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

    def _next(
        self, connection: Connection, queue: str, rater: str, *, after: int | None
    ) -> tuple[Claim | None, bool]:
        """(what the rater is to judge, whether to ask again: all that was looked at could not be
        read, and there may be more)."""
        config = config_in(connection, queue)
        store.sweep(connection, queue, now=self._now())
        self._keep(connection, queue, rater, config)
        for held in store.held_by(connection, queue, rater, part=RATING):
            if held.case_id != after and self._can_read(connection, held.case_id, rater):
                return self._claim(connection, held.case_id, RATING, rater, config), False
        for _ in range(_AT_ONCE):
            id_ = self._choose(connection, queue, rater, config)
            if id_ is None:
                return None, False
            if self._can_read(connection, id_, rater):
                self._take(connection, id_, rater, config)
                return self._claim(connection, id_, RATING, rater, config), False
        return None, True

    def _can_read(self, connection: Connection, id_: int, rater: str) -> bool:
        """Whether a key opens the case; else it is set aside, so that it stops nobody."""
        found = store.case_of(connection, id_, cipher=self._cipher)
        if found is not None and found.content is not None:
            return True
        case = store.lock_case(connection, id_)
        store.leave(connection, case, RATING, rater)
        store.set_aside(connection, id_)
        store.note_action(connection, case, rater, "unreadable", {}, now=self._now())
        if case.queue not in self._warned:  # there may be thousands
            self._warned.add(case.queue)
            _log.warning(
                "queue %s: case %d, and perhaps others, is set aside: it is encrypted, and no key "
                "in %s opens it; with the key, `custodes review queue %s` brings them back",
                case.queue, id_, store.ENVIRONMENT_KEY, case.queue,
            )  # fmt: skip
        return False

    def _choose(
        self, connection: Connection, queue: str, rater: str, config: QueueConfig
    ) -> int | None:
        skills = store.skills_of(connection, rater)

        def first(kind: str) -> int | None:
            return store.next_case(connection, queue=queue, rater=rater, kind=kind, skills=skills)

        if config.checks == 0:
            return first("case")
        check = None
        number = store.claims_of(connection, queue, rater)
        if _is_drawn(config.checks, f"{config.seed}\0{rater}\0{number}"):
            check = first("gold")
        # A check that was given back comes again, but not at once: that would show what it is.
        if check is not None and not store.left_last(connection, queue, rater, check):
            return check
        case = first("case")
        return case if case is not None else first("gold")

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
        judgment = open_notes(judgment, self._cipher)
        return Claim(stored=stored, case=case_in(stored), judgment=judgment, config=config)


def _is_drawn(share: float, unit: str) -> bool:
    """A lot with that chance of winning, the same for the same unit."""
    drawn = hashlib.sha256(unit.encode(errors="surrogatepass")).digest()
    return int.from_bytes(drawn[:6]) < share * 2**48


def locked(connection: Connection, queue: str, id_: int) -> StoredCase:
    """The case, which nobody else can change before the transaction ends."""
    case = store.lock_case(connection, id_)
    if case.queue != queue:
        raise DataError(f"case {id_} is not in the queue {queue}")
    return case
