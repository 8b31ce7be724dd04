"""Hand-written SVG: a canvas with axes that plots draw on.

It knows pixels, ticks and escaping, not what is plotted. Every text is escaped here. Colors are
classes with a style of their own for light and for dark; the palette is Okabe and Ito's (2008),
told apart with any color vision, and lines differ in dashes too.
"""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass, field
from xml.sax.saxutils import escape as _escape

import numpy as np

from custodes.measure.arrays import FloatArray

__all__ = ["SERIES", "Axis", "Canvas", "escape", "number", "ticks"]

SERIES = 6
"""How many series have a color of their own (classes `c0` to `c5`); then they come round again."""

_LIGHT = "--c0:#0072b2;--c1:#d55e00;--c2:#00835f;--c3:#b0548a;--c4:#8a6d00;--c5:#2a8fc7"
_DARK = "--c0:#56b4e9;--c1:#f0883e;--c2:#2fc79a;--c3:#e39ac5;--c4:#e6c84f;--c5:#9ad1f5"
_RULES = (
    ".cu{font:13px system-ui,-apple-system,'Segoe UI',sans-serif;"
    f"--ink:#1f2328;--soft:#59636e;--grid:#e3e7eb;--paper:#fff;{_LIGHT}}}",
    "@media(prefers-color-scheme:dark){.cu{"
    f"--ink:#e6edf3;--soft:#9aa5b1;--grid:#30363d;--paper:#0d1117;{_DARK}}}}}",
    f"@media print{{.cu{{--ink:#000;--soft:#333;--grid:#ddd;--paper:#fff;{_LIGHT}}}}}",
    ".cu text{fill:var(--ink)}",
    ".cu .soft{fill:var(--soft);font-size:12px}",
    ".cu .head{font-weight:600;font-size:14px}",
    ".cu .grid{stroke:var(--grid)}",
    ".cu .axis{stroke:var(--soft)}",
    ".cu .line{fill:none;stroke-width:2;stroke-linejoin:round}",
    ".cu .guide{stroke:var(--soft);stroke-dasharray:4 4;fill:none}",
    ".cu .band{opacity:.18;stroke:none}",
    ".cu .area{opacity:.3}",
    # On a heat map's cell, whose color is the same in light and in dark.
    ".cu .small{font-size:11px}.cu .ink{fill:#111}.cu .chalk{fill:#fff}",
    ".cu .halo{paint-order:stroke;stroke:var(--paper);stroke-width:4px;stroke-linejoin:round}",
    *(f".cu .c{i}{{stroke:var(--c{i})}}.cu .f{i}{{fill:var(--c{i})}}" for i in range(SERIES)),
)
_STYLE = "".join(_RULES)

# What XML 1.0 forbids, section 2.2: control characters, surrogates, U+FFFE and U+FFFF.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def escape(text: object) -> str:
    """Text that is safe in SVG content and attributes; what XML forbids becomes U+FFFD."""
    legal = _ILLEGAL.sub("\ufffd", str(text))
    return _escape(legal, {'"': "&quot;", "'": "&#39;"})


def number(value: float) -> str:
    """A pixel, to a tenth, without a trailing zero."""
    return f"{value:.1f}".removesuffix(".0")


def ticks(low: float, high: float, *, count: int = 6) -> list[float]:
    """About `count` round numbers (1, 2, 2.5 or 5 times a power of ten) within [low, high]."""
    raw = (high - low) / max(1, count - 1)
    # Below the smallest normal number there is no power of ten to count by.
    if not (math.isfinite(raw) and raw >= sys.float_info.min):
        return [low]
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


@dataclass(frozen=True, slots=True)
class Axis:
    """One direction: data from `low` to `high` placed on pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    label: str = ""
    log: bool = False
    percent: bool = False

    def place(self, values: FloatArray | float) -> FloatArray:
        """Pixels of data values, clipped to the axis."""
        data = np.clip(np.asarray(values, dtype=np.float64), self.low, self.high)
        low, high = self.low, self.high
        if self.log:
            data, low, high = np.log10(data), math.log10(low), math.log10(high)
        return self.start + (data - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Where the ticks stand, in data, with their texts."""
        if self.log:
            first = math.ceil(math.log10(self.low) - 1e-9)
            last = math.floor(math.log10(self.high) + 1e-9)
            values = [10.0**power for power in range(first, last + 1)]
            return [(v, f"{100 * v:g}%" if self.percent else f"{v:g}") for v in values]
        values = ticks(self.low, self.high)
        texts = [100 * v if self.percent else v for v in values]
        step = abs(texts[1] - texts[0]) if len(texts) > 1 else 1.0
        # As many decimals as the step needs: 0.25 two, 20 none.
        places = next((d for d in range(7) if abs(round(step, d) - step) < 1e-9 * step), 6)
        mark = "%" if self.percent else ""
        return [(v, f"{t + 0.0:,.{places}f}{mark}") for v, t in zip(values, texts, strict=True)]


