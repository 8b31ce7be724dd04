"""`custodes audit`: verify the chain of events, take checkpoints of it, read it.

Results go to stdout. `verify` leaves with status 1 where it finds a fault.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from custodes.cli.database import DatabaseOption

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from custodes.store import StoredEvent, Vault

__all__ = ["app"]

app = typer.Typer(
    help="Verify and read the record of verdicts.", no_args_is_help=True, rich_markup_mode=None
)

_Text = Annotated[
    bool, typer.Option("--text", help="Decrypt what was judged, with CUSTODES_STORE_KEY.")
]


@app.command()
def verify(
    since: Annotated[
        str | None,
        typer.Option(
            metavar="CHECKPOINT", help="Verify only what came after this checkpoint, and itself."
        ),
    ] = None,
    database: DatabaseOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Recompute the hash chain; name the first row that was altered, removed or moved."""
    from custodes import store

    start = None if since is None else store.Checkpoint.parse(since)
    with _snapshot(database) as connection:
        found = store.verify(connection, start)
    if as_json:
        typer.echo(json.dumps({"ok": found.ok, **dataclasses.asdict(found)}))
    elif found.ok:
        typer.echo(f"ok: {found.rows:,} events verified; the chain ends at {found.last}")
    else:
        typer.echo(
            f"{found.kind} at event {found.first_bad}: {found.rows:,} events before it verified, "
            f"up to {found.last}"
        )
    raise typer.Exit(0 if found.ok else 1)


@app.command()
def checkpoint(database: DatabaseOption = None) -> None:
    """Print the end of the chain as SEQ:HASH; keep it where the database's owner cannot reach."""
    from custodes import store

    with _snapshot(database) as connection:
        typer.echo(str(store.checkpoint(connection)))


@app.command()
def tail(
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many.")] = 10,
    action: Annotated[str | None, typer.Option(help="Only this action, such as stop.")] = None,
    rule: Annotated[str | None, typer.Option(help="Only this rule of the constitution.")] = None,
    text: _Text = False,
    database: DatabaseOption = None,
) -> None:
    """Print the last events as JSON lines, oldest first."""
    from custodes import store

    vault = _vault(text)
    given = {"action": action, "rule": rule}
    matching = {name: value for name, value in given.items() if value is not None}
    with _snapshot(database) as connection:
        found = store.latest(connection, count, matching=matching, cipher=vault)
    if matching and not found:
        told = ", ".join(f"--{name} {value}" for name, value in matching.items())
        typer.echo(f"custodes: no event fits {told}", err=True)
    for stored in reversed(found):
        typer.echo(_line(stored))


@app.command()
def export(
    to: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A new file; stdout where not given.")
    ] = None,
    after: Annotated[int, typer.Option(metavar="SEQ", min=0, help="Only events after this.")] = 0,
    text: _Text = False,
    database: DatabaseOption = None,
) -> None:
    """Write every event as JSON lines, oldest first."""
    from custodes import store
    from custodes.data.atomic import replacing
    from custodes.errors import DataError

    vault = _vault(text)
    with _snapshot(database) as connection:
        lines = (_line(stored) for stored in store.stream(connection, after=after, cipher=vault))
        if to is None:
            for line in lines:
                typer.echo(line)
            return
        if to.exists():
            raise DataError(f"{to}: cannot be written: it exists; give a new file")
        with replacing(to) as part, part.open("w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)


@contextmanager
def _snapshot(database: str | None) -> Iterator[Connection]:
    from custodes import store

    with store.opened(database or store.default_database(os.environ), create=False) as engine:
        store.require_current(engine)
        with store.snapshot(engine) as connection:
            yield connection


def _vault(wanted: bool) -> Vault | None:
    from custodes import store

    return store.Vault.from_environment(os.environ) if wanted else None


def _line(stored: StoredEvent) -> str:
    event = dataclasses.asdict(stored.event)
    return json.dumps({"seq": stored.seq, "hash": stored.hash, "sealed": stored.sealed, **event})
