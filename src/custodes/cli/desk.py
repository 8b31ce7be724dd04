"""The desk of a database, for the commands that work at one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from custodes.review.queue import Desk

__all__ = ["DatabaseOption", "desk_at"]

DatabaseOption = Annotated[
    str | None,
    typer.Option(
        help="sqlite:////absolute/path.db or postgresql://... "
        "[default: CUSTODES_DATABASE, else SQLite in the user's data folder]"
    ),
]


@contextmanager
def desk_at(database: str | None, *, create: bool = True) -> Iterator[Desk]:
    """The desk in a database, brought to this version's tables."""
    from custodes import store
    from custodes.review.queue import Desk
    from custodes.review.settling import case_vault

    with store.opened(database or store.default_database(os.environ), create=create) as engine:
        store.migrate(engine)
        yield Desk(engine, now=time.time, cipher=case_vault(os.environ))
