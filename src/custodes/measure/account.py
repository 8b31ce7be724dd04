"""An evaluation told as a report: headline, curves, a table and bars for each way of slicing.

It computes no figure of its own, and does not know where the report is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from custodes.measure.benchmark import Figure
from custodes.measure.evaluation import LEVEL, RESAMPLES, Evaluation, Slice
from custodes.measure.intervals import Interval
from custodes.measure.plots import (
    forest_plot,
    histogram_plot,
    pr_plot,
    reliability_plot,
    roc_plot,
)
from custodes.measure.report import (
    Card,
    Cards,
    Cell,
    Plot,
    Plots,
    Prose,
    Report,
    Section,
    Table,
)

__all__ = ["to_report"]

_NAMES = {
    "recall": "recall",
    "false_refusal_rate": "false refusals",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "f1": "F1",
    "recall_at_fpr_1%": "recall at 1% FPR",
    "recall_at_fpr_0.1%": "recall at 0.1% FPR",
    "calibration_error": "calibration error",
    "brier": "Brier score",
}
_PERCENT = ("recall", "false_refusal_rate", "recall_at_fpr_1%", "recall_at_fpr_0.1%")
_SLICED = ("recall", "false_refusal_rate", "auroc", "auprc", "f1")


def to_report(
    evaluation: Evaluation,
    *,
    title: str,
    name: str = "guard",
    summary: str = "",
    budget: float | None = None,
    facts: Mapping[str, Cell] | None = None,
) -> Report:
    """The report of an evaluation. `name` stands for the scorer in the plots.

    `budget`: the false-refusal rate that was promised, marked met, met by value (an end of the
    interval is above it) or missed. `facts` (command, versions, data sets...) stand at the foot
    beside the seed.
    """
    sections = [Section("Headline", [_headline(evaluation.overall, budget)])]
    if 0 < evaluation.overall.harmful < evaluation.overall.rows:
        sections.append(Section("Curves", [Plots(_curves(evaluation, name))]))
    for by in dict.fromkeys(part.by for part in evaluation.slices):
        parts = [part for part in evaluation.slices if part.by == by]
        sections.append(_by_section(by, parts))
    if evaluation.overall.leak:
        sections.append(_leak_section([evaluation.overall, *evaluation.slices]))
    sections.append(Section("How to read this", [Prose(_reading(evaluation))]))
    return Report(
        title,
        summary or _summary(evaluation),
        sections,
        {**(facts or {}), "threshold": f"{evaluation.threshold:.6g}", "seed": str(evaluation.seed)},
    )


def _summary(evaluation: Evaluation) -> str:
    whole = evaluation.overall
    told = [f"{whole.rows:,} rows, {whole.harmful:,} of them harmful."]
    if "recall" in whole.metrics:
        told.append(f"At the threshold {whole.metrics['recall'].value:.1%} of them are stopped.")
    if "false_refusal_rate" in whole.metrics:
        refused = whole.metrics["false_refusal_rate"].value
        told.append(f"{refused:.2%} of the benign rows are refused.")
    return " ".join(told)


def _headline(whole: Slice, budget: float | None) -> Cards:
    cards = []
    for key, label in _NAMES.items():
        figure = whole.metrics.get(key)
        if figure is None:
            continue
        promised = budget is not None and key == "false_refusal_rate"
        cards.append(
            Card(
                label,
                figure,
                note=f"budget {budget:.2%}" if promised else "",
                met=_met(figure, budget) if promised and budget is not None else None,
                spec=_spec(key),
            )
        )
    return Cards(cards)


def _met(figure: Interval, budget: float) -> bool | Literal["by value"]:
    """As the tables of benchmarks say it: what few rows leave open is met by value."""
    row = Figure.of("false refusals", figure, target=f"<= {float(budget)}")
    return "by value" if row.verdict == "by value" else bool(row.met)


def _spec(key: str) -> str:
    return ".2%" if key == "false_refusal_rate" else ".1%" if key in _PERCENT else ".3f"


def _curves(evaluation: Evaluation, name: str) -> list[Plot]:
    curves = {name: (evaluation.labels, evaluation.scores)}
    plots = [
        Plot(roc_plot(curves, title="ROC, low false-positive rates stretched", log=True)),
        Plot(pr_plot(curves), "The dashed line is the share of harmful rows: what chance gives."),
    ]
    if np.isfinite(evaluation.scores).all():
        drawing = histogram_plot(evaluation.labels, evaluation.scores, evaluation.threshold)
        plots.append(Plot(drawing))
    if "calibration_error" in evaluation.overall.metrics:
        plots.append(
            Plot(reliability_plot(curves), "On the dashed line scores mean what they say.")
        )
    return plots


def _by_section(by: str, parts: Sequence[Slice]) -> Section:
    shown = [key for key in _SLICED if any(key in part.metrics for part in parts)]
    table = Table(
        [by, "rows", "harmful", *(_NAMES[key] for key in shown)],
        [
            [part.name, part.rows, part.harmful, *(part.metrics.get(key) for key in shown)]
            for part in parts
        ],
        caption=f"Figures by {by}, with {LEVEL:.0%} intervals; a dash: one class only",
        spec=[_spec(key) for key in ("", "", "", *shown)],
    )
    return Section(f"By {by}", [Plots(_forests(by, parts)), table])


def _forests(by: str, parts: Sequence[Slice]) -> list[Plot]:
    """Recall and false refusals slice by slice, the two that a slice with one class can bear."""
    plots = []
    for key in ("recall", "false_refusal_rate"):
        rows = [(part.name, part.metrics[key]) for part in parts if key in part.metrics]
        if rows:
            title = f"{_NAMES[key].capitalize()} by {by}"
            plots.append(Plot(forest_plot(rows, title=title, percent=True)))
    return plots


def _leak_section(parts: Sequence[Slice]) -> Section:
    columns = ["slice", "replies", "stopped", "nothing leaked", "median leak", "90th percentile"]
    rows: list[list[Cell]] = [
        [
            f"{part.by}: {part.name}" if part.by else "all",
            part.leak.replies,
            part.leak.share_stopped,
            part.leak.share_zero,
            _characters(part.leak.median, part.leak.relative_median),
            _characters(part.leak.p90, part.leak.relative_p90),
        ]
        for part in parts
        if part.leak
    ]
    told = (
        "Harmful characters that left before the stream was cut, and their share of the harmful "
        "part. A reply that was never cut leaked all of it."
    )
    return Section("Leak before stop", [Prose(told), Table(columns, rows, spec=".1%")])


def _characters(count: float, share: float) -> str:
    return f"{count:,.0f} ({share:.0%})"


def _reading(evaluation: Evaluation) -> str:
    drawn = "groups of rows" if evaluation.grouped else "rows"
    return (
        f"A row counts as flagged where its score is at or above {evaluation.threshold:.6g}. "
        f"Brackets are {LEVEL:.0%} intervals: exact (Clopper-Pearson) for recall and false "
        "refusals, which take rows as independent; the others from "
        f"{RESAMPLES:,} bootstrap resamples of {drawn}, seed {evaluation.seed}.\n\n"
        "The calibration error is above 0 by chance alone, and the more so the fewer the rows: "
        "only an interval that ends above 0 shows that scores are off.\n\n"
        "AUPRC is average precision and depends on the share of harmful rows, so compare it only "
        "on the same rows. Slices overlap and are many: the best and the worst of them are partly "
        "luck."
    )
