"""What can be read of queues and cases: settings, progress, lists, a case's whole story.

`queue.Desk` adds what can be done.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from custodes import store
from custodes.errors import DataError
from custodes.review.config import QueueConfig, stored_config
from custodes.review.notes import open_notes
from custodes.store import RATING, RULING, StoredCase, StoredJudgment

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

__all__ = ["LAST", "Lookup", "Progress", "config_in"]

LAST = 10
"""How many of their last answers raters can change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Cases by state; `checks` are not among them."""

    open: int
    conflict: int
    done: int
    checks: int

    @property
    def all(self) -> int:
        """Every case."""
        return self.open + self.conflict + self.done


class Lookup:
    """Reads from a database. `now`: seconds since 1970; `cipher` opens what cases hold."""

    def __init__(
        self,
        engine: Engine,
        *,
        now: Callable[[], float],
        cipher: store.Vault | None = None,
    ) -> None:
        self._engine = engine
        self._now = now
        self._cipher = cipher
        self._warned: set[str] = set()
        # SQLite has one writer at a time, and lets those who come meanwhile sleep by guess.
        one = engine.dialect.name == "sqlite"
        self._turn: AbstractContextManager[object] = threading.Lock() if one else nullcontext()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction."""
        with self._turn, store.writing(self._engine) as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read from."""
        with store.reading(self._engine) as connection:
            yield connection

    def queues(self) -> list[str]:
        """Every queue, oldest first."""
        with self.reading() as connection:
            return store.queue_names(connection)

    def config(self, queue: str) -> QueueConfig:
        """A queue's settings; `DataError` where there is none."""
        with self.reading() as connection:
            return config_in(connection, queue)

    def skills(self, rater: str) -> tuple[str, ...]:
        """A rater's skills."""
        with self.reading() as connection:
            return store.skills_of(connection, rater)

    def progress(self, queue: str) -> Progress:
        """How far a queue is."""
        with self.reading() as connection:
            found = Counter(store.counts(connection, queue))
        return Progress(
            open=found["case", "open"],
            conflict=found["case", "conflict"],
            done=found["case", "done"],
            checks=sum(n for (kind, _), n in found.items() if kind == "gold"),
        )

    def last(self, queue: str, rater: str) -> list[store.Rated]:
        """The rater's last answers, newest first: those that can be changed."""
        with self.reading() as connection:
            return store.given_by(connection, queue, rater, LAST, cipher=self._cipher)

    @property
    def now(self) -> float:
        """The desk's clock."""
        return self._now()

    def listed(self, queue: str, **which: Any) -> store.Listed:
        """A page of cases; see `store.list_cases`."""
        with self.reading() as connection:
            return store.list_cases(connection, queue, cipher=self._cipher, **which)

    def rated(
        self, queue: str, *, limit: int | None = None, part: str = RATING
    ) -> list[store.Rated]:
        """The newest ratings (or rulings) with their cases; all without a limit.

        Of a check the answer is the rater's first: whoever takes it back may have guessed what it
        was. (Refusing to take it back would tell.)
        """
        with self.reading() as connection:
            found = store.rated(connection, queue, limit=limit, part=part, cipher=self._cipher)
            changed = [each for each in found if each.case.kind == "gold" and each.judgment.changes]
            firsts = store.first_answers(connection, queue) if changed else {}
        return [self._counted(each, firsts) for each in found]

    def _counted(self, each: store.Rated, firsts: Mapping[tuple[int, str], str]) -> store.Rated:
        judgment = open_notes(each.judgment, self._cipher)
        first = firsts.get((each.case.id, judgment.rater))
        if first is not None and judgment.part == RATING:
            judgment = replace(judgment, answer=first)
        return store.Rated(judgment, each.case)

    def settled(self, queue: str) -> Iterator[StoredCase]:
        """Every case that is done, newest first, page by page."""
        before: int | None = None
        while True:
            page = self.listed(
                queue, limit=500, room=5_000, before=before, matching={"state": "done"}
            )
            yield from (case for case in page.cases if case.kind == "case")
            if page.older is None:
                return
            before = page.older

    def story(
        self, queue: str, id_: int
    ) -> tuple[
        StoredCase,
        list[StoredJudgment],
        list[StoredJudgment],
        list[tuple[float, str, str, str]],
    ]:
        """A case, its ratings, its rulings, and everything that was done."""
        with self.reading() as connection:
            case = store.case_of(connection, id_, cipher=self._cipher)
            if case is None or case.queue != queue:
                raise DataError(f"there is no case {id_} in the queue {queue}")
            ratings, rulings = (
                [open_notes(each, self._cipher) for each in found]
                for found in (
                    store.judgments_of(connection, id_),
                    store.judgments_of(connection, id_, part=RULING),
                )
            )
            return case, ratings, rulings, store.actions_of(connection, id_)


def config_in(connection: Connection, queue: str) -> QueueConfig:
    """A queue's settings, within a transaction."""
    stored = store.queue_settings(connection, queue)
    if stored is None:
        known = ", ".join(store.queue_names(connection)) or "there is none yet"
        raise DataError(f"queue: got {queue!r}, expected one that `custodes review` made: {known}")
    return stored_config(json.loads(stored), origin=f"queue {queue}")