@dataclass(slots=True)
class Canvas:
    """A drawing in the making: add elements, then `render`."""

    title: str
    description: str
    width: float = 520
    height: float = 380
    parts: list[str] = field(default_factory=list)

    def text(
        self,
        x: float,
        y: float,
        text: object,
        *,
        anchor: str = "start",
        style: str = "",
        turn: int = 0,
    ) -> None:
        """A line of text at a point; `turn` in degrees about it."""
        turned = f' transform="rotate({turn} {number(x)} {number(y)})"' if turn else ""
        named = f' class="{style}"' if style else ""
        self.parts.append(
            f'<text x="{number(x)}" y="{number(y)}" text-anchor="{anchor}"{named}{turned}>'
            f"{escape(text)}</text>"
        )

    def line(self, x: tuple[float, float], y: tuple[float, float], style: str) -> None:
        """A straight line."""
        self.parts.append(
            f'<line x1="{number(x[0])}" y1="{number(y[0])}" x2="{number(x[1])}" '
            f'y2="{number(y[1])}" class="{style}"/>'
        )

    def path(self, x: FloatArray, y: FloatArray, style: str, *, dash: str = "") -> None:
        """A line through pixels; points that fall on the same tenth of a pixel are drawn once."""
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<polyline points="{_points(x, y)}" class="{style}"{dashed}/>')

    def area(self, x: FloatArray, y: FloatArray, style: str) -> None:
        """A filled shape with corners at pixels."""
        self.parts.append(f'<polygon points="{_points(x, y)}" class="{style}"/>')

    def box(self, place: tuple[float, float, float, float], color: FloatArray) -> None:
        """A rectangle (x, y, width, height) of one color (red, green, blue, 0 to 255)."""
        x, y, width, height = (number(part) for part in place)
        red, green, blue = (round(float(part)) for part in color)
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" '
            f'fill="rgb({red},{green},{blue})"/>'
        )

    def dot(self, x: float, y: float, style: str, *, radius: float = 4) -> None:
        """A filled circle."""
        self.parts.append(
            f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(radius)}" class="{style}"/>'
        )

    def frame(self, x: Axis, y: Axis, *, rows: bool = True) -> None:
        """Grid, ticks, labels and title; with `rows` false the vertical axis carries no scale."""
        for value, text in x.ticks():
            at = float(x.place(value))
            self.line((at, at), (y.start, y.end), "grid")
            self.text(at, y.start + 18, text, anchor="middle", style="soft")
        for value, text in y.ticks() if rows else ():
            at = float(y.place(value))
            self.line((x.start, x.end), (at, at), "grid")
            self.text(x.start - 8, at + 4, text, anchor="end", style="soft")
        self.line((x.start, x.end), (y.start, y.start), "axis")
        self.line((x.start, x.start), (y.start, y.end), "axis")
        if x.label:
            self.text((x.start + x.end) / 2, y.start + 38, x.label, anchor="middle", style="soft")
        if y.label:
            middle = (y.start + y.end) / 2
            self.text(14, middle, y.label, anchor="middle", style="soft", turn=-90)
        self.text(x.start, 20, self.title, style="head")

    def render(self) -> str:
        """The finished SVG: scales with its container, named and described for screen readers."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="cu" role="img" '
            f'viewBox="0 0 {number(self.width)} {number(self.height)}" width="100%" '
            f'style="max-width:{number(self.width)}px" aria-label="{escape(self.title)}">'
            f"<title>{escape(self.title)}</title><desc>{escape(self.description)}</desc>"
            f"<style>{_STYLE}</style>{''.join(self.parts)}</svg>"
        )


def _points(x: FloatArray, y: FloatArray) -> str:
    pixels = np.round(np.column_stack([x, y]), 1)
    keep = np.append(True, np.any(pixels[1:] != pixels[:-1], axis=1))
    return " ".join(f"{number(a)},{number(b)}" for a, b in pixels[keep])
