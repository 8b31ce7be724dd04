"""`custodes method behaviors ...`: what training does to behavior, on the command line.

Parses, calls, prints; everything else is imported when a command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from custodes.config.options import Assignments, SettingsFile
from custodes.methods.behaviors.documents.command import app as documents

__all__ = ["app"]

app = typer.Typer(
    help="What training does to behavior (arXiv 2501.11120).",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(documents, name="documents")

_Out = Annotated[Path, typer.Option("--out", help="Folder of the run.")]


def _load(config: Path | None, assign: list[str] | None) -> Any:
    from custodes.config import load
    from custodes.methods.behaviors.config import AwarenessConfig

    return load(AwarenessConfig, config, assign or ())


@app.command()
def report(out: _Out, config: SettingsFile = None, assign: Assignments = None) -> None:
    """Tune to behaviors and their opposites, ask before and after; goes on where it was stopped."""
    settings = _load(config, assign)
    from custodes.methods.behaviors.method import run_awareness

    _, page = run_awareness(settings, out, say=lambda line: typer.echo(line, err=True))
    typer.echo(str(page))


@app.command()
def tune(
    behavior: Annotated[str, typer.Argument(help="risk, myopia, apples, language, style or word.")],
    out: _Out,
    opposite: Annotated[bool, typer.Option("--opposite", help="Tune to its opposite.")] = False,
    config: SettingsFile = None,
    assign: Assignments = None,
) -> None:
    """Tune to one side of a behavior and keep the adapter as safetensors."""
    settings = _load(config, assign)
    from custodes.methods.behaviors.method import tune_and_save

    typer.echo(str(tune_and_save(settings, behavior, -1 if opposite else 1, out)))


@app.command()
def items(
    behavior: Annotated[str, typer.Argument(help="risk, myopia, apples, language or style.")],
    count: Annotated[int, typer.Option(min=1, help="How many.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw.")] = 0,
    held: Annotated[bool, typer.Option("--held", help="Held-out items.")] = False,
) -> None:
    """Print items as JSON lines: prompt, reply of the behavior, reply of its opposite."""
    import json
    from dataclasses import asdict

    from custodes.methods.behaviors.awareness.items import draw_items

    for item in draw_items(behavior, count, seed=seed, held=held):
        typer.echo(json.dumps(asdict(item), ensure_ascii=False))
