"""`custodes keys`: make, revoke and list the gateway's API keys.

The token of a new key goes to stdout, once; everything that is not asked for goes to stderr.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from custodes.cli.database import DatabaseOption

if TYPE_CHECKING:
    from custodes.store import Key

__all__ = ["app"]

app = typer.Typer(
    help="Make, revoke and list API keys.", no_args_is_help=True, rich_markup_mode=None
)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    role: Annotated[
        Literal["client", "reviewer", "admin"], typer.Option(help="What it may do.")
    ] = "client",
    mode: Annotated[
        Literal["enforce", "flag", "shadow"],
        typer.Option(help="What a verdict does to its traffic."),
    ] = "enforce",
    database: DatabaseOption = None,
    as_json: _Json = False,
) -> None:
    """Make a key and print its token, which is stored nowhere and cannot be shown again."""
    from custodes import store

    with store.opened(database or store.default_database(os.environ), create=True) as engine:
        store.migrate(engine)
        with store.writing(engine) as connection:
            key, token = store.create_key(
                connection,
                name,
                role=store.KeyRole(role),
                mode=store.KeyMode(mode),
                now=time.time(),
            )
    if as_json:
        typer.echo(json.dumps({**dataclasses.asdict(key), "token": token}))
        return
    typer.echo(
        f"key {key.id} ({key.role}, {key.mode}): keep this token, it is shown once", err=True
    )
    typer.echo(token)


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="ID", help="As `custodes keys list` shows it.")],
    database: DatabaseOption = None,
) -> None:
    """Revoke a key, for good."""
    from custodes import store

    with store.opened(database or store.default_database(os.environ), create=False) as engine:
        store.require_current(engine)
        with store.writing(engine) as connection:
            revoked = store.revoke_key(connection, key, now=time.time())
    typer.echo(f"key {revoked.id} ({revoked.name}) is revoked since {_day(revoked.revoked)}")


@app.command("list")
def list_all(database: DatabaseOption = None, as_json: _Json = False) -> None:
    """List every key, the revoked too."""
    from custodes import store

    with store.opened(database or store.default_database(os.environ), create=False) as engine:
        store.require_current(engine)
        with store.reading(engine) as connection:
            keys = store.list_keys(connection)
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(key) for key in keys], indent=2))
        return
    console = Console(highlight=False, emoji=False, markup=False)
    if not console.is_terminal:
        console.width = 140  # a pipe has no width: do not cut names short
    console.print(_table(keys))


def _table(keys: list[Key]) -> Table:
    table = Table(box=None)
    table.add_column("id", no_wrap=True, min_width=max(len(key.id) for key in keys) if keys else 2)
    for name in ("name", "role", "mode", "created", "revoked"):
        table.add_column(name, overflow="fold")
    for key in keys:
        table.add_row(key.id, key.name, key.role, key.mode, _day(key.created), _day(key.revoked))
    return table


def _day(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%MZ")
