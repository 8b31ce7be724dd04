"""Drawings of components as SVG: vectors in the plane, neuron contributions, importances.

Pure functions of arrays. Knows neither method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from custodes.measure import Series, heat_map, line_plot
from custodes.measure.svg import Axis, Canvas
from custodes.methods.decomposition.metrics.importance import identity_order, order_of
from custodes.methods.decomposition.targets.base import Pattern

__all__ = ["contribution_scatter", "curve_plot", "importance_map", "vector_panels"]

Floats = NDArray[np.float64]

_PANEL, _GAP = 118.0, 14.0
_SHOWN = 6
_MAP_COLUMNS = 60


def vector_panels(target: Floats, total: Floats, components: Floats, *, title: str) -> str:
    """Columns as vectors in the plane: the target's, the components' sum, the largest components.

    `target` and `total` [J, 2], `components` [C, J, 2]. A color is a column.
    """
    sizes = np.linalg.norm(components, axis=(1, 2))
    largest = np.argsort(-sizes, kind="stable")[:_SHOWN]
    panels = [("target", target), ("sum", total)]
    panels += [(f"component {c}", components[c]) for c in largest]
    reach = 1.15 * max(float(np.abs(vectors).max()) for _, vectors in panels) or 1.0
    described = f"{len(target)} columns; the {len(largest)} largest of {len(components)} components"
    width = 20 + len(panels) * (_PANEL + _GAP)
    canvas = Canvas(title, described, width=width, height=_PANEL + 62)
    canvas.text(10, 20, title, style="head")
    for number, (name, vectors) in enumerate(panels):
        left = 10 + number * (_PANEL + _GAP)
        _panel(canvas, left, vectors, reach)
        canvas.text(left + _PANEL / 2, _PANEL + 52, name, anchor="middle", style="soft")
    return canvas.render()


def _panel(canvas: Canvas, left: float, vectors: Floats, reach: float) -> None:
    middle, top = left + _PANEL / 2, 32 + _PANEL / 2
    canvas.line((left, left + _PANEL), (top, top), "grid")
    canvas.line((middle, middle), (32, 32 + _PANEL), "grid")
    for index, (x, y) in enumerate(vectors * (_PANEL / 2 / reach)):
        canvas.line((middle, middle + x), (top, top - y), f"line c{index % 6}")
        canvas.dot(middle + x, top - y, f"f{index % 6}", radius=2.5)


def contribution_scatter(target: Floats, found: Floats, *, title: str) -> str:
    """Each neuron's contribution to each feature: the target's and its component's."""
    low = float(min(target.min(), found.min()))
    high = float(max(target.max(), found.max()))
    pad = 0.05 * (high - low) or 1.0
    x = Axis(low - pad, high + pad, 66, 500, "neuron contribution in the target")
    y = Axis(low - pad, high + pad, 320, 38, "in the feature's component")
    agreement = float(np.corrcoef(target.ravel(), found.ravel())[0, 1])
    described = f"{target.size} contributions; correlation {agreement:.4f}"
    canvas = Canvas(title, described, height=366)
    canvas.frame(x, y)
    ends = np.array([low, high])
    canvas.path(x.place(ends), y.place(ends), "guide")
    # Small contributions lie on one another: points that fall together are drawn once.
    pairs: Floats = np.unique(np.round(np.column_stack([target.ravel(), found.ravel()]), 3), axis=0)
    for a, b in zip(x.place(pairs[:, 0]), y.place(pairs[:, 1]), strict=True):
        canvas.dot(float(a), float(b), "f0 area", radius=2.5)
    return canvas.render()


def importance_map(importances: Floats, pattern: Pattern | None, *, title: str) -> str:
    """Importances on one-hot inputs, components in the order in which the pattern shows."""
    if pattern is not None:
        order = order_of(importances, pattern)
    elif importances.shape[1] >= importances.shape[0]:
        order = identity_order(importances)
    else:
        order = np.arange(importances.shape[1])
    shown = order[: min(_MAP_COLUMNS, max(len(importances), 10))]
    rows = min(_MAP_COLUMNS, len(importances))
    return heat_map(
        importances[:rows, shown],
        [f"feature {row}" for row in range(rows)],
        [f"component {column}" for column in shown],
        title=title,
        bounds=(0.0, 1.0),
    )


def curve_plot(
    curve: Sequence[Mapping[str, Any]], losses: Sequence[str], instance: slice, *, title: str
) -> str:
    """Losses along training as powers of ten: the mean over the instances that are finite there.

    `DataError` where none is anywhere.
    """
    series = []
    for name in losses:
        steps, means = [], []
        for line in curve:
            values = np.array(line[name][instance], dtype=np.float64)
            if np.isfinite(values).any():
                steps.append(line["step"])
                means.append(float(values[np.isfinite(values)].mean()))
        if steps:
            series.append(Series(name, steps, np.log10(np.maximum(means, 1e-12))))
    return line_plot(series, title=title, x_label="step", y_label="log10 of the loss")
