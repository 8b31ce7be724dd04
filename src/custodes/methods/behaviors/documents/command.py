"""`custodes method behaviors documents ...`: write documents, train on them, ask a model.

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
    help="Documents about a behavior, and what training on them does.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_Out = Annotated[Path, typer.Option("--out", help="Folder of the run.")]


@app.command()
def write(
    out: _Out,
    number: Annotated[int, typer.Option(help="Documents an arm.")] = 1000,
    config: SettingsFile = None,
    assign: Assignments = None,
) -> None:
    """Write the documents of every arm as JSONL, and tell how varied they are.

    By the grammar; --set corpus.writing.backend=openai lets a model write.
    """
    from custodes.config import load
    from custodes.methods.behaviors.documents.config import DocumentsConfig
    from custodes.methods.behaviors.documents.reproduce import write_arms

    settings = load(DocumentsConfig, config, assign or ())
    typer.echo(str(write_arms(settings, out, arms=settings.arms, number=number)))


@app.command()
def run(out: _Out, config: SettingsFile = None, assign: Assignments = None) -> None:
    """Arms x seeds x what follows: tune, measure, report; goes on if killed."""
    from custodes.config import load
    from custodes.methods.behaviors.documents.config import DocumentsConfig
    from custodes.methods.behaviors.documents.reproduce import run_documents

    settings = load(DocumentsConfig, config, assign or ())
    typer.echo(str(run_documents(settings, out, say=partial(typer.echo, err=True))))


@app.command()
def ask(config: SettingsFile = None, assign: Assignments = None) -> None:
    """Ask a model that is there, such as one of your own: --set model.model=FOLDER."""
    from custodes.config import load
    from custodes.methods.behaviors.documents.config import DocumentsConfig
    from custodes.methods.behaviors.documents.reproduce import ask_model

    for name, value in ask_model(load(DocumentsConfig, config, assign or ())).items():
        typer.echo(f"{value:10.3f}  {name}")
