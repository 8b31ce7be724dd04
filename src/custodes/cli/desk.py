"""The desk of a database, for the commands that work at one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from custodes.review.queue import Desk

__all__ = ["desk_at"]


@contextmanager
def desk_at(database: str | None, *, create: bool = True) -> Iterator[Desk]:
    """The desk in a database, brought to this version's tables.

    Without `create`, for commands that only read, a database of an older version is refused: the
    gateway that still runs on it must not find it changed.
    """
    from custodes import store
    from custodes.review.queue import Desk
    from custodes.review.settling import case_vault

    with store.opened(database or store.default_database(os.environ), create=create) as engine:
        if create:
            store.migrate(engine)
        else:
            store.require_current(engine)
        yield Desk(engine, now=time.time, cipher=case_vault(os.environ))
