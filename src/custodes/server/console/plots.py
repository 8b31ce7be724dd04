"""Plots over time as inline SVG that is as wide as its page: bars, stacked bars, lines.

Lengths across are percentages, so text keeps its size at every width, and colors are classes of
the console's style sheet, since the page's policy forbids inline style. What the values mean is
not known here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from markupsafe import Markup

from custodes.measure.svg import escape, number, ticks
from custodes.server.console.records import Window

__all__ = ["Series", "Unit", "bars", "lines", "stacks"]

_TOP, _HEIGHT, _BOTTOM = 8.0, 150.0, 24.0
_WHOLE = _TOP + _HEIGHT + _BOTTOM
_WIDE = 1000.0
_STEPS = (60, 120, 180, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800)
_TICKS = 7
_MARKS = 5

Values = Sequence[float | None]
"""One a bucket; None where there is nothing to show."""
Format = Callable[[float], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Named values; `style`: the number of their color (and dash) in the style sheet."""

    name: str
    values: Values
    style: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """How values are said: exactly in words (`show`), roundly beside the axis (`mark`)."""

    show: Format
    mark: Format


@dataclass(frozen=True, slots=True)
class _Scale:
    """Heights: data from `low` to `high`, logarithmic or not, with the marks beside them."""

    low: float
    high: float
    marks: Sequence[float]
    log: bool = False

    def y(self, value: float) -> float:
        low, high = self.low, self.high
        inside = min(max(value, low), high)
        if self.log:
            inside, low, high = math.log10(inside), math.log10(low), math.log10(high)
        return _TOP + _HEIGHT * (1 - (inside - low) / (high - low))


def bars(window: Window, values: Values, *, title: str, unit: Unit) -> Markup:
    """One bar a bucket, from zero."""
    scale = _from_zero(values)
    body = [
        _bar(place, len(values), (scale.y(0.0), scale.y(value)), "bar")
        for place, value in enumerate(values)
        if value
    ]
    tips = [None if value is None else unit.show(value) for value in values]
    peak = max((value for value in values if value is not None), default=0.0)
    says = f"{title}; at most {unit.show(peak)}"
    return _plot(window, scale, body, tips, unit=unit, says=says)


def stacks(window: Window, series: Sequence[Series], *, title: str, unit: Unit) -> Markup:
    """Bars of all series on top of one another, the first at the bottom."""
    count = _buckets(window)
    sums = [sum(each.values[place] or 0.0 for each in series) for place in range(count)]
    scale = _from_zero(sums)
    body = []
    for place in range(count):
        under = 0.0
        for each in series:
            value = each.values[place] or 0.0
            if value:
                ends = (scale.y(under), scale.y(under + value))
                body.append(_bar(place, count, ends, f"f{each.style}"))
            under += value
    tips = [_tip(series, place, unit) for place in range(count)]
    says = f"{title}; at most {unit.show(max(sums, default=0.0))} together"
    return _plot(window, scale, body, tips, unit=unit, says=says)


def lines(window: Window, series: Sequence[Series], *, title: str, unit: Unit) -> Markup:
    """A line a series on a logarithmic scale, broken where it has no value; values above 0."""
    every = [value for line in series for value in line.values if value is not None]
    scale = _logarithmic(every)
    body = [stroke for line in series for stroke in _strokes(line, scale)]
    tips = [_tip(series, place, unit) for place in range(_buckets(window))]
    says = "; ".join(
        f"{line.name} at most {unit.show(max(known))}"
        for line in series
        if (known := [value for value in line.values if value is not None])
    )
    return _plot(window, scale, body, tips, unit=unit, says=f"{title}; {says or 'no values'}")


def _bar(place: int, count: int, ends: tuple[float, float], style: str) -> str:
    wide = _WIDE / count
    return (
        f'<rect x="{number(place * wide + wide * 0.1)}" y="{number(ends[1])}" '
        f'width="{number(wide * 0.8)}" height="{number(ends[0] - ends[1])}" class="{style}"/>'
    )


def _buckets(window: Window) -> int:
    return (window.until - window.since) // window.bucket


def _from_zero(values: Values) -> _Scale:
    known = [value for value in values if value is not None]
    most = max(known, default=0.0) or 1.0
    marks = ticks(0.0, most, count=4)
    step = marks[1] if len(marks) > 1 else most
    count = math.ceil(most / step - 1e-9)
    return _Scale(0.0, count * step, [place * step for place in range(count + 1)])


