"""`custodes method unlearning ...`: removal and relearning on the command line.

Parses, calls, prints; everything else is imported when a command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from custodes.config.options import Assignments, SettingsFile

__all__ = ["app"]

app = typer.Typer(
    help="Unlearning, and what relearning brings back (arXiv 2410.08827, 2501.04952).",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_Out = Annotated[Path, typer.Option("--out", help="Folder of the run.")]


@app.command()
def study(out: _Out, config: SettingsFile = None, assign: Assignments = None) -> None:
    """Implant facts (or take known ones), remove, relearn a part, test the rest; goes on if killed.

    A table of recovery by method, and report.html. --set facts.kind=capitals takes facts from
    pretraining; --set engine=ray runs the cells on a cluster.
    """
    from custodes.config import load
    from custodes.methods.unlearning.config import StudyConfig

    settings = load(StudyConfig, config, assign or ())
    from custodes.methods.unlearning.method import run_study
    from custodes.methods.unlearning.report import TITLES

    found = run_study(settings, out, say=lambda line: typer.echo(line, err=True))
    for one in found.summary.arms:
        typer.echo(f"{TITLES[one.arm]:<28} recovery {one.recovery:.2f}")
    typer.echo(str(found.page))


@app.command()
def facts(
    out: Annotated[Path, typer.Option("--out", help="File to write, a new one.")],
    kind: Annotated[str, typer.Option(help="invented or capitals.")] = "invented",
    seed: Annotated[int, typer.Option(min=0, help="Of the draw.")] = 0,
    forget: Annotated[
        int, typer.Option(min=6, max=100_000, help="invented: how many to forget.")
    ] = 48,
    neighbors: Annotated[
        int, typer.Option(min=6, max=100_000, help="invented: how many that must survive.")
    ] = 32,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write facts as JSONL: to see them, or as a pattern for a file of your own."""
    from custodes.errors import ConfigError
    from custodes.methods.unlearning.capitals import capitals
    from custodes.methods.unlearning.facts import write_facts
    from custodes.methods.unlearning.grammar import invent

    if kind not in ("invented", "capitals"):
        raise ConfigError(f"--kind: got {kind!r}, expected invented or capitals")
    if out.exists() and not force:
        raise ConfigError(f"{out}: is there already; give another name, or --force to replace it")
    made = invent(forget, neighbors, seed=seed) if kind == "invented" else capitals(seed=seed)
    write_facts(out, made)
    typer.echo(f"{out}: {len(made)} facts")
