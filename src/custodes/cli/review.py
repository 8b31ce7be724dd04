"""`custodes review`: queues of cases for people, their labels back, routing, studies.

Results go to stdout, everything that is not asked for to stderr.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from custodes.cli.database import DatabaseOption
from custodes.cli.desk import desk_at
from custodes.cli.study import app as study_app
from custodes.config.options import Assignments, SettingsFile

__all__ = ["app"]

app = typer.Typer(
    help="Cases for people to judge, and what comes back.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(study_app, name="study")

_Queue = Annotated[str, typer.Argument(metavar="QUEUE", help="A queue's name.")]
_Out = Annotated[Path, typer.Option("--out", help="Folder of the run.")]
_Seed = Annotated[int, typer.Option(help="Of whatever is random.")]


@app.command()
def queue(
    name: _Queue,
    config: SettingsFile = None,
    assign: Assignments = None,
    database: DatabaseOption = None,
) -> None:
    """Make a queue, or change the settings of one; prints the settings.

    What is not named, in the file or by --set, stays as it is.
    """
    from custodes.config import load, override
    from custodes.review.config import QueueConfig

    with desk_at(database) as desk:
        settings = load(QueueConfig, config, assign or ())
        if name in desk.queues():
            values = desk.config(name).model_dump(mode="json")
            if config is not None:
                named = load(QueueConfig, config)
                values |= named.model_dump(mode="json", include=named.model_fields_set)
            settings = QueueConfig.parse(override(values, assign or ()), origin=f"queue {name}")
        desk.put(name, settings)
    typer.echo(settings.model_dump_json(indent=2))


@app.command("list")
def list_all(
    database: DatabaseOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List every queue and how far it is."""
    with desk_at(database, create=False) as desk:
        found = {name: desk.progress(name) for name in desk.queues()}
    if as_json:
        rows = {name: {"open": p.open, "conflict": p.conflict, "done": p.done, "checks": p.checks}
                for name, p in found.items()}  # fmt: skip
        typer.echo(json.dumps(rows, indent=2))
        return
    for name, p in found.items():
        typer.echo(f"{name:<24} {p.done} done, {p.open} open, {p.conflict} in conflict, "
                   f"{p.checks} checks")  # fmt: skip


@app.command()
def add(
    name: _Queue,
    file: Annotated[
        Path, typer.Argument(help="Cases: .jsonl, .jsonl.gz, .csv, or an Inspect log.")
    ],
    guard: Annotated[
        str | None,
        typer.Option(help="A guard (folder or shipped name): its view, and its evidence."),
    ] = None,
    database: DatabaseOption = None,
) -> None:
    """Put cases in a queue, in the order of its sampling; those that are there already stay."""
    from custodes.review.exchange import read_cases

    cases = read_cases(file)
    with desk_at(database) as desk:
        if guard is not None:
            from custodes.guard import load_guard
            from custodes.review.views import with_guard

            cases = with_guard(cases, load_guard(guard), desk.config(name))
        new = desk.add(name, cases, origin=file.name)
    typer.echo(f"{new} new of {len(cases)} cases in {name}")


@app.command()
def skills(
    rater: Annotated[str, typer.Argument(help="The id of a key: `custodes keys list`.")],
    skill: Annotated[list[str] | None, typer.Argument(help="All of the rater's skills.")] = None,
    database: DatabaseOption = None,
) -> None:
    """Say what a rater can judge besides what anybody can. `adjudicate`: may settle conflicts."""
    with desk_at(database) as desk:
        desk.set_skills(rater, skill or [])
        typer.echo(f"{rater}: {', '.join(desk.skills(rater)) or 'no skill'}")


@app.command()
def export(
    name: _Queue,
    file: Annotated[
        Path,
        typer.Argument(help=".jsonl or .csv: every judgment. .parquet: training rows."),
    ],
    database: DatabaseOption = None,
) -> None:
    """Write every judgment, or the settled cases as rows for `custodes train`."""
    from custodes.data import write
    from custodes.review.exchange import write_labels
    from custodes.review.training import label_rows, training_rows

    with desk_at(database, create=False) as desk:
        desk.config(name)
        if file.suffix == ".parquet":
            count = write(file, training_rows(desk, name))
        else:
            count = write_labels(file, label_rows(desk, name))
    typer.echo(f"{count} rows in {file}")


