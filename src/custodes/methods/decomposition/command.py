"""`custodes method decomposition ...`: parameter decomposition on the command line.

Parses, calls, prints; everything else is imported when a command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from custodes.config.options import Assignments, SettingsFile

__all__ = ["app"]

app = typer.Typer(
    help="Parameter decomposition: APD (arXiv 2501.14926) and SPD (arXiv 2506.20790).",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_Preset = Annotated[str, typer.Argument(help="Where the settings start; see `presets`.")]
_Out = Annotated[Path, typer.Option("--out", help="Folder of the run.")]


@app.command()
def presets() -> None:
    """The papers' settings by name, for apd and spd."""
    from custodes.methods.decomposition.presets import PRESETS

    for (method, name), values in PRESETS.items():
        typer.echo(f"{method} {name}: {values['components']} components, {values['steps']:,} steps")


@app.command()
def apd(
    preset: _Preset, out: _Out, config: SettingsFile = None, assign: Assignments = None
) -> None:
    """Attribution-based: few simple components are active at a time; goes on if killed."""
    _run("apd", preset, out, config, assign)


@app.command()
def spd(
    preset: _Preset, out: _Out, config: SettingsFile = None, assign: Assignments = None
) -> None:
    """Stochastic: subcomponents that may be left out at random; goes on if killed."""
    _run("spd", preset, out, config, assign)


def _run(method: Any, preset: str, out: Path, config: Path | None, assign: Any) -> None:
    from custodes.methods.decomposition.presets import preset_config

    settings = preset_config(method, preset, config, assign or ())
    from custodes.methods.decomposition.method import decompose

    result = decompose(method, settings, out, say=lambda line: typer.echo(line, err=True))
    for name, values in result.judgment.figures.items():
        shown = "  ".join(f"{value:.4g}" for value in values)
        typer.echo(f"{name:<36} {shown}")
    typer.echo(str(result.page))


@app.command()
def sweep(
    method: Annotated[str, typer.Argument(help="apd or spd.")],
    config: Annotated[Path, typer.Argument(help="YAML file: preset, settings, vary, engine.")],
    out: _Out,
    assign: Assignments = None,
) -> None:
    """Many runs with settings varied, here or on Ray; each keeps its own folder and report."""
    from custodes.config import load
    from custodes.errors import ConfigError
    from custodes.methods.decomposition.config import SweepConfig

    if method not in ("apd", "spd"):
        raise ConfigError(f"method: got {method!r}, expected apd or spd")
    settings = load(SweepConfig, config, assign or ())
    from custodes.methods.decomposition.sweep import run_sweep

    typer.echo(
        str(run_sweep(method, settings, out, say=lambda line: typer.echo(line, err=True)))  # type: ignore[arg-type]
    )
