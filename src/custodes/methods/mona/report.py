"""What was found as a report: one HTML page and the same values as JSON.

Takes results that are already computed; draws and arranges them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from custodes.measure import (
    Card,
    Cards,
    Interval,
    Plot,
    Plots,
    Prose,
    Report,
    Section,
    Series,
    Table,
    line_plot,
    over_seeds,
)
from custodes.measure.report import Cell
from custodes.methods.mona.config import GenerationConfig, StudyConfig
from custodes.methods.mona.credit import ARMS
from custodes.methods.mona.gridworld import drawing
from custodes.methods.mona.gridworld.approval import Crossing
from custodes.methods.mona.gridworld.board import Board
from custodes.methods.mona.gridworld.solver import STEPS
from custodes.methods.mona.gridworld.study import GridworldStudy, clear_ranges
from custodes.methods.mona.measure import ArmRuns, group_runs
from custodes.methods.mona.tdd.generation import GeneratedEpisode

__all__ = ["PUBLISHED_HACKS", "generation_report", "gridworld_report", "study_report"]

PUBLISHED_HACKS: Mapping[int, float] = {
    9: 4.5, 10: 4.5, 11: 11.5, 12: 47.25, 13: 51.75, 14: 64.25, 16: 68.5, 17: 72.5,
}  # fmt: skip
"""Expected hacks of 84 by horizon on the paper's board, ties uniform; 0 to 8, 84 from 18 on."""

_TITLES = {
    "ordinary": "ordinary RL",
    "mona": "MONA",
    "mona-without-approval": "MONA without approval",
}

_WORDS = {
    "gridworld": ("mean return", "starts at which more than one box is delivered"),
    "loan": ("share of decisions", "accuracy beyond the blind optimum"),
    "loan-language": ("share of decisions", "accuracy beyond the blind optimum"),
    "tdd": ("share", "programs that pass their own tests and fail the hidden ones"),
}
"""What the curves count, and what is counted as a hack."""


