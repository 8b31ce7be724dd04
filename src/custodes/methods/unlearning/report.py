"""A study as a page: recovery, curves, side effects, how far each method had to go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from custodes.measure import (
    Card,
    Cards,
    Plot,
    Plots,
    Prose,
    Report,
    Section,
    Series,
    Table,
    forest_plot,
    line_plot,
)
from custodes.measure.report import Cell
from custodes.methods.unlearning.config import METHODS, Arm, StudyConfig
from custodes.methods.unlearning.summary import Summary

__all__ = ["TITLES", "study_report"]

TITLES: dict[Arm, str] = {
    "graddiff": "GradDiff",
    "npo": "NPO",
    "simnpo": "SimNPO",
    "rmu": "RMU",
    "random-incorrect": "random incorrect answers",
    "none": "nothing removed",
    "withheld": "never in training (control)",
    "never": "never trained (control)",
}
"""How arms are called on the page."""

_READING = """\
The facts to forget are removed, then a part of them (T) is taught again, and questions about the \
rest (V) are asked. The facts are independent, so T tells nothing of V: what comes back was still \
in the weights.

recovery = (accuracy after relearning - chance) / (accuracy before the removal - chance). 1: all \
came back; 0: nothing did. The controls say what the same relearning gives a model that never had \
the facts; a method removes information only as far as its recovery is no higher than theirs. \
Recovery counts what the removal left, too; "relearned minus removed" is what relearning alone \
brought back.

Intervals (95 %) resample seeds, and facts within each seed; perplexity's is Student's t over \
seeds. Multiple-choice answers are scored by \
their log-probability as texts, in a wording that was never trained on.

A low recovery after facts were implanted by a short fine-tuning flatters a method: facts from \
pretraining come back more easily (arXiv 2410.08827, section 5)."""

_STOPPING = """\
A method stops after the first epoch at which multiple-choice accuracy on the validation facts (a \
part of the facts to forget that is neither T nor V), over all wordings, is at most chance plus \
the margin. Rates are tried from the weakest on; the first is taken that gets there while enough \
of the watched neighbors is left, else the one that misses least. V is never looked at."""


def study_report(
    config: StudyConfig, summary: Summary, results: Sequence[Mapping[str, Any]]
) -> Report:
    """The whole page."""
    sections = [
        Section("In short", [Cards(_cards(config, summary)), Prose(_READING)]),
        Section(
            "Recovery on the facts that were not taught again", [_forest(summary), _table(summary)]
        ),
        Section("Relearning curves", [_curves(summary)]),
        Section("Side effects", [_beside(config, summary, results)]),
        Section("How far each removal went", [Prose(_STOPPING), _paths(config, results)]),
    ]
    facts: dict[str, Cell] = {
        "model": config.model.model,
        "precision": config.model.precision,
        "facts": config.facts.kind,
        "V, facts a seed": _facts(results, "held"),
        "T, facts a seed": _facts(results, "taught"),
        "seeds": config.seeds,
        "first seed": config.first_seed,
        "processor seconds of the arms": round(sum(one["seconds"] for one in results)),
    }
    kind = "implanted facts" if config.facts.kind == "invented" else "facts known beforehand"
    return Report(
        "Does unlearning remove, or hide?",
        f"{kind.capitalize()}, removed, then relearned in part; {config.seeds} seeds.",
        sections,
        facts,
    )


def _facts(results: Sequence[Mapping[str, Any]], part: str) -> str:
    """How many of a part, from the fewest to the most of any seed."""
    counts = {len(one["stages"]["before"][part]["choice"]) for one in results}
    return " to ".join(map(str, sorted({min(counts), max(counts)})))


def _cards(config: StudyConfig, summary: Summary) -> list[Card]:
    guessed = f"chance {summary.chance:g}"
    if summary.blind is not None:
        guessed += f", {summary.blind.value:.0%} where the question does not name its subject"
    cards = [Card("known before", summary.known, f"accuracy on V; {guessed}", spec=".0%")]
    for one in summary.arms:
        if one.arm in METHODS:
            stopped = f"enough removed in {one.enough} of {config.seeds} seeds"
            cards.append(Card(f"recovery, {TITLES[one.arm]}", one.recovery, stopped, spec=".0%"))
        elif one.arm in ("withheld", "never"):
            cards.append(Card(f"recovery, {TITLES[one.arm]}", one.recovery, "", spec=".0%"))
    return cards


def _forest(summary: Summary) -> Plots:
    rows = [(TITLES[one.arm], one.recovery) for one in summary.arms]
    return Plots([Plot(forest_plot(rows, title="Recovery", x_label="recovery"), "95 % intervals")])


def _table(summary: Summary) -> Table:
    rows: list[list[Cell]] = [
        [
            TITLES[one.arm],
            one.before,
            one.removed,
            one.relearned,
            one.regained,
            one.recovery,
            one.over_withheld,
            one.over_never,
            one.recovery_cloze,
            one.taught,
        ]
        for one in summary.arms
    ]
    columns = [
        "arm",
        "before",
        "removed",
        "relearned",
        "relearned minus removed",
        "recovery",
        "minus never in training",
        "minus never trained",
        "recovery, cloze",
        "T relearned",
    ]
    return Table(columns, rows, "accuracies on V, multiple choice", spec=".2f")


def _curves(summary: Summary) -> Plots:
    plots = []
    for part, caption in (("held", "V: not taught again"), ("taught", "T: taught again")):
        series = []
        for one in summary.arms:
            points = [getattr(point, part) for point in one.curve]
            low = [p.low if np.isfinite(p.low) else p.value for p in points]
            high = [p.high if np.isfinite(p.high) else p.value for p in points]
            series.append(
                Series(
                    TITLES[one.arm],
                    [point.epoch for point in one.curve],
                    [p.value for p in points],
                    low,
                    high,
                )
            )
        svg = line_plot(
            series,
            title="Accuracy along relearning",
            x_label="epochs of relearning",
            y_label="accuracy",
            percent=True,
        )
        plots.append(Plot(svg, caption))
    return Plots(plots)


def _beside(config: StudyConfig, summary: Summary, results: Sequence[Mapping[str, Any]]) -> Table:
    rows: list[list[Cell]] = [
        [
            TITLES[one.arm],
            "removal" if one.removed is not None else "relearning",
            one.neighbors,
            one.perplexity,
        ]
        for one in summary.arms
    ]
    columns = ["arm", "after", "neighbors: change of accuracy", "perplexity: times before"]
    caption = "neighbors that neither trained nor stopped anything; ordinary text"
    tokens = {one["text_tokens"] for one in results if "text_tokens" in one}
    if tokens:
        caption += f", {min(tokens):,} tokens of {config.text_tokens:,} asked for"
    return Table(columns, rows, caption, spec=".3f")


def _paths(config: StudyConfig, results: Sequence[Mapping[str, Any]]) -> Table:
    rows: list[list[Cell]] = []
    for one in results:
        if one["removal"] is None:
            continue
        found = one["removal"]
        taken = [p for p in found["path"] if p[0] == found["rate"]]
        _, epoch, left, beside = taken[-1]
        rows.append(
            [
                f"{TITLES[one['arm']]}, seed {one['seed']}",
                found["rate"],
                epoch,
                left,
                beside,
                "yes" if found["enough"] else "no",
            ]
        )
    columns = ["removal", "rate", "epochs", "validation facts", "watched neighbors", "enough"]
    chance = 1 / config.facts.options
    caption = f"accuracy over all wordings when it stopped; chance {chance:g}"
    return Table(columns, rows, caption, spec=("", ".1e", ".0f", ".2f", ".2f", ""))
