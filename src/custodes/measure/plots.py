"""Plots as pure functions from arrays to SVG text, fit for a page of their own or inside one.

Every plot names itself and says its main figures in words, for readers who do not see it. What
the figures mean, and where a plot ends up, is not known here. Malformed arrays are a `DataError`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from custodes.errors import DataError
from custodes.measure.arrays import FloatArray, labels_and, numbers, same_length
from custodes.measure.calibration import expected_calibration_error, reliability_curve
from custodes.measure.intervals import Interval
from custodes.measure.ranking import auprc, auroc, pr_curve, roc_curve
from custodes.measure.svg import SERIES, Axis, Canvas, ticks

__all__ = [
    "Series",
    "forest_plot",
    "histogram_plot",
    "line_plot",
    "pr_plot",
    "reliability_plot",
    "roc_plot",
]

_DASHES = ("", "7 3", "2 3", "9 3 2 3", "5 2", "1 2")
_LEFT, _TOP, _RIGHT, _BOTTOM = 66.0, 38.0, 500.0, 320.0

Judged = Mapping[str, tuple[ArrayLike, ArrayLike]]
"""Name of a scorer -> (labels, scores)."""


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """A named line: `y` over `x`, with a band from `low` to `high` where both are given."""

    name: str
    x: ArrayLike
    y: ArrayLike
    low: ArrayLike | None = None
    high: ArrayLike | None = None


def roc_plot(curves: Judged, *, title: str = "ROC", log: bool = False) -> str:
    """ROC curves; `log` stretches the low false-positive rates, where guards work."""
    # One benign row is the smallest rate there is to see.
    benign = max([10, *(int(np.sum(np.asarray(labels) == 0)) for labels, _ in curves.values())])
    floor = 10.0 ** math.floor(-math.log10(benign)) if log else 0.0
    x = Axis(floor, 1, _LEFT, _RIGHT, "false-positive rate", log=log, percent=True)
    y = Axis(0, 1, _BOTTOM, _TOP, "recall (true-positive rate)", percent=True)
    legend = [f"{name} (AUROC {_area(auroc(*pair))})" for name, pair in curves.items()]
    canvas = _canvas(title, x, y, legend)
    guide = np.linspace(floor, 1, 200)
    canvas.path(x.place(guide), y.place(guide), "guide")
    for index, (labels, scores) in enumerate(curves.values()):
        false, true, _ = roc_curve(labels, scores)
        _stroke(canvas, x.place(false), y.place(true), index)
    return canvas.render()


def pr_plot(curves: Judged, *, title: str = "Precision and recall") -> str:
    """Precision-recall curves as steps, with each set's base rate as a dashed guide."""
    x = Axis(0, 1, _LEFT, _RIGHT, "recall", percent=True)
    y = Axis(0, 1, _BOTTOM, _TOP, "precision", percent=True)
    legend = [f"{name} (AUPRC {_area(auprc(*pair))})" for name, pair in curves.items()]
    canvas = _canvas(title, x, y, legend)
    for base in sorted({float(np.mean(numbers("labels", pair[0]))) for pair in curves.values()}):
        height = float(y.place(base))
        canvas.line((_LEFT, _RIGHT), (height, height), "guide")
    for index, (labels, scores) in enumerate(curves.values()):
        recall, precision, _ = pr_curve(labels, scores)
        steps = np.concatenate([[0.0], np.repeat(recall, 2)[:-1]])
        _stroke(canvas, x.place(steps), y.place(np.repeat(precision, 2)), index)
    return canvas.render()


def reliability_plot(curves: Judged, *, title: str = "Calibration", bins: int = 10) -> str:
    """Reliability diagram: harmful share by predicted probability, with exact 95 % bounds."""
    x = Axis(0, 1, _LEFT, _RIGHT, "predicted probability of harm", percent=True)
    y = Axis(0, 1, _BOTTOM, _TOP, "share that is harmful", percent=True)
    legend = [
        f"{name} (calibration error {expected_calibration_error(*pair):.3f})"
        for name, pair in curves.items()
    ]
    canvas = _canvas(title, x, y, legend)
    canvas.line((_LEFT, _RIGHT), (_BOTTOM, _TOP), "guide")
    for index, (labels, scores) in enumerate(curves.values()):
        points = reliability_curve(labels, scores, bins)
        xs, ys = x.place(points.predicted), y.place(points.observed)
        for at, low, high in zip(xs, y.place(points.low), y.place(points.high), strict=True):
            canvas.line((at, at), (low, high), f"c{index % SERIES}")
        _stroke(canvas, xs, ys, index)
        for at, height in zip(xs, ys, strict=True):
            canvas.dot(at, height, f"f{index % SERIES}")
    return canvas.render()


