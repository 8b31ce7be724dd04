"""`custodes method similarity ...`: the similarity method on the command line.

Parses, calls, prints; everything else is imported when a command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from custodes.config.options import Assignments, SettingsFile

__all__ = ["app"]

app = typer.Typer(
    help="Who agrees with whom: CAPA and its family (arXiv 2502.04313).",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_Source = Annotated[Path, typer.Argument(help="File or folder with the answers of many models.")]
_Out = Annotated[Path, typer.Option("--out", help="Folder of the run.")]
_Format = Annotated[str, typer.Option("--format", help="auto, npz, jsonl, lm-eval, inspect, ...")]
_Missing = Annotated[
    str, typer.Option("--unanswered", help="drop the question, or count it as uniform.")
]


@app.command()
def matrix(
    source: _Source,
    out: _Out,
    format: _Format = "auto",  # noqa: A002
    unanswered: _Missing = "drop",
    judge: Annotated[
        list[str] | None, typer.Option("--judge", help="Warn of models that this judge resembles.")
    ] = None,
    config: SettingsFile = None,
    assign: Assignments = None,
) -> None:
    """All pairs: heat maps, intervals, capability trend; report.html and artifacts/matrix.npz."""
    import numpy as np

    from custodes.config import Run, load
    from custodes.methods.similarity.config import MatrixConfig
    from custodes.methods.similarity.inputs import read_answers
    from custodes.methods.similarity.matrix import similarities
    from custodes.methods.similarity.panel import warnings_of
    from custodes.methods.similarity.report import matrix_report

    settings = load(MatrixConfig, config, assign or ())
    reading = read_answers(source, format=format, unanswered=unanswered)
    found = similarities(reading.answers, settings.metrics)
    report = matrix_report(reading.answers, found, settings, judges=judge or ())
    run = Run(out, settings, seed=settings.seed)
    arrays: dict[str, Any] = {"names": np.array(found.names), **found.values}
    np.savez(run.artifacts / "matrix.npz", **arrays)
    page = run.report(report.values(), report.html())
    _say_left_out(reading.not_shared, reading.unanswered)
    for alike in warnings_of(found, judge or (), above=settings.warn_above):
        typer.echo(f"warning: {alike}", err=True)
    typer.echo(f"{len(found.names)} models, {found.questions} questions: {page}")


@app.command()
def pair(
    source: _Source,
    first: Annotated[str, typer.Argument(help="A model's name.")],
    second: Annotated[str, typer.Argument(help="Another model's name.")],
    format: _Format = "auto",  # noqa: A002
    unanswered: _Missing = "drop",
    permutations: Annotated[int, typer.Option(help="Permutations of the null; 0 for none.")] = 1000,
    seed: Annotated[int, typer.Option(help="Same seed, same intervals.")] = 0,
) -> None:
    """Every metric of two models with intervals, the ceiling of κp and its permutation null."""
    from custodes.errors import DataError
    from custodes.methods.similarity.config import MatrixConfig
    from custodes.methods.similarity.inputs import read_answers
    from custodes.methods.similarity.metrics import METRICS, Pair, pair_ceiling
    from custodes.methods.similarity.report import pair_table
    from custodes.methods.similarity.uncertainty import permutation_null

    reading = read_answers(source, format=format, unanswered=unanswered)
    answers = reading.answers.take([first, second])
    _say_left_out(reading.not_shared, reading.unanswered)
    for title, drawn, left in pair_table(answers, first, second, MatrixConfig(seed=seed)).rows:
        typer.echo(f"{title!s:<30} {drawn!s:<28} jackknife {left!s}")
    two = Pair(answers.row(first), answers.row(second), answers.labels, answers.options)
    typer.echo(f"{'κp ceiling':<30} {pair_ceiling(two):.3f}")
    if permutations:
        try:
            null = permutation_null(
                METRICS["capa"], two, groups=answers.groups, permutations=permutations, seed=seed
            )
        except DataError as error:  # groups that cannot change places
            typer.echo(f"{'κp of independent errors':<30} n/a: {error}")
            return
        typer.echo(
            f"{'κp of independent errors':<30} {null.mean:.3f} [{null.low:.3f}, {null.high:.3f}], "
            f"p = {null.p:.3g}"
        )


@app.command()
def panel(
    source: _Source,
    format: _Format = "auto",  # noqa: A002
    unanswered: _Missing = "drop",
    config: SettingsFile = None,
    assign: Assignments = None,
) -> None:
    """The k members of high accuracy and low similarity (--set members=3 --set weight=0.5)."""
    from custodes.config import load
    from custodes.methods.similarity.config import PanelConfig
    from custodes.methods.similarity.inputs import read_answers
    from custodes.methods.similarity.panel import choose_panel

    settings = load(PanelConfig, config, assign or ())
    reading = read_answers(source, format=format, unanswered=unanswered)
    _say_left_out(reading.not_shared, reading.unanswered)
    found = choose_panel(
        reading.answers, settings.members, weight=settings.weight, metric=settings.metric
    )
    typer.echo(", ".join(found.members))
    typer.echo(
        f"mean accuracy {found.accuracy:.3f}, mean similarity {found.similarity:.3f}, "
        f"accuracy of their vote {found.vote_accuracy:.3f} (on the questions it was chosen on)"
    )


@app.command("weak-to-strong")
def weak_to_strong(
    out: _Out,
    tasks: Annotated[
        Path | None, typer.Option("--tasks", help="Persona file; default: the catalogue's.")
    ] = None,
    config: SettingsFile = None,
    assign: Assignments = None,
) -> None:
    """Train weak-to-strong pairs on many binary tasks; go on where a killed run stopped."""
    from custodes.config import load
    from custodes.methods.similarity.config import WeakToStrongConfig
    from custodes.methods.similarity.reproduce import run_weak_to_strong

    settings = load(WeakToStrongConfig, config, assign or ())
    typer.echo(str(run_weak_to_strong(settings, out, tasks=tasks, say=typer.echo)))


@app.command()
def judges(
    config: Annotated[Path, typer.Argument(help="YAML file of the study.")], out: _Out
) -> None:
    """Do judges favor models that err as they do? Runs the models that the file names."""
    from custodes.config import load
    from custodes.methods.similarity.config import JudgesConfig
    from custodes.methods.similarity.judge_study import run_judge_study

    def say(line: str) -> None:
        typer.echo(line, err=True)

    typer.echo(str(run_judge_study(load(JudgesConfig, config), out, say=say)))


@app.command("affinity")
def affinity_of_marks(
    source: _Source,
    marks: Annotated[
        Path, typer.Argument(help="JSONL of marks that were given: judge, judged, mark.")
    ],
    out: _Out,
    format: _Format = "auto",  # noqa: A002
    unanswered: _Missing = "drop",
    config: SettingsFile = None,
    assign: Assignments = None,
) -> None:
    """The same for marks that are there already; the judges' own answers are in SOURCE too."""
    from custodes.config import Run, load
    from custodes.methods.similarity.config import AffinityConfig
    from custodes.methods.similarity.inputs import read_answers
    from custodes.methods.similarity.judge_study import write_affinity
    from custodes.methods.similarity.marks import read_marks

    settings = load(AffinityConfig, config, assign or ())
    reading = read_answers(source, format=format, unanswered=unanswered)
    given = read_marks(
        marks,
        reading.answers,
        questions=reading.questions,
        say=lambda line: typer.echo(line, err=True),
    )
    _say_left_out(reading.not_shared, reading.unanswered)
    run = Run(out, settings, seed=settings.seed)
    typer.echo(str(write_affinity(run, given, warn_above=settings.warn_above, seed=settings.seed)))


def _say_left_out(not_shared: int, unanswered: int) -> None:
    if not_shared or unanswered:
        typer.echo(
            f"left out: {not_shared} questions that not every model was asked, {unanswered} that "
            "some model did not answer",
            err=True,
        )