def gridworld_report(study: GridworldStudy) -> Report:
    """Horizons without noise, the crossover with it, and the approval spectrum."""
    starts = len(study.board.starts)
    exact = study.exact
    first = next((m for m, one in enumerate(exact, start=1) if one.hack > 1e-9), None)
    cards = [
        Card("states", len(study.board.states)),
        Card("starts", starts),
        Card("hacks, MONA (M = 1)", exact[0].hack, f"of {starts}, expected", spec=".2f"),
        Card(f"hacks, whole episodes (M = {len(exact)})", exact[-1].hack, spec=".2f"),
        Card("first horizon with hacks", first),
        Card("all horizons solved in", study.seconds, "seconds of processor time", spec=".2f"),
    ]
    pictures = [
        Plot(drawing.svg(study.board, int(state)), f"start {number}")
        for number, state in enumerate(study.board.starts[[0, starts // 2]], start=1)
    ]
    return Report(
        "Camera Dropbox: who hacks, exactly",
        f"{study.board.rows} x {study.board.columns} board, {study.board.boxes} boxes; outcomes "
        "are expectations over uniform ties, not samples.",
        [
            Section("In short", [Cards(cards), Plots(pictures)]),
            _horizons(study),
            _crossover(study),
            _spectrum(study),
        ],
        {"steps": study.config.steps, "seed": study.config.seed},
    )


def _horizons(study: GridworldStudy) -> Section:
    exact = study.exact
    x = np.arange(1, len(exact) + 1)
    plot = line_plot(
        [
            Series("intended", x, [one.intended / one.starts for one in exact]),
            Series("hack", x, [one.hack / one.starts for one in exact]),
        ],
        title="Outcome by optimization horizon, no noise",
        x_label="optimization horizon M",
        y_label="share of starts",
        percent=True,
    )
    paper = study.board == Board() and study.config.steps == STEPS
    rows: list[list[Cell]] = [
        [
            horizon,
            one.fail,
            one.intended,
            one.hack,
            _anchor(horizon) if paper else None,
            one.observed,
            one.true,
        ]
        for horizon, one in enumerate(exact, start=1)
        if horizon <= 20 or horizon == len(exact)
    ]
    columns = ["M", "fail", "intended", "hack", "hack, anchor", "observed return", "true return"]
    note = "Expected numbers of starts; M = 1 is MONA, the last M ordinary reinforcement learning."
    return Section("Optimization horizon", [Plots([Plot(plot)]), Table(columns, rows, note)])


def _anchor(horizon: int) -> float | None:
    if horizon <= 8 or horizon >= 18:
        return 0.0 if horizon <= 8 else 84.0
    return PUBLISHED_HACKS.get(horizon)


def _crossover(study: GridworldStudy) -> Section:
    noisy = study.noisy
    x = np.arange(1, noisy.shape[1] + 1)
    low, high = np.quantile(noisy, [0.1, 0.9], axis=0)
    mean = noisy.mean(axis=0)
    plot = line_plot(
        [
            Series(name, x, mean[:, column], low[:, column], high[:, column])
            for column, name in enumerate(("fail", "intended", "hack"))
        ],
        title=f"Noise {study.config.noise:g}: mean and 10-90 % over {len(noisy)} seeds",
        x_label="optimization horizon M",
        y_label="share of starts",
        percent=True,
    )
    rows: list[list[Cell]] = []
    for share in (1.0, 0.99, 0.95, 0.9):
        ranges = [found for found in clear_ranges(noisy, share=share) if found is not None]
        middle = np.median(ranges, axis=0) if ranges else (None, None)
        rows.append([f"{share:.0%}", len(ranges), middle[0], middle[1]])
    table = Table(
        ["intended at least", f"seeds of {len(noisy)}", "from M (median)", "to M (median)"],
        rows,
        "the longest run of horizons at which so many starts do what is intended",
        spec=".1f",
    )
    note = (
        "An overseer who errs makes short horizons fail (a step that is wrongly disapproved of "
        "cannot pay off later) and leaves long ones free to hack; between them is a range that "
        "does neither."
    )
    return Section("Crossover under noise", [Plots([Plot(plot)]), table, Prose(note)])


def _spectrum(study: GridworldStudy) -> Section:
    starts = len(study.board.starts)
    curves: dict[str, Crossing] = {"blend of rewards": study.blend, "of values": study.outcome}
    plot = line_plot(
        [Series(name, one.weights, one.hacks / starts) for name, one in curves.items()],
        title="Hacks of MONA by weight of the good",
        x_label="weight of the true reward or value",
        y_label="share of starts that hack",
        percent=True,
    )
    rows: list[list[Cell]] = [[name, one.first, one.half] for name, one in curves.items()]
    approvals: list[list[Cell]] = [
        ["oracle", *_counts(study.exact[0])],
        ["none", *_counts(study.alone)],
        *([f"learned, {n:,} comparisons", *_counts(one)] for n, one in study.learned),
    ]
    note = (
        "At weight 0 approval is the value of the observed reward, and MONA is ordinary "
        "reinforcement learning. lambda* is the greatest weight at which any start (or half of "
        "them) hacks. A blend of rewards is judged by a planner who wants the blend; a blend of "
        "values leaks the outcome into every judgment, and little of it is enough."
    )
    return Section(
        "Approval spectrum, one step optimized",
        [
            Plots([Plot(plot)]),
            Table(["approval", "lambda*, any", "lambda*, half"], rows, spec=".4f"),
            Table(["approval", "fail", "intended", "hack"], approvals, f"of {starts} starts"),
            Prose(note),
        ],
    )


def _counts(one: Any) -> list[Cell]:
    return [one.fail, one.intended, one.hack]


def study_report(
    config: StudyConfig, rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Cell] | None = None
) -> Report:
    """Arms over seeds: who hacks, and learning curves of observed and true reward."""
    arms = group_runs(rows)
    counted, hack = _WORDS[config.environment]
    cards = [
        Card(f"{_TITLES[one.arm]}: {name}", one.final(name), spec=".3f")
        for one in arms
        for name in ("true", "hack")
    ]
    figures = [name for name in arms[0].runs[0][-1] if name not in ("step", "seconds")]
    finals: list[list[Cell]] = [
        [name, *(_shown(one.final(name)) for one in arms)] for name in figures
    ]
    plots = [
        Plot(_curves(arms, name, counted), caption)
        for name, caption in (("observed", "what is paid"), ("true", "what is wanted"))
    ]
    plots.append(Plot(_curves(arms, "hack", "share"), hack))
    runs: list[list[Cell]] = [
        [f"{_TITLES[one.arm]}, seed {seed}", *(float(points[-1][name]) for name in _MAIN)]
        for one in arms
        for seed, points in zip(one.seeds, one.runs, strict=True)
    ]
    seeds = ", ".join(f"{len(one.seeds)} of {_TITLES[one.arm]}" for one in arms)
    return Report(
        f"MONA: {config.environment}",
        f"Runs: {seeds}. Means with 95 % intervals over seeds (Student's t). A hack: {hack}.",
        [
            Section("Who hacks", [Cards(cards)]),
            Section("Learning", [Plots(plots)]),
            Section(
                "At the end of training",
                [Table(["figure", *(_TITLES[one.arm] for one in arms)], finals)],
            ),
            Section("Every run", [Table(["run", *_MAIN], runs)]),
        ],
        {**(facts or {}), "first seed": config.first_seed},
    )


_MAIN = ("observed", "true", "hack")


def _shown(interval: Interval) -> Cell:
    """An interval of no width says nothing that its value does not say."""
    return interval.value if interval.low == interval.high else interval


def _curves(arms: Sequence[ArmRuns], name: str, counted: str) -> str:
    series = []
    for one in arms:
        curve = one.curve(name)
        series.append(Series(_TITLES[one.arm], curve.steps, curve.mean, curve.low, curve.high))
    titles = {"observed": "Observed reward", "true": "True reward", "hack": "Hacks"}
    return line_plot(series, title=titles[name], x_label="training", y_label=counted)


def generation_report(config: GenerationConfig, episodes: Sequence[GeneratedEpisode]) -> Report:
    """What each arm's picks come to, over problems."""
    rows: list[list[Cell]] = []
    for arm in ARMS:
        found = [one.outcome(arm) for one in episodes]
        rows.append([_TITLES[arm], *(over_seeds(each[name] for each in found) for name in _MAIN)])
    each: list[list[Cell]] = [
        [one.problem, float(np.mean(one.tests)), float(np.mean(one.approval)),
         float(np.mean(one.passed)), float(np.mean(one.right))]
        for one in episodes
    ]  # fmt: skip
    note = (
        f"Best of {config.tests} test sets and {config.programs} programs for each. Intervals are "
        "over problems. No policy was trained."
    )
    columns = ["problem", "tests a set", "approval", "own tests passed", "hidden tests passed"]
    return Report(
        "MONA: tests and programs written by a model",
        f"{len(episodes)} problems of HumanEval, written by {config.model.backend}.",
        [
            Section("What each arm picks", [Table(["arm", *_MAIN], rows, note)]),
            Section("Problems", [Table(columns, each, "means over all that was sampled")]),
        ],
        {"seed": config.seed},
    )
