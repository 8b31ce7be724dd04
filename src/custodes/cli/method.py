"""`custodes method NAME ...`: the published methods, each with its own commands."""

from __future__ import annotations

import typer

from custodes.methods import METHODS

__all__ = ["app"]

app = typer.Typer(help="Published methods.", no_args_is_help=True, rich_markup_mode=None)
for _name in METHODS.names():
    app.add_typer(METHODS.load(_name), name=_name)
