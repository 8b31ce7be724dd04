"""`custodes evaluate`: a guard against labelled rows, told as a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["evaluate"]


def evaluate(
    out: Annotated[Path, typer.Option("--out", help="Folder of the report.")],
    guard: Annotated[str, typer.Option(help="A guard's folder, or a shipped guard.")] = "default",
    examples: Annotated[
        list[Path] | None,
        typer.Option("--examples", help="A table (.parquet, .jsonl); again for more."),
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--sets", help="A set of the catalogue, by name; again for more."),
    ] = None,
    rows: Annotated[
        int | None, typer.Option(min=1, help="At most so many rows of each table or set.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the choice of rows and of the bootstrap.")] = 0,
    engine: Annotated[str, typer.Option(help="serial, thread, process, or ray.")] = "serial",
) -> None:
    """Measure a guard: ranking, rates at its thresholds, calibration, leak before the stop.

    Prompts are judged as inputs, conversations that end with the assistant as exchanges; each kind
    has its own part of the report, sliced by set, rule and transform.
    """
    import json

    from custodes.cli.assessment import assess, gather, report_of
    from custodes.cli.sources import check_place
    from custodes.config import environment, write_atomically
    from custodes.errors import ConfigError
    from custodes.guard import find_guard, load_guard

    if not examples and not sets:
        raise ConfigError("nothing to evaluate on: give --examples TABLE or --sets NAME")
    check_place(out)
    folder = find_guard(guard)
    loaded = load_guard(folder)
    if not loaded.policy.thresholds:
        typer.echo(
            f"custodes: {guard} is not calibrated: it stops at probability "
            f"{loaded.policy.threshold}; see custodes calibrate",
            err=True,
        )
    tables = gather(examples or [], sets or [], rows=rows, seed=seed)
    judged = assess(folder, tables, engine=engine)
    facts = {
        "guard": f"{guard} ({loaded.artifact})",
        "constitution": str(loaded.edition),
        "sets": ", ".join(tables),
        "commit": str(environment()["commit"]),
    }
    report, values = report_of(judged, loaded, facts=facts, seed=seed)
    page = out / "report.html"
    write_atomically(page, report.html())
    write_atomically(out / "report.json", json.dumps(values, indent=2) + "\n")
    for mode, evaluation in values["modes"].items():
        metrics = evaluation["overall"]["metrics"]
        told = ", ".join(f"{name} {figure['value']:.3f}" for name, figure in metrics.items())
        typer.echo(f"{mode:<9} {evaluation['overall']['rows']} rows: {told}")
    typer.echo(f"report    {page}")
