"""`custodes review study`: randomized studies of assistance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from custodes.cli.database import DatabaseOption
from custodes.cli.desk import desk_at
from custodes.config.options import Assignments

__all__ = ["app"]

app = typer.Typer(
    help="Randomized studies of assistance: start, analyze, power, simulate.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_Protocol = Annotated[Path, typer.Argument(metavar="PROTOCOL", help="YAML file of the protocol.")]
_Config = Annotated[
    Path | None, typer.Option("--config", help="YAML file: the simulated population.")
]


@app.command()
def start(protocol: _Protocol, database: DatabaseOption = None) -> None:
    """Make the study's queue and fill it; prints the protocol's hash, to be noted down now.

    No rater ever sees `meta.truth` of an item.
    """
    from custodes.config import load
    from custodes.review.study.protocol import Protocol
    from custodes.review.study.runner import items_sha256, start_study

    settings = load(Protocol, protocol)
    items = items_sha256(settings, base=protocol.parent)
    with desk_at(database) as desk:
        count = start_study(desk, settings, base=protocol.parent)
    typer.echo(f"{count} items in the queue {settings.name}")
    typer.echo(f"items    {items}")
    typer.echo(f"protocol {settings.fingerprint(items)}")


@app.command()
def analyze(
    protocol: _Protocol,
    out: Annotated[Path, typer.Option("--out", help="Folder of the run.")],
    trials: Annotated[
        Path | None, typer.Option(help="JSONL of trials, instead of the queue's ratings.")
    ] = None,
    database: DatabaseOption = None,
) -> None:
    """The pre-registered analysis and the exploratory rest: report.html and report.json."""
    from custodes.config import Run, load
    from custodes.review.study.protocol import Protocol
    from custodes.review.study.report import study_report
    from custodes.review.study.runner import gather, items_sha256
    from custodes.review.trials import read_trials

    settings = load(Protocol, protocol)
    checks: dict[str, float] = {}
    items = ""
    if trials is not None:
        found = read_trials(trials)
    else:
        with desk_at(database, create=False) as desk:
            found, checks = gather(desk, settings, base=protocol.parent)
        items = items_sha256(settings, base=protocol.parent)
    report = study_report(found, settings, checks=checks, items_sha256=items)
    run = Run(out, settings, seed=settings.seed)
    typer.echo(str(run.report(report.values(), report.html())))


@app.command()
def simulate(
    out: Annotated[Path, typer.Option("--out", help="JSONL file of trials.")],
    config: _Config = None,
    assign: Assignments = None,
) -> None:
    """Trials of SIMULATED raters, to try an analysis out; they say nothing about people."""
    from custodes.config import load, write_atomically
    from custodes.review.study.simulated import SimulatedConfig
    from custodes.review.study.simulated import simulate as make

    found = make(load(SimulatedConfig, config, assign or ()))
    write_atomically(out, "".join(json.dumps(trial.to_values()) + "\n" for trial in found))
    typer.echo(f"{len(found)} SIMULATED trials in {out}")


@app.command()
def power(
    protocol: _Protocol,
    config: _Config = None,
    assign: Assignments = None,
    studies: Annotated[int, typer.Option(min=10, help="How many studies are simulated.")] = 100,
) -> None:
    """How often each contrast of a protocol would hold, over SIMULATED studies of its size.

    Items are counted in the protocol's file, unless `--set items=N` tries another number; how many
    raters will come no protocol says: `--set raters=N`.
    """
    from custodes.config import load, override
    from custodes.review.study.analysis import power as power_of
    from custodes.review.study.protocol import Protocol
    from custodes.review.study.runner import judged_items
    from custodes.review.study.simulated import SimulatedConfig

    settings = load(Protocol, protocol)
    given = load(SimulatedConfig, config, assign or ())
    values = override(given.model_dump(mode="json"), ())
    values |= {"arms": list(settings.arms), "raters_an_item": settings.raters_an_item,
               "blind": settings.blind}  # fmt: skip
    if "items" not in given.model_fields_set:
        values["items"] = len(judged_items(settings, base=protocol.parent))
    population = SimulatedConfig.parse(values)
    number = max(1, len(settings.contrasts))
    level = 1 - (1 - settings.level) / number
    typer.echo(
        f"{studies} studies of {population.raters} raters and {population.items} items, "
        f"{min(population.raters_an_item, population.raters)} raters an item"
    )
    typer.echo("SIMULATED raters: power under the assumptions of the population, no finding.")
    for asked in settings.contrasts:
        found = power_of(asked, population, studies=studies, level=level)
        typer.echo(
            f"{asked.arm} against {asked.against} ({asked.where}, {asked.expects}): "
            f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
        )
