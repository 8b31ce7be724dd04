"""The option by which commands name the gateway's database."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["DatabaseOption"]

DatabaseOption = Annotated[
    str | None,
    typer.Option(
        help="sqlite:////absolute/path.db or postgresql://... "
        "[default: CUSTODES_DATABASE, else SQLite in the user's data folder]"
    ),
]
