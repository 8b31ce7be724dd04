"""The desk: what raters and whoever leads them can do with queues, each act one transaction.

A case is claimed for a while, judged once by each of its raters, and settled; what they disagree
about is ruled on. Nothing is lost when a browser or a process dies: a claim runs out, a draft
stays, an answer that was acknowledged is on disk. Knows no HTTP and no SQL.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from custodes import store
from custodes.errors import ConfigError, DataError
from custodes.review.arms import Arm
from custodes.review.cases import Case
from custodes.review.config import QueueConfig
from custodes.review.evidence import with_evidence
from custodes.review.holding import Claim, Hands, locked
from custodes.review.lookup import LAST, Progress, config_in
from custodes.review.notes import open_notes, seal_note
from custodes.review.sampling import rank_cases
from custodes.review.settling import (
    case_row,
    check_answer,
    check_known,
    is_free,
    may_change,
    takes_back,
    verdict_of,
)
from custodes.store import RATING, RULING, StoredCase, StoredJudgment

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["LAST", "RULES_CONFLICTS", "Claim", "Desk", "Progress"]

_log = logging.getLogger(__name__)

RULES_CONFLICTS = "adjudicate"
"""The skill of a reviewer who may settle conflicts."""


class Desk(Hands):
    """See the module; made as a `Lookup`, whose `cipher` here also encrypts."""

    # Queues

    def put(self, queue: str, config: QueueConfig) -> None:
        """Make a queue or change its settings; what was judged stays as it is.

        Other `raters` count for the cases that are open, and what was set aside because no key
        opened it waits again. `ConfigError` for an answer that is gone
        though it was given or is known of a check, and for other arms once there are ratings.
        """
        if not queue or not queue.replace("-", "").replace("_", "").isalnum() or len(queue) > 60:
            raise ConfigError(
                f"queue: got the name {queue!r}, expected letters, digits, - and _, at most 60"
            )
        with self.writing() as connection:
            if store.queue_settings(connection, queue) is not None:
                may_change(connection, queue, config_in(connection, queue), config)
            store.put_queue(connection, queue, config.model_dump_json(), now=self._now())
            for id_ in store.need_raters(connection, queue, config.raters):
                self._decide(connection, store.lock_case(connection, id_), config)

    def add(self, queue: str, cases: Sequence[Case], *, origin: str = "import") -> int:
        """Put cases in a queue in the order of its sampling; returns how many were new.

        Quotes are chosen now, for cases that bring none, so that no page waits for it.
        """
        while True:
            config = self.config(queue)
            check_known(cases, queue, config)
            ranks = rank_cases(cases, config.sampling, seed=config.seed)
            rows = [
                case_row(with_evidence(case), config, rank=rank, origin=origin)
                for case, rank in zip(cases, ranks, strict=True)
            ]
            with self.writing() as connection:
                # Rows take long to make, and settings may change meanwhile: then they are stale.
                if config_in(connection, queue) == config:
                    return store.add_cases(
                        connection, queue, rows, now=self._now(), cipher=self._cipher
                    )

    def set_skills(self, rater: str, skills: Sequence[str]) -> None:
        """What a rater can judge besides what anybody can; a rater whom no key of this database
        names is logged, since it may be a slip."""
        with self.writing() as connection:
            store.set_skills(connection, rater, skills)
            known = store.named_key(connection, rater) is not None
        if not known:
            _log.warning(
                "no key of this database has the id %r: the skills count only if the gateway's "
                "settings name such a key (`keys:`); `custodes keys list` shows the ids",
                rater,
            )

    # Judging

    def next(self, queue: str, rater: str, *, after: int | None = None) -> Claim | None:
        """The case that the rater holds longest, else a new claim; None where nothing waits.

        `after`: pass over this one, to have the next one ready while it is judged. Whatever the
        rater holds is held for as long again, here and with every other act. What no key opens is
        set aside.
        """
        more = True
        while more:
            with self.writing() as connection:
                claim, more = self._next(connection, queue, rater, after=after)
        return claim

    def open(self, queue: str, rater: str, id_: int) -> Claim | None:
        """A certain case, claimed if it may be; None where it is not this rater's to judge."""
        with self.writing() as connection:
            config = config_in(connection, queue)
            case = locked(connection, queue, id_)
            found = store.judgment_of(connection, id_, RATING, rater)
            if found is None or found.state == "left":
                skilled = case.skill in ("", *store.skills_of(connection, rater))
                if not skilled or not is_free(case):
                    return None
                self._take(connection, id_, rater, config)
            self._keep(connection, queue, rater, config)
            return self._claim(connection, id_, RATING, rater, config)

    def show(self, claim: Claim) -> None:
        """Note when a case first came before its rater's eyes: from then its time counts."""
        if claim.judgment.shown is None:
            with self.writing() as connection:
                store.lock_case(connection, claim.stored.id)
                judgment = claim.judgment
                store.touch(
                    connection, judgment.case_id, judgment.part, judgment.rater, shown=self._now()
                )

    def shown(self, queue: str, rater: str, id_: int) -> None:
        """The same for a case that was fetched ahead, where the rater still holds it."""
        with self.writing() as connection:
            locked(connection, queue, id_)
            found = store.judgment_of(connection, id_, RATING, rater)
            if found is not None and found.shown is None:
                store.touch(connection, id_, RATING, rater, shown=self._now())
            self._keep(connection, queue, rater, config_in(connection, queue))

    def draft(self, queue: str, rater: str, id_: int, draft: Mapping[str, Any]) -> None:
        """Keep what is not given yet, and the rater's claims for as long again."""
        with self.writing() as connection:
            config = config_in(connection, queue)
            locked(connection, queue, id_)
            store.touch(connection, id_, RATING, rater, draft=self._draft(draft))
            self._keep(connection, queue, rater, config)

    def first(
        self,
        queue: str,
        rater: str,
        id_: int,
        answer: str,
        *,
        confidence: float | None = None,
        note: str | None = None,
    ) -> Claim:
        """Keep the answer that is given before the help is shown, then let it be shown.

        Confidence and `note` stay in the draft of the last answer, where a note is given.
        `DataError` where the claim ran out: an answer that nobody keeps must not seem kept.
        """
        with self.writing() as connection:
            config = config_in(connection, queue)
            check_answer(config, answer)
            case = locked(connection, queue, id_)
            claim = self._held(connection, case, rater, config)
            if claim.blind and claim.judgment.revealed is None:
                now = self._now()
                first = {"first_answer": answer, "first_confidence": confidence}
                store.touch(connection, id_, RATING, rater, revealed=now, **first)
                if note is not None:
                    draft = self._draft({"confidence": confidence, "note": note})
                    store.touch(connection, id_, RATING, rater, draft=draft)
                store.note_action(
                    connection, case, rater, "revealed", {**first, "arm": claim.arm}, now=now
                )
            self._keep(connection, queue, rater, config)
            return self._claim(connection, id_, RATING, rater, config)

    def submit(
        self,
        queue: str,
        rater: str,
        id_: int,
        answer: str,
        *,
        confidence: float | None = None,
        note: str = "",
    ) -> bool:
        """Give the rating; False where it was given before (a second click changes nothing).

        `DataError` where the claim ran out and others judged the case meanwhile, or where a
        blind queue was not given its first answer.
        """
        with self.writing() as connection:
            config = config_in(connection, queue)
            check_answer(config, answer)
            case = locked(connection, queue, id_)
            claim = self._claim(connection, id_, RATING, rater, config)
            judgment = claim.judgment
            if judgment.state == "given":
                return False
            if judgment.state == "left" and not is_free(case):
                raise DataError("your time with this case ran out and others judged it meanwhile")
            if not claim.revealed:
                raise DataError("this queue asks for a first answer before the help is shown")
            now = self._now()
            # An answer that was taken back had its seconds before; its claim has no beginning.
            began = judgment.shown or judgment.claimed or now
            seconds = (judgment.seconds or 0.0) + max(0.0, now - began)
            kept = seal_note(note or None, self._cipher, at=now)
            told = {"answer": answer, "confidence": confidence, "note": kept}
            store.give(
                connection, case, part=RATING, rater=rater,
                answer={**told, "seconds": seconds}, now=now,
            )  # fmt: skip
            what = "gave" if judgment.given is None else "changed"
            store.note_action(connection, case, rater, what, {**told, "arm": judgment.arm}, now=now)
            self._decide(connection, case, config)
            return True

    def skip(self, queue: str, rater: str, id_: int) -> None:
        """Give a case back unjudged; it goes to others, and to this rater when nothing else is.

        `DataError` where the rater does not hold it.
        """
        with self.writing() as connection:
            case = locked(connection, queue, id_)
            self._held(connection, case, rater, config_in(connection, queue))
            store.leave(connection, case, RATING, rater)
            store.note_action(connection, case, rater, "left", {}, now=self._now())
            store.set_rank(connection, {id_: case.rank + 1})

    def undo(self, queue: str, rater: str, id_: int | None = None) -> int | None:
        """Take back the last answer, or one of the last ten; the case's id, None where none is.

        The case is the rater's again, with the answer as a draft; what it had settled is open.
        `DataError` where others said something else, which lists of cases tell: whoever has seen
        that would only join them.
        """
        with self.writing() as connection:
            config = config_in(connection, queue)
            last = store.given_by(connection, queue, rater, LAST)
            found = next((each for each in last if id_ in (None, each.case.id)), None)
            if found is None:
                if id_ is None:
                    return None
                raise DataError(f"case {id_} is not among your last {LAST} answers")
            case = locked(connection, queue, found.case.id)
            if not takes_back(case):
                raise DataError(
                    f"case {case.id}: others disagree with an answer, so that none can be taken "
                    "back any more"
                    + ("; whoever settles conflicts decides" if case.state == "conflict" else "")
                )
            now = self._now()
            # As if held for ever: it comes before whatever was claimed meanwhile.
            store.take_back(connection, case, rater, now=0.0, until=now + config.claim_seconds)
            store.note_action(connection, case, rater, "undid", {}, now=now)
            self._decide(connection, case, config)
            return case.id

    # Conflicts

    def next_conflict(self, queue: str, rater: str) -> tuple[Claim, list[StoredJudgment]] | None:
        """The oldest conflict that nobody settles, claimed, with all that raters said."""
        with self.writing() as connection:
            config = config_in(connection, queue)
            now = self._now()
            store.sweep(connection, queue, now=now)
            id_ = self._next_conflict(connection, queue, rater)
            if id_ is None:
                return None
            case = store.lock_case(connection, id_)
            store.claim_case(
                connection, case, part=RULING, rater=rater, arm=Arm.CONFIDENCE, now=now,
                until=now + config.claim_seconds,
            )  # fmt: skip
            claim = self._claim(connection, id_, RULING, rater, config)
            said = store.judgments_of(connection, id_)
            return claim, [open_notes(each, self._cipher) for each in said]

    def rule(self, queue: str, rater: str, id_: int, answer: str, *, note: str = "") -> bool:
        """Settle a conflict for good; False where it is settled already. Whoever still judges the
        case need not any more."""
        with self.writing() as connection:
            config = config_in(connection, queue)
            check_answer(config, answer)
            case = locked(connection, queue, id_)
            if case.state != "conflict":
                return False
            judgment = store.judgment_of(connection, id_, RULING, rater)
            if judgment is None:
                raise DataError(f"case {id_} is not yours to rule on; take it from the conflicts")
            now = self._now()
            began = judgment.claimed if judgment.shown is None else judgment.shown
            told = {"answer": answer, "note": seal_note(note or None, self._cipher, at=now)}
            store.give(
                connection, case, part=RULING, rater=rater,
                answer={**told, "seconds": max(0.0, now - began)}, now=now,
            )  # fmt: skip
            store.note_action(connection, case, rater, "ruled", told, now=now)
            for holder in store.holders_of(connection, id_):
                store.leave(connection, case, RATING, holder)
            store.settle(connection, id_, state="done", answer=answer, by="adjudication", now=now)
            return True

    # Within a transaction

    def _draft(self, draft: Mapping[str, Any]) -> dict[str, Any]:
        kept = {**draft}
        if kept.get("note"):
            kept["note"] = seal_note(kept["note"], self._cipher, at=self._now())
        return kept

    def _next_conflict(self, connection: Connection, queue: str, rater: str) -> int | None:
        """The oldest conflict that can be read: one whose key is gone stops no other."""
        id_ = store.next_conflict(connection, queue, rater)
        while id_ is not None:
            case = store.case_of(connection, id_, cipher=self._cipher)
            if case is not None and case.content is not None:
                break
            id_ = store.next_conflict(connection, queue, rater, beyond=id_)
        return id_

    def _decide(self, connection: Connection, case: StoredCase, config: QueueConfig) -> None:
        """Settle a case that has all of its ratings, or open it where one was taken back; what was
        ruled on stays so."""
        if case.kind != "case" or case.settled_by == "adjudication":
            return
        given = [each.answer for each in store.judgments_of(connection, case.id)]
        state, answer, by = verdict_of(given, needed=case.needed, settle=config.settle)
        store.settle(connection, case.id, state=state, answer=answer, by=by, now=self._now())
