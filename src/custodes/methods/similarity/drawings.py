"""Drawings of similarities as SVG: clustered heat map, scatter with a fitted line, trend.

Pure functions of arrays. Knows no study.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from custodes.errors import DataError
from custodes.measure import Series, heat_map, line_plot
from custodes.measure.svg import Axis, Canvas
from custodes.methods.similarity.answers import Floats, Integers
from custodes.methods.similarity.capability import TrendBin

__all__ = ["cluster_order", "clustered_map", "scatter_plot", "trend_plot"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 500.0, 34.0, 300.0
_COLORS = 6


def cluster_order(matrix: Floats) -> Integers:
    """An order of models that puts like ones side by side (average linkage of 1 - similarity).

    Undefined similarities count as the mean one.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    if len(matrix) < 3:
        return np.arange(len(matrix))
    off = matrix[~np.eye(len(matrix), dtype=bool)]
    filled = np.where(np.isnan(matrix), np.nanmean(off) if np.isfinite(off).any() else 0.0, matrix)
    distance = np.maximum(0.0, filled[~np.eye(len(matrix), dtype=bool)].max() - filled)
    np.fill_diagonal(distance, 0.0)
    condensed = squareform((distance + distance.T) / 2, checks=False)
    tree = linkage(condensed, method="average")
    # The best order of leaves is cubic in time: for large tables the tree's own will do.
    return np.asarray(
        leaves_list(optimal_leaf_ordering(tree, condensed) if len(matrix) <= 200 else tree)
    )


def clustered_map(
    matrix: Floats, names: Sequence[str], *, title: str, diverging: bool = True
) -> str:
    """The similarity matrix as a heat map, like models side by side.

    `diverging` puts white at zero: right for what is corrected for chance, wrong for a share.
    """
    order = cluster_order(matrix)
    shown = [names[row] for row in order]
    return heat_map(matrix[np.ix_(order, order)], shown, shown, title=title, diverging=diverging)


def scatter_plot(
    groups: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    title: str,
    x_label: str,
    y_label: str,
    one_line: bool = True,
) -> str:
    """Points of named groups with the least-squares line through all, or through each group."""
    if not groups:
        raise DataError(f"{title}: got no points")
    columns = {
        name: (np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64))
        for name, (x, y) in groups.items()
    }
    xs = np.concatenate([x for x, _ in columns.values()])
    ys = np.concatenate([y for _, y in columns.values()])
    if not len(xs) or not (np.isfinite(xs).all() and np.isfinite(ys).all()):
        raise DataError(f"{title}: got {len(xs)} points; expected at least one, all finite")
    x = Axis(*_span(xs), _LEFT, _RIGHT, x_label)
    y = Axis(*_span(ys), _BOTTOM, _TOP, y_label)
    described = f"{len(xs)} points of {', '.join(groups)}: {y_label} over {x_label}"
    canvas = Canvas(title, described, height=_BOTTOM + 56 + 19 * len(groups))
    canvas.frame(x, y)
    for index, (name, (at, value)) in enumerate(columns.items()):
        style = f"f{index % _COLORS}"
        for column, row in zip(x.place(at), y.place(value), strict=True):
            canvas.dot(float(column), float(row), style, radius=2.5)
        height = _BOTTOM + 60 + 19 * index
        canvas.dot(_LEFT + 13, height, style, radius=5)
        canvas.text(_LEFT + 34, height + 4, name)
    for index, (at, value) in enumerate([(xs, ys)] if one_line else columns.values()):
        _fitted_line(canvas, (x, y), (at, value), f"line c{index % _COLORS}")
    return canvas.render()


def _fitted_line(
    canvas: Canvas, axes: tuple[Axis, Axis], points: tuple[Floats, Floats], style: str
) -> None:
    (x, y), (xs, ys) = axes, points
    if len(xs) < 2 or not xs.std() > 0:
        return
    slope, start = np.polyfit(xs, ys, 1)
    ends = np.linspace(x.low, x.high, 200)
    fitted = start + slope * ends
    inside = (fitted >= y.low) & (fitted <= y.high)
    canvas.path(x.place(ends[inside]), y.place(fitted[inside]), style)


def _span(values: Floats) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    pad = 0.05 * (high - low) or 0.5
    return low - pad, high + pad


def trend_plot(
    trends: Mapping[str, Sequence[TrendBin]], *, title: str, x_label: str, y_label: str
) -> str:
    """Bin means with their intervals as bands, one line a name."""
    series = [
        Series(
            name,
            [one.accuracy for one in bins],
            [one.similarity.value for one in bins],
            [one.similarity.low for one in bins],
            [one.similarity.high for one in bins],
        )
        for name, bins in trends.items()
    ]
    return line_plot(series, title=title, x_label=x_label, y_label=y_label)