def histogram_plot(
    labels: ArrayLike,
    scores: ArrayLike,
    threshold: float | None = None,
    *,
    title: str = "Scores by class",
    bins: int = 40,
) -> str:
    """Share of each class by score, benign and harmful over one another, with the threshold."""
    truth, values = labels_and(labels, scores)
    if not np.isfinite(values).all():
        raise DataError("scores: got infinite values; a histogram needs finite scores")
    unit = values.min() >= 0 and values.max() <= 1
    low, high = (0.0, 1.0) if unit else (float(values.min()), float(values.max()))
    high = high if high > low else low + 1
    edges = np.linspace(low, high, bins + 1)
    classes = [("benign", ~truth), ("harmful", truth)]
    shares = [np.histogram(values[of], edges)[0] / max(1, int(of.sum())) for _, of in classes]
    x = Axis(low, high, _LEFT, _RIGHT, "score")
    y = Axis(0, 1.05 * float(np.max(shares)), _BOTTOM, _TOP, "share of the class", percent=True)
    canvas = _canvas(title, x, y, [f"{name} ({int(of.sum()):,} rows)" for name, of in classes])
    for index, share in enumerate(shares):
        steps = x.place(np.repeat(edges, 2))
        heights = y.place(np.concatenate([[0.0], np.repeat(share, 2), [0.0]]))
        canvas.area(steps, heights, f"area f{index}")
        _stroke(canvas, steps, heights, index)
    if threshold is not None and low <= threshold <= high:
        at = float(x.place(threshold))
        canvas.line((at, at), (_BOTTOM, _TOP), "axis")
        side = "end" if at > (_LEFT + _RIGHT) / 2 else "start"
        shift = -6 if side == "end" else 6
        canvas.text(at + shift, _TOP + 14, f"threshold {threshold:.3g}", anchor=side, style="halo")
    return canvas.render()


def line_plot(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str,
    log: bool = False,
    percent: bool = False,
) -> str:
    """Lines with bands; `log` for the horizontal axis, `percent` for shares on the vertical one."""
    if not series:
        raise DataError("line_plot: got no series; expected at least one")
    lines = [_line(one) for one in series]
    xs = np.concatenate([line[0] for line in lines])
    ys = np.concatenate([np.concatenate(line[1:]) for line in lines])
    if log and xs.min() <= 0:
        raise DataError(f"x: got {xs.min():g}, expected values above 0 on a logarithmic axis")
    x = Axis(*_span(xs, log=log), _LEFT, _RIGHT, x_label, log=log)
    y = Axis(*((0.0, 1.0) if percent and ys.min() >= 0 and ys.max() <= 1 else _span(ys, pad=0.05)),
             _BOTTOM, _TOP, y_label, percent=percent)  # fmt: skip
    canvas = _canvas(title, x, y, [one.name for one in series])
    for index, (at, value, low, high) in enumerate(lines):
        if series[index].low is not None:
            outline = np.concatenate([y.place(low), y.place(high)[::-1]])
            band = f"band f{index % SERIES}"
            canvas.area(np.concatenate([x.place(at), x.place(at)[::-1]]), outline, band)
        _stroke(canvas, x.place(at), y.place(value), index)
        for column, height in zip(x.place(at), y.place(value), strict=True):
            canvas.dot(column, height, f"f{index % SERIES}", radius=2.5)
    return canvas.render()


