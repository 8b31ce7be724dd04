"""What becomes of a case: when it is settled, how it is stored, what is asked of an answer.

Functions of what is stored; no database.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from custodes import store
from custodes.errors import DataError
from custodes.review.cases import Case, case_to_record, read_case
from custodes.review.config import QueueConfig
from custodes.store import StoredCase

__all__ = ["case_in", "case_row", "case_vault", "check_answer", "is_free", "verdict_of"]


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


def check_answer(config: QueueConfig, answer: str) -> None:
    """Refuse an answer that the queue has not."""
    if config.choice(answer) is None:
        names = ", ".join(choice.name for choice in config.choices)
        raise DataError(f"answer: got {answer!r:.80}, expected one of {names}")
