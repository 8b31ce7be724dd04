"""What becomes of a case: when it is settled, how it is stored, what is asked of an answer.

Functions of what is stored, which changes nothing there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from custodes import store
from custodes.errors import ConfigError, DataError
from custodes.review.cases import Case, case_to_record, read_case
from custodes.review.config import QueueConfig
from custodes.store import StoredCase

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = [
    "case_in",
    "case_row",
    "case_vault",
    "check_answer",
    "check_known",
    "is_free",
    "may_change",
    "takes_back",
    "verdict_of",
]


def case_vault(environment: Mapping[str, str]) -> store.Vault | None:
    """What encrypts cases: the keys of CUSTODES_STORE_KEY, where any are set."""
    if not environment.get(store.ENVIRONMENT_KEY, "").strip():
        return None
    return store.Vault.from_environment(environment)


def verdict_of(
    given: Sequence[str | None], *, needed: int, settle: str
) -> tuple[str, str | None, str | None]:
    """(state, answer, settled by) of a case with these ratings."""
    if len(given) < needed:
        return "open", None, None
    (most, votes), *_ = Counter(given).most_common()
    if votes == len(given):
        return "done", most, "agreement"
    if settle == "majority" and 2 * votes > len(given):
        return "done", most, "majority"
    return "conflict", None, None


def case_in(stored: StoredCase) -> Case:
    """The case of a row; `DataError` where no key opens it."""
    if stored.content is None:
        raise DataError(
            f"case {stored.id} is encrypted, and no key in {store.ENVIRONMENT_KEY} opens it"
        )
    return read_case(stored.content, place=f"case {stored.id}")


def case_row(case: Case, config: QueueConfig, *, rank: float, origin: str) -> dict[str, Any]:
    """A new case as its columns."""
    view = case.view
    return {
        "ref": case.ref,
        "kind": "case" if case.gold is None else "gold",
        "origin": origin,
        "skill": case.skill,
        "slice": case.slice,
        "rank": rank,
        "needed": config.raters,
        "title": case.title,
        "content": case_to_record(case),
        "ai_answer": None if view is None else view.answer,
        "ai_confidence": None if view is None else view.confidence,
        "gold": case.gold,
    }


def is_free(case: StoredCase) -> bool:
    """Whether one more rater may judge it."""
    return case.kind == "gold" or (case.state == "open" and case.taken < case.needed)


def takes_back(case: StoredCase) -> bool:
    """Whether its raters may take back what they said: as long as nobody is known to disagree."""
    return case.state != "conflict" and case.settled_by in (None, "agreement")


def may_change(connection: Connection, queue: str, old: QueueConfig, new: QueueConfig) -> None:
    """`ConfigError` where new settings would not fit what is judged already."""
    known = store.answers_in(connection, queue)
    if gone := sorted(known - {choice.name for choice in new.choices}):
        raise ConfigError(
            f"queue {queue}: choices: {', '.join(gone)} is gone though it was given or is a "
            "check's known answer; keep it, or make another queue"
        )
    if old.arms != new.arms and store.is_rated(connection, queue):
        raise ConfigError(
            f"queue {queue}: arms: got {', '.join(new.arms)}, and there are ratings in "
            f"{', '.join(old.arms)}; arms stay once somebody judged: make another queue"
        )


def check_known(cases: Sequence[Case], queue: str, config: QueueConfig) -> None:
    """Refuse known answers that the queue has not, and checks where it asks none."""
    for case in cases:
        if case.gold is not None and config.choice(case.gold) is None:
            raise DataError(
                f"case {case.ref}: got the known answer {case.gold!r}, which is none of the "
                f"queue's: {', '.join(choice.name for choice in config.choices)}"
            )
        if case.gold is not None and config.checks == 0:
            raise DataError(
                f"case {case.ref}: got a known answer, which makes it a check, and {queue} "
                "asks none (checks: 0); set their share (custodes review queue "
                f"{queue} --set checks=0.1; of a study, in its protocol), or leave `gold` out"
            )


def check_answer(config: QueueConfig, answer: str) -> None:
    """Refuse an answer that the queue has not."""
    if config.choice(answer) is None:
        names = ", ".join(choice.name for choice in config.choices)
        raise DataError(f"answer: got {answer!r:.80}, expected one of {names}")