def forest_plot(
    rows: Sequence[tuple[str, Interval]],
    *,
    title: str,
    x_label: str = "",
    target: float | None = None,
    percent: bool = False,
) -> str:
    """Horizontal bars with intervals, one a row, top to bottom; `target` draws a guide."""
    if not rows:
        raise DataError("forest_plot: got no rows; expected at least one")
    ends = np.array([[row.value, row.low, row.high] for _, row in rows])
    known = np.concatenate([ends[np.isfinite(ends)], [0.0] if target is None else [0.0, target]])
    low, high = _reach(known)
    widest = max(len(name) for name, _ in rows)
    left = min(210.0, 24 + 7.0 * widest)
    bottom = _TOP + 26.0 * len(rows)
    canvas = Canvas(title, _says(rows, percent), width=600, height=bottom + (50 if x_label else 30))
    x = Axis(low, high, left, 436, x_label, percent=percent)
    canvas.frame(x, Axis(0, 1, bottom, _TOP), rows=False)
    if target is not None:
        at = float(x.place(target))
        canvas.line((at, at), (bottom, _TOP), "guide")
    for index, (name, interval) in enumerate(rows):
        _bar(canvas, x, _TOP + 26 * index + 13, (name, interval))
    return canvas.render()


def _bar(canvas: Canvas, x: Axis, y: float, row: tuple[str, Interval]) -> None:
    name, interval = row
    room = int((x.start - 14) / 7)
    short = name if len(name) <= room else name[: room - 1] + "…"
    canvas.text(x.start - 8, y + 4, short, anchor="end")
    canvas.text(446, y + 4, format(interval, _spec(x.percent)), style="soft")
    if math.isfinite(interval.value):
        zero, end = float(x.place(0.0)), float(x.place(interval.value))
        corners = np.array([y - 7, y - 7, y + 7, y + 7])
        canvas.area(np.array([zero, end, end, zero]), corners, "area f0")
        canvas.dot(end, y, "f0", radius=3.5)
    if math.isfinite(interval.low) and math.isfinite(interval.high):
        canvas.line(
            (float(x.place(interval.low)), float(x.place(interval.high))), (y, y), "c0 line"
        )


def _says(rows: Sequence[tuple[str, Interval]], percent: bool) -> str:
    return "; ".join(f"{name}: {format(interval, _spec(percent))}" for name, interval in rows)


def _spec(percent: bool) -> str:
    return ".1%" if percent else ".3f"


def _canvas(title: str, x: Axis, y: Axis, legend: Sequence[str]) -> Canvas:
    """A canvas with frame and, below, one line of legend a series."""
    if not legend:
        raise DataError(f"{title}: got no curves or series; expected at least one")
    described = f"{y.label} over {x.label}: {'; '.join(legend)}"
    canvas = Canvas(title, described, height=_BOTTOM + 56 + 19 * len(legend))
    canvas.frame(x, y)
    for index, text in enumerate(legend):
        height = np.full(2, _BOTTOM + 60.0 + 19 * index)
        _stroke(canvas, np.array([_LEFT, _LEFT + 26]), height, index)
        canvas.text(_LEFT + 34, float(height[0]) + 4, text)
    return canvas


def _stroke(canvas: Canvas, x: FloatArray, y: FloatArray, index: int) -> None:
    canvas.path(x, y, f"line c{index % SERIES}", dash=_DASHES[index % SERIES])


def _area(value: float) -> str:
    if math.isnan(value):
        raise DataError("labels: got one class only, expected harmful and benign rows in a curve")
    return f"{value:.3f}"


def _span(values: FloatArray, *, pad: float = 0.0, log: bool = False) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if high == low:
        return (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
    return low - pad * (high - low), high + pad * (high - low)


def _reach(values: FloatArray) -> tuple[float, float]:
    """The axis of bars: from zero, or a round number below it, to the next round number."""
    low, high = float(values.min()), float(values.max())
    if high == low:
        return low, low + 1
    step = ticks(0.0, high - low)[1]
    top = math.ceil(high / step - 1e-9) * step
    return math.floor(low / step + 1e-9) * step, min(top, 1.0) if high <= 1 else top


def _line(series: Series) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """x, y, low, high; without a band the latter two are y."""
    if (series.low is None) != (series.high is None):
        raise DataError(f"series {series.name!r}: a band needs both low and high")
    low = series.y if series.low is None else series.low
    high = series.y if series.high is None else series.high
    columns: dict[str, ArrayLike] = {"x": series.x, "y": series.y, "low": low, "high": high}
    arrays = {name: numbers(f"{series.name} {name}", column) for name, column in columns.items()}
    same_length(arrays)
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise DataError(f"series {series.name!r}: {name} holds infinite values; leave them out")
    return arrays["x"], arrays["y"], arrays["low"], arrays["high"]
