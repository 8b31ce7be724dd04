"""The heat map: a matrix as colored cells, with their values where there is room.

It does not know how rows should be ordered; cluster them first where that helps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from custodes.errors import DataError
from custodes.measure.arrays import FloatArray
from custodes.measure.svg import Canvas

__all__ = ["heat_map"]

# ColorBrewer's Blues and RdBu: ordered in lightness, so safe for any color vision and in gray.
_SEQUENTIAL = ((247, 251, 255), (107, 174, 214), (8, 48, 107))
_DIVERGING = ((178, 24, 43), (247, 247, 247), (33, 102, 172))
_WRITTEN = 15  # with more columns than this the cells are too narrow for figures
_ROW_NAME, _COLUMN_NAME = 30, 24  # characters of a name that are shown
_TOP = 38.0


@dataclass(frozen=True, slots=True)
class _Scale:
    """Which color a value has."""

    low: float
    high: float
    diverging: bool

    def text(self, value: float) -> str:
        """The value with as many decimals as the largest one needs for three digits."""
        largest = max(abs(self.low), abs(self.high))
        places = 2 - math.floor(math.log10(largest)) if largest else 0
        return f"{value:.{places}f}" if 0 <= places <= 3 else f"{value:.2g}"

    def color(self, value: float) -> FloatArray:
        """Red, green and blue, 0 to 255."""
        stops = np.array(_DIVERGING if self.diverging else _SEQUENTIAL, dtype=np.float64)
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return np.array([np.interp(share, [0, 0.5, 1], stops[:, part]) for part in range(3)])


def heat_map(
    values: ArrayLike,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str,
    diverging: bool = False,
    bounds: tuple[float, float] | None = None,
) -> str:
    """A matrix [rows x columns]; NaN cells stay empty.

    `diverging` puts white at zero and red below it; otherwise light is low and dark is high.
    `bounds`: the values that are lightest and darkest, so that maps compare; default: the least
    and the greatest.
    """
    matrix, known = _checked(values, rows, columns)
    low, high = float(known.min()), float(known.max())
    reach = f"values from {low:.3g} to {high:.3g}"
    low, high = bounds or (low, high)
    described = f"{len(rows)} rows, {len(columns)} columns, {reach}"
    if diverging:
        high = max(abs(low), abs(high))
        low = -high
    scale = _Scale(low, high, diverging)
    wide = 48.0 if len(columns) <= _WRITTEN else max(6.0, 620 / len(columns))
    tall = 28.0 if len(columns) <= _WRITTEN else wide
    left = 20 + 7.0 * min(_ROW_NAME, max(map(len, rows)))
    bottom = _TOP + tall * len(rows)
    key = bottom + 28 + 5.2 * min(_COLUMN_NAME, max(map(len, columns)))
    width = max(360.0, left + wide * len(columns) + 16)
    canvas = Canvas(title, described, width=width, height=key + 32)
    canvas.text(8, 20, title, style="head")
    for i, j in np.ndindex(matrix.shape):
        box = (left + wide * j, _TOP + tall * i, wide, tall)
        _cell(canvas, box, float(matrix[i, j]), scale)
    # Where cells are lower than letters, only every second or third name finds room.
    for i in range(0, len(rows), math.ceil(12 / tall)):
        canvas.text(left - 8, _TOP + tall * (i + 0.5) + 4, _short(rows[i], _ROW_NAME), anchor="end")
    for j in range(0, len(columns), math.ceil(18 / wide)):
        at, name = left + wide * (j + 0.5) + 4, _short(columns[j], _COLUMN_NAME)
        canvas.text(at, bottom + 14, name, anchor="end", turn=-40)
    _legend(canvas, key, scale)
    return canvas.render()


def _checked(
    values: ArrayLike, rows: Sequence[str], columns: Sequence[str]
) -> tuple[FloatArray, FloatArray]:
    """The matrix, and its finite values."""
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.shape != (len(rows), len(columns)) or matrix.size == 0:
        raise DataError(
            f"heat_map: got shape {matrix.shape} for {len(rows)} row and {len(columns)} column "
            "names, expected one name each and at least one cell"
        )
    known = matrix[np.isfinite(matrix)]
    if known.size == 0:
        raise DataError("heat_map: got no finite value; there is nothing to show")
    return matrix, known


def _cell(
    canvas: Canvas, box: tuple[float, float, float, float], value: float, scale: _Scale
) -> None:
    x, y, width, height = box
    written = width >= 40
    middle = (x + width / 2, y + height / 2 + 4)
    if not np.isfinite(value):
        if written:
            canvas.text(*middle, "–", anchor="middle", style="soft")
        return
    color = scale.color(value)
    canvas.box((x, y, width - 1, height - 1), color)
    if written:
        light = float(color @ np.array([0.299, 0.587, 0.114])) > 140
        style = "small ink" if light else "small chalk"
        canvas.text(*middle, scale.text(value), anchor="middle", style=style)


def _legend(canvas: Canvas, y: float, scale: _Scale) -> None:
    """The key of colors: low on the left, high on the right."""
    low = f"{scale.low:.3g}"
    start = 16 + 7.0 * len(low)
    canvas.text(8, y + 11, low, style="soft")
    for step, value in enumerate(np.linspace(scale.low, scale.high, 32)):
        canvas.box((start + 5 * step, y, 5.3, 12), scale.color(float(value)))
    canvas.text(start + 168, y + 11, f"{scale.high:.3g}", style="soft")


def _short(name: str, room: int) -> str:
    return name if len(name) <= room else name[: room - 1] + "…"
