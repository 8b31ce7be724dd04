"""The complementarity report: AI alone, people alone, hybrid, oracle, and where each wins.

How the cases came about is not known here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    interval_of,
    line_plot,
    resample,
)
from custodes.measure.report import Cell
from custodes.review.routing import Rows, hybrid_accuracy
from custodes.review.shares import Share

__all__ = ["Complementarity", "complementarity", "complementarity_report"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
_BINS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Complementarity:
    """Accuracies and differences with intervals that resample groups; shares of the rows.

    `oracle`: whoever is right answers. `region`: people right and the AI wrong. `accepted`: the
    AI's share of the answers; `errors`: the share of those that are wrong, NaN where it has none;
    where no resample finds an error, its bounds are exact ones over groups.
    """

    ai: Interval
    people: Interval
    hybrid: Interval
    oracle: Interval
    over_ai: Interval
    over_people: Interval
    region: Interval
    accepted: Interval
    errors: Interval
    rows: int
    groups: int


def complementarity(
    rows: Rows, accepted: Bools, *, seed: int, resamples: int = 2000
) -> Complementarity:
    """Measure a routing on rows that it was not chosen on."""
    ai, people = rows.ai, rows.people

    def figures(ai: Floats, people: Floats, taken: Floats) -> Floats:
        hybrid = hybrid_accuracy(taken.astype(bool), ai, people)
        oracle = np.maximum(ai, people).mean()
        a, p = ai.mean(), people.mean()
        region = ((people == 1) & (ai == 0)).mean()
        wrong = float(taken @ (1 - ai)) / float(taken.sum()) if taken.any() else math.nan
        differences = hybrid - a, hybrid - p
        return np.array([a, p, hybrid, oracle, *differences, region, taken.mean(), wrong])

    taken = np.asarray(accepted, dtype=np.float64)
    values = figures(ai, people, taken)
    draws = resample(
        figures, ai, people, taken, groups=list(rows.groups), seed=seed, resamples=resamples
    )
    found = [interval_of(float(values[i]), draws[:, i]) for i in range(len(values))]
    return Complementarity(
        ai=found[0],
        people=found[1],
        hybrid=found[2],
        oracle=found[3],
        over_ai=found[4],
        over_people=found[5],
        region=found[6],
        accepted=found[7],
        errors=_errors(float(values[8]), draws[:, 8], rows, taken > 0),
        rows=len(rows.groups),
        groups=len(set(rows.groups)),
    )


def _errors(value: float, draws: Floats, rows: Rows, taken: Bools) -> Interval:
    units = len({group for group, inside in zip(rows.groups, taken, strict=True) if inside})
    if not units:
        return Interval(math.nan, math.nan, math.nan)
    return Share(value=value, draws=draws, units=units).interval()


def complementarity_report(
    rows: Rows,
    routes: Mapping[str, Bools],
    *,
    title: str,
    summary: str,
    seed: int,
    notes: str = "",
) -> Report:
    """A page: every routing measured, where each side wins, and what T does; the first routing is
    the headline."""
    measured = {name: complementarity(rows, taken, seed=seed) for name, taken in routes.items()}
    name, first = next(iter(measured.items()))
    sections = [
        Section("Who is right how often", [
            Cards([
                Card("people alone", first.people),
                Card("AI alone", first.ai),
                Card(f"hybrid ({name})", first.hybrid,
                     note=f"the AI answers {first.accepted.value:.0%}"),
                Card("oracle", first.oracle, note="whoever is right answers"),
            ]),
            Table(
                ["routing", "hybrid", "over people", "over the AI", "AI's share", "wrong of those"],
                [[each, c.hybrid, c.over_people, c.over_ai, c.accepted, c.errors]
                 for each, c in measured.items()],
                f"{first.rows:,} judgments on {first.groups:,} groups; intervals resample groups",
                [".3f", ".3f", "+.3f", "+.3f", ".3f", ".3f"],
            ),
            Prose(
                "The complementarity region, where people are right and the AI is wrong, is "
                f"{first.region.value:.1%} of the judgments: all that any routing can gain over "
                "the AI comes from there." + (f"\n\n{notes}" if notes else "")
            ),
        ]),
        Section("Where each wins", [
            _by(rows, _bins(rows.confidence), "AI's confidence", seed),
            *([_by(rows, list(rows.slices), "slice", seed)] if len(set(rows.slices)) > 1 else []),
            Plots([Plot(_curve(rows), "Accuracy of the hybrid for every T; what was chosen was "
                                      "chosen on other rows")]),
        ]),
    ]  # fmt: skip
    return Report(title, summary, sections)


def _bins(confidence: Floats) -> list[str]:
    """Bins of equal counts, named by their bounds."""
    edges = np.unique(np.quantile(confidence, np.linspace(0, 1, _BINS + 1)))
    if len(edges) < 2:
        return [f"{confidence[0]:.2f}"] * len(confidence)
    place = np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, len(edges) - 2)
    return [f"{edges[at]:.2f} to {edges[at + 1]:.2f}" for at in place]


def _by(rows: Rows, names: list[str], column: str, seed: int) -> Table:
    lines: list[list[Cell]] = []
    keys = np.array(names, dtype=object)
    for name in sorted(set(names)):
        inside = keys == name
        part = rows.take(inside)
        mean: Callable[..., float] = lambda ai, people: float(people.mean() - ai.mean())  # noqa: E731
        value = mean(part.ai, part.people)
        draws = resample(
            mean, part.ai, part.people, groups=list(part.groups), seed=seed, resamples=500
        )
        gap = interval_of(value, draws)
        # Of a few groups that are all alike every resample is the same, which shows nothing.
        known = gap.low < gap.high
        wins = "people" if gap.low > 0 else "AI" if gap.high < 0 else "neither for sure"
        wins = wins if known else "neither for sure"
        lines.append([name, int(inside.sum()), float(part.ai.mean()), float(part.people.mean()),
                      gap, wins])  # fmt: skip
    return Table(
        [column, "judgments", "AI", "people", "people over AI", "wins"],
        lines,
        "",
        [".3f", ",d", ".3f", ".3f", "+.3f", ".3f"],
    )


def _curve(rows: Rows) -> str:
    grid = np.quantile(rows.confidence, np.linspace(0, 1, 60))
    shares = [float((rows.confidence >= t).mean()) for t in grid]
    values = [hybrid_accuracy(rows.confidence >= t, rows.ai, rows.people) for t in grid]
    order = np.argsort(shares)
    series = [
        Series("hybrid", [shares[i] for i in order], [values[i] for i in order]),
        Series("people alone", [0.0, 1.0], [float(rows.people.mean())] * 2),
        Series("AI alone", [0.0, 1.0], [float(rows.ai.mean())] * 2),
    ]
    return line_plot(
        series, title="Hybrid accuracy", x_label="share answered by the AI", y_label="accuracy"
    )
