"""An empty database of each kind."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POSTGRES = os.environ.get("CUSTODES_TEST_POSTGRES", "postgresql://root@127.0.0.1/test")


@contextmanager
def empty(kind: str, work: Path) -> Iterator[str | None]:
    """Its URL; None where there is no PostgreSQL."""
    if kind == "sqlite":
        path = work / "review.db"
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        yield f"sqlite:///{path}"
        return
    import psycopg

    try:
        connection = psycopg.connect(POSTGRES, connect_timeout=5, autocommit=True)
    except psycopg.OperationalError as error:
        print(f"  no PostgreSQL at {POSTGRES}: {error}")
        yield None
        return
    schema = f"custodes_bench_{secrets.token_hex(4)}"
    connection.execute(f"CREATE SCHEMA {schema}")
    try:
        yield f"{POSTGRES}?options=-csearch_path%3D{schema}"
    finally:
        connection.execute(f"DROP SCHEMA {schema} CASCADE")
        connection.close()