@app.command()
def agreement(name: _Queue, out: _Out, seed: _Seed = 0, database: DatabaseOption = None) -> None:
    """How far raters agree, by case, rater and time: report.html and report.json (extra review)."""
    from custodes.config import Config, Run
    from custodes.review.overview import agreement_report, queue_agreement

    class AgreementConfig(Config):
        """What was looked at."""

        queue: str

    with desk_at(database, create=False) as desk:
        found = queue_agreement(desk, name, newest=1_000_000, seed=seed)
    run = Run(out, AgreementConfig(queue=name), seed=seed)
    report = agreement_report(found, name)
    typer.echo(str(run.report(report.values(), report.html())))


@app.command()
def route(
    validation: Annotated[
        Path,
        typer.Argument(
            help="JSONL of cases whose answer is known: id, truth, opinions, people (their "
            "answers), and as wanted slice and group."
        ),
    ],
    out: _Out,
    aim: Annotated[
        Literal["accuracy", "cost", "risk"], typer.Option(help="What T is chosen for.")
    ] = "accuracy",
    risk: Annotated[float, typer.Option(help="Errors among accepted cases, for risk.")] = 0.05,
    person_cost: Annotated[
        float, typer.Option("--person-cost", help="Cost of a person's answer, in errors.")
    ] = 0.05,
    cases: Annotated[
        Path | None, typer.Option(help="New cases to route: people's go to --queue.")
    ] = None,
    name: Annotated[str | None, typer.Option("--queue", help="Where people's cases go.")] = None,
    audit: Annotated[
        float, typer.Option(help="Share of accepted cases that people see all the same.")
    ] = 0.02,
    seed: _Seed = 0,
    database: DatabaseOption = None,
) -> None:
    """Choose T on one half of known cases, report on the other, and route new cases by it.

    Accepted cases are written to OUT/artifacts/accepted.jsonl, the others put in the queue.
    """
    from custodes.config import Run
    from custodes.errors import ConfigError
    from custodes.review.exchange import read_cases
    from custodes.review.routes import RouteConfig, deal, route_known, write_accepted

    if (cases is None) != (name is None):
        raise ConfigError("--cases and --queue belong together: give both or neither")
    config = RouteConfig(aim=aim, risk=risk, person_cost=person_cost, audit=audit, seed=seed)
    run = Run(out, config, seed=seed)
    known = route_known(validation, config)
    report = known.report(validation.name)
    typer.echo(str(run.report(report.values(), report.html())))
    typer.echo(f"T = {known.threshold:.4f}: the AI answers {known.accepted:.1%}")
    if cases is not None and name is not None:
        new = read_cases(cases)
        dealt = deal(new, known, config)
        with desk_at(database) as desk:
            asked = desk.add(name, dealt.asked, origin="uncertain")
            audited = desk.add(name, dealt.audited, origin="audit")
        write_accepted(run.artifacts / "accepted.jsonl", dealt.accepted)
        typer.echo(
            f"{len(dealt.accepted)} accepted, {asked} to people in {name}, {audited} of the "
            "accepted to people as an audit"
        )


@app.command()
def retrain(
    name: _Queue,
    run: Annotated[Path, typer.Option("--run", help="A run folder of `custodes train`.")],
    out: _Out,
    constitution: Annotated[
        str | None, typer.Option(help="What RUN was trained from; default: the guard's own.")
    ] = None,
    weight: Annotated[
        int, typer.Option(min=1, help="How often each reviewed row counts in training.")
    ] = 4,
    kept_out: Annotated[
        float,
        typer.Option("--kept-out", help="Share of the reviewed cases kept out to measure on."),
    ] = 0.3,
    budget: Annotated[
        float | None,
        typer.Option(help="The false-refusal budget that the old guard was calibrated to."),
    ] = None,
    seed: _Seed = 0,
    database: DatabaseOption = None,
) -> None:
    """Train the guard of a run again with a queue's labels, and report what that changed.

    The old training rows, the old settings, and the settled cases of the queue but for a share that
    is kept out; both guards are then compared on that share and on the old test rows.
    """
    from custodes.cli.progress import stages
    from custodes.review.retraining import RetrainConfig, retrain_guard

    config = RetrainConfig(
        queue=name, run=run, constitution=constitution, weight=weight, kept_out=kept_out,
        budget=budget, seed=seed,
    )  # fmt: skip
    with desk_at(database, create=False) as desk, stages() as progress:
        page, guard = retrain_guard(desk, config, out, progress=progress)
    typer.echo(f"guard        {guard}")
    typer.echo(f"report       {page}")
