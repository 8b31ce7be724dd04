"""Where the database is, and connections to it that do not lose what they committed.

SQLite: write-ahead log, every commit synced to disk, an open file that was moved or replaced is
noticed. PostgreSQL: psycopg 3, synchronous commits, limited waits. Knows no table.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DisconnectionError,
    SQLAlchemyError,
)

from custodes.errors import ConfigError, MissingExtraError, StoreUnavailableError

__all__ = ["connect", "default_database", "opened", "reading", "snapshot", "writing"]

_FORMS = "sqlite:////absolute/path.db or postgresql://user@host/name"


def default_database(environment: Mapping[str, str]) -> str:
    """CUSTODES_DATABASE, else SQLite in the user's data folder (XDG_DATA_HOME)."""
    if url := environment.get("CUSTODES_DATABASE"):
        return url
    home = environment.get("HOME") or str(Path.home())
    data = Path(environment.get("XDG_DATA_HOME") or Path(home) / ".local" / "share")
    return f"sqlite:///{data / 'custodes' / 'custodes.db'}"


def connect(database: str, *, timeout: float = 5.0, create: bool = True) -> Engine:
    """An engine for the URL; connections are opened on use.

    `timeout`: seconds to wait for a lock or a connection. `create`: make the SQLite file, readable
    by its owner only, where there is none; else a `ConfigError`.
    """
    try:
        url = make_url(database)
    except ArgumentError as error:
        shown = re.sub(r":[^:@]*@", ":***@", database)
        raise ConfigError(f"database: got {shown!r}, expected {_FORMS}") from error
    backend = url.get_backend_name()
    if backend == "sqlite":
        return _sqlite(url, timeout, create=create)
    if backend in {"postgresql", "postgres"}:
        return _postgresql(url, timeout)
    raise ConfigError(
        f"database: got {url.render_as_string(hide_password=True)!r}, expected {_FORMS}"
    )


@contextmanager
def opened(database: str, *, create: bool) -> Iterator[Engine]:
    """`connect` for the length of one command; its connections are closed at the end."""
    engine = connect(database, create=create)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that holds SQLite's write lock from its start; commits at the end.

    `StoreUnavailableError` where the database is locked, gone, full or refuses.
    """
    with _refusals(engine), engine.execution_options(custodes_begin="BEGIN IMMEDIATE").begin() as c:
        yield c


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection to read from; `StoreUnavailableError` as above."""
    with _refusals(engine), engine.connect() as connection:
        yield connection


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A connection that sees one moment of the database, whatever others write meanwhile."""
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    with reading(engine) as connection:
        yield connection


@contextmanager
def _refusals(engine: Engine) -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        cause = getattr(error, "orig", None) or error
        place = engine.url.render_as_string(hide_password=True)
        raise StoreUnavailableError(
            f"the database {place} refused: {type(cause).__name__}: {cause}; expected it to be "
            "there, migrated, writable, unlocked and with room on its disk"
        ) from error


def _sqlite(url: URL, timeout: float, *, create: bool) -> Engine:
    if not url.database or url.database == ":memory:" or url.query:
        raise ConfigError(
            f"database: got {str(url)!r}; what is stored must survive a restart: expected {_FORMS}"
        )
    path = Path(url.database).expanduser().absolute()
    if create:
        _touch(path)
    elif not path.exists():
        raise ConfigError(
            f"database: there is no file {path}; give --database or CUSTODES_DATABASE, or make "
            "one by `custodes keys create` or `custodes serve`"
        )

    def opened() -> sqlite3.Connection:
        # mode=rw: a file that vanished must not come back empty.
        return sqlite3.connect(
            f"{path.as_uri()}?mode=rw",
            uri=True,
            timeout=timeout,
            isolation_level=None,
            check_same_thread=False,
        )

    engine = create_engine(URL.create("sqlite", database=str(path)), creator=opened)

    @event.listens_for(engine, "connect")
    def _settle(connection: sqlite3.Connection, record: Any) -> None:
        record.info["file"] = _identity(path)
        _log_ahead(connection, timeout)
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "checkout")
    def _check(connection: sqlite3.Connection, record: Any, proxy: Any) -> None:
        # Writing on into a file that was unlinked or replaced would lose every event.
        if _identity(path) != record.info["file"]:
            raise DisconnectionError(f"{path} was moved or replaced")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        connection.exec_driver_sql(options.get("custodes_begin", "BEGIN"))

    return engine


def _log_ahead(connection: sqlite3.Connection, timeout: float) -> None:
    """Choose the write-ahead log. Where several processes do so on a new file, SQLite refuses all
    but one at once, whatever its timeout: so the waiting is done here."""
    until = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _touch(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise ConfigError(f"database: {path} cannot be made or written: {error}") from error


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _postgresql(url: URL, timeout: float) -> Engine:
    whole = max(1, round(timeout))
    limits = {
        "connect_timeout": whole,
        "tcp_user_timeout": whole * 1000,  # a host that fell silent
    }
    try:
        engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            connect_args={name: limits[name] for name in limits if name not in url.query},
            pool_pre_ping=True,
            pool_timeout=timeout,
        )
    except ModuleNotFoundError as error:
        raise MissingExtraError("psycopg", "postgres") from error

    @event.listens_for(engine, "connect")
    def _settle(connection: Any, record: Any) -> None:
        wait = round(timeout * 1000)
        connection.execute(f"SET lock_timeout = {wait}")
        connection.execute("SET synchronous_commit = on")  # an acknowledged event is on disk
        connection.commit()

    return engine
