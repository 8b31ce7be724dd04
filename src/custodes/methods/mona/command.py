"""`custodes method mona ...`: MONA on the command line.

Parses, calls, prints; everything else is imported when a command runs.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from custodes.config.options import Assignments, SettingsFile

__all__ = ["app"]

app = typer.Typer(
    help="Myopic optimization with non-myopic approval (arXiv 2501.13011).",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_Out = Annotated[Path, typer.Option("--out", help="Folder of the run.")]


@app.command()
def gridworld(out: _Out, config: SettingsFile = None, assign: Assignments = None) -> None:
    """Camera Dropbox, exactly: all horizons, noise, approval spectrum; --set board.boxes=3."""
    from custodes.config import load
    from custodes.methods.mona.config import GridworldConfig
    from custodes.methods.mona.reproduce import run_gridworld

    typer.echo(str(run_gridworld(load(GridworldConfig, config, assign or ()), out)))


@app.command()
def study(
    environment: Annotated[str, typer.Argument(help="gridworld, loan, loan-language or tdd.")],
    out: _Out,
    config: SettingsFile = None,
    assign: Assignments = None,
) -> None:
    """Train ordinary RL, MONA and MONA without approval from several seeds; goes on if killed."""
    from custodes.config import load
    from custodes.methods.mona.config import StudyConfig
    from custodes.methods.mona.reproduce import run_arms

    settings = load(StudyConfig, config, [f"environment={environment}", *(assign or ())])
    typer.echo(str(run_arms(settings, out, say=partial(typer.echo, err=True))))


@app.command()
def show(
    board: Annotated[
        str, typer.Argument(help="A state: rows of A, B, H and . divided by /; or a start's number")
    ] = "1",
    style: Annotated[str, typer.Option("--as", help="text or svg.")] = "text",
    config: SettingsFile = None,
    assign: Assignments = None,
) -> None:
    """Draw a state of Camera Dropbox, and what each move is worth to MONA and to ordinary RL."""
    from custodes.config import load
    from custodes.methods.mona.config import BoardConfig
    from custodes.methods.mona.reproduce import describe_state

    typer.echo(describe_state(load(BoardConfig, config, assign or ()), board, style))


@app.command("write-tests")
def write_tests(out: _Out, config: SettingsFile = None, assign: Assignments = None) -> None:
    """Test-driven development with a configured model that writes tests and programs itself."""
    from custodes.config import load
    from custodes.methods.mona.config import GenerationConfig
    from custodes.methods.mona.reproduce import run_generation

    typer.echo(str(run_generation(load(GenerationConfig, config, assign or ()), out)))
