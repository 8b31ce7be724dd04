"""`custodes data`: list the public sets, and get them.

Results (the table, the paths) go to stdout, progress to stderr.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn
from rich.table import Table

from custodes.data import DataSet, Places, catalogue, copy, locate, lookup, present

__all__ = ["app"]

app = typer.Typer(
    help="List public data sets, and get them.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("list")
def list_sets(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the catalogue: name, role, rows, licence, whether it may train released weights."""
    places = Places.from_environment()
    found = [(dataset, present(dataset, places)) for dataset in catalogue().values()]
    if as_json:
        records = [_record(dataset, path) for dataset, path in found]
        typer.echo(json.dumps(records, indent=2))
        return
    table = Table("name", "role", "rows", "licence", "releasable", "here?", box=None)
    table.columns[2].justify = "right"
    for dataset, path in found:
        table.add_row(
            dataset.name,
            dataset.role,
            f"{dataset.rows:,}",
            dataset.licence,
            "yes" if dataset.releasable else "no",
            _where(dataset, path),
        )
    console = Console(highlight=False, emoji=False, markup=False)
    if not console.is_terminal:
        console.width = 140  # a pipe has no width: do not cut names short
    console.print(table)


@app.command()
def get(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names in the catalogue.")],
    to: Annotated[
        Path | None,
        typer.Option(help="Copy into this folder, which CUSTODES_DATA_DIR may then name."),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify/--no-verify", help="Refuse files whose SHA-256 is not as listed."),
    ] = True,
) -> None:
    """Find sets or download them, check them, and print where they lie."""
    sets = [lookup(name) for name in names]  # a misspelled name stops before anything is fetched
    places = Places.from_environment()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bars:
        for dataset in sets:
            advance = partial(_advance, bars, bars.add_task(dataset.name, total=None))
            path = locate(dataset, places=places, verify=verify, progress=advance)
            if to is not None:
                path = copy(dataset, path, to)
            typer.echo(str(path))


def _advance(bars: Progress, bar: TaskID, done: int, total: int | None) -> None:
    bars.update(bar, completed=done, total=total)


def _where(dataset: DataSet, path: Path | None) -> str:
    if path is not None:
        return "yes" if path.name == Path(dataset.path).name else "upstream copy"
    return "by hand" if dataset.download is None and dataset.upstream is None else "download"


def _record(dataset: DataSet, path: Path | None) -> dict[str, object]:
    return {**dataset.model_dump(mode="json"), "here": None if path is None else str(path)}
