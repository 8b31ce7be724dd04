"""Bring a database to the tables of this version, step by step (alembic, run by the program).

A change of tables.py needs a file in versions/; never edit one that was released.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, text

from custodes.errors import StoreError
from custodes.store.database import reading, writing

__all__ = ["migrate", "require_current"]

_LOCK = 0x637573746F646573  # "custodes": PostgreSQL's advisory locks have numbers for names


def migrate(engine: Engine) -> None:
    """Bring the database to this version; safe to call by several processes at once.

    `StoreError` where a newer custodes wrote it, `StoreUnavailableError` where it refuses.
    """
    if _is_current(engine):
        return
    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL lock_timeout = 0"))  # the other one may be at work
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        config = _config()
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise StoreError(
                f"the database cannot be brought to this version: {error}; expected one written "
                "by this custodes or an older one: upgrade custodes"
            ) from error


def require_current(engine: Engine) -> None:
    """Refuse a database that is not of this version, with a `StoreError`."""
    if not _is_current(engine):
        raise StoreError(
            "the database is not at this version's tables; `custodes serve`, `custodes keys "
            "create` and whatever else writes (`custodes review queue`, `custodes review add`) "
            "bring an older one up to date"
        )


def _is_current(engine: Engine) -> bool:
    with reading(engine) as connection:
        return _revision(connection) == ScriptDirectory.from_config(_config()).get_current_head()


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config() -> AlembicConfig:
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
