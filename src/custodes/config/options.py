"""The two options of every command that takes settings: a file, and assignments over it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Assignments", "SettingsFile"]

SettingsFile = Annotated[Path | None, typer.Option("--config", help="YAML file of settings.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", help="NAME=VALUE, more than once; names: custodes settings."),
]