def _logarithmic(values: Sequence[float]) -> _Scale:
    """From the round number below to the one above; marks at 1, 2, 5, or at decades alone."""
    known = [value for value in values if value > 0] or [1.0]
    low, high = min(known), max(known)
    first = math.floor(math.log10(low))
    round_ = [m * 10.0**p for p in range(first, math.ceil(math.log10(high)) + 1) for m in (1, 2, 5)]
    under = max(mark for mark in round_ if mark <= low * (1 + 1e-9))
    over = min(mark for mark in round_ if mark > under and mark >= high * (1 - 1e-9))
    marks = [mark for mark in round_ if under <= mark <= over]
    if len(marks) > _MARKS:
        marks = [mark for mark in marks if abs(math.log10(mark) - round(math.log10(mark))) < 1e-9]
    return _Scale(under, over, marks, log=True)


def _strokes(line: Series, scale: _Scale) -> list[str]:
    """The line's unbroken runs; a run of one value is a dot."""
    wide = _WIDE / len(line.values)
    runs: list[list[str]] = [[]]
    for place, value in enumerate(line.values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append(f"{number((place + 0.5) * wide)} {number(scale.y(value))}")
    return [
        f'<path d="M{" L".join(run)}{"" if len(run) > 1 else "h0.1"}" class="line c{line.style}"/>'
        for run in runs
        if run
    ]


def _tip(series: Sequence[Series], place: int, unit: Unit) -> str | None:
    known = [(line.name, line.values[place]) for line in series]
    said = [f"{name} {unit.show(value)}" for name, value in known if value]
    return ", ".join(said) or None


def _plot(
    window: Window,
    scale: _Scale,
    body: Sequence[str],
    tips: Sequence[str | None],
    *,
    unit: Unit,
    says: str,
) -> Markup:
    """Scale, grid, body, and over each bucket a field that tells its values."""
    scales, grid = [], []
    for mark in scale.marks:
        y = number(scale.y(mark))
        scales.append(
            f'<text x="100%" y="{y}" dy="4" class="mark end">{escape(unit.mark(mark))}</text>'
        )
        grid.append(f'<line x1="0" x2="100%" y1="{y}" y2="{y}" class="grid"/>')
    size = f'height="{number(_WHOLE)}"'
    # The lines are drawn in their own coordinates, which stretch; their width does not.
    drawn = (
        f'<svg width="100%" {size} viewBox="0 0 {number(_WIDE)} {number(_WHOLE)}" '
        f'preserveAspectRatio="none">{"".join(body)}</svg>'
    )
    # Every value in it was escaped or is a number.
    return Markup(  # noqa: S704
        f'<div class="plot"><svg class="scale" {size} aria-hidden="true">{"".join(scales)}</svg>'
        f'<svg class="field" width="100%" {size} role="img" aria-label="{escape(says)}">'
        f"{''.join(grid)}{drawn}{''.join(_times(window))}{''.join(_fields(window, tips))}"
        "</svg></div>"
    )


def _times(window: Window) -> list[str]:
    """Marks below: round times, about as many as fit a phone."""
    length = window.until - window.since
    step = next((each for each in _STEPS if length / each <= _TICKS), _STEPS[-1])
    found = []
    for at in range(math.ceil(window.since / step) * step, window.until, step):
        share = (at - window.since) / length
        if 0.04 <= share <= 0.96:
            text = _time(at, "%a %d" if step >= 86400 else "%H:%M")
            found.append(
                f'<line x1="{share:.2%}" x2="{share:.2%}" y1="{number(_TOP + _HEIGHT)}" '
                f'y2="{number(_TOP + _HEIGHT + 5)}" class="grid"/>'
                f'<text x="{share:.2%}" y="{number(_WHOLE - 4)}" class="mark middle">{text}</text>'
            )
    return found


def _fields(window: Window, tips: Sequence[str | None]) -> list[str]:
    wide = 1 / len(tips)
    day = "%a %d, %H:%M" if window.until - window.since > 86400 else "%H:%M"
    form = day if window.bucket >= 60 else "%H:%M:%S"
    return [
        f'<rect x="{place * wide:.3%}" y="{number(_TOP)}" width="{wide:.3%}" '
        f'height="{number(_HEIGHT)}" class="hit">'
        f"<title>{_time(window.since + place * window.bucket, form)}: {escape(tip)}</title></rect>"
        for place, tip in enumerate(tips)
        if tip is not None
    ]


def _time(at: int, form: str) -> str:
    return datetime.fromtimestamp(at, UTC).strftime(form)
