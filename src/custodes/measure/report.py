"""A report: one self-contained HTML page, and the same content as plain JSON values.

Nothing is fetched and nothing runs: the page's own policy forbids scripts and outside resources,
and every text is escaped. Drawings alone are taken as they are, so give only SVG that
`custodes.measure` made. What the figures mean is not known here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, ClassVar, Literal

from jinja2 import StrictUndefined, Template
from jinja2.sandbox import SandboxedEnvironment
from markupsafe import Markup

from custodes.errors import DataError
from custodes.measure.intervals import Interval

__all__ = ["Card", "Cards", "Cell", "Plot", "Plots", "Prose", "Report", "Section", "Table"]

Cell = str | int | float | bool | Interval | None
"""What stands in a table or on a card; None and NaN are shown as a dash, null in JSON."""


@dataclass(frozen=True, slots=True)
class Prose:
    """Paragraphs of plain text."""

    kind: ClassVar[str] = "prose"
    text: str

    @property
    def paragraphs(self) -> list[str]:
        """The text cut at empty lines."""
        return [part.strip() for part in self.text.split("\n\n") if part.strip()]

    def values(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"kind": self.kind, "text": self.text}


@dataclass(frozen=True, slots=True)
class Card:
    """One headline figure; `spec` formats it.

    `met` says whether its target is reached; by value: though an end of its interval misses it.
    """

    label: str
    value: Cell
    note: str = ""
    met: bool | Literal["by value"] | None = None
    spec: str = ".3f"

    def values(self) -> dict[str, Any]:
        """Plain JSON."""
        value = _plain(self.value)
        return {"label": self.label, "value": value, "note": self.note, "met": self.met}


@dataclass(frozen=True, slots=True)
class Cards:
    """Headline figures side by side."""

    kind: ClassVar[str] = "cards"
    cards: Sequence[Card]

    def values(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"kind": self.kind, "cards": [card.values() for card in self.cards]}


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns; the first column names the row. Cells may be intervals.

    `spec` formats every number, or is one format a column.
    """

    kind: ClassVar[str] = "table"
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    spec: str | Sequence[str] = ".3f"

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise DataError(
                    f"table {self.caption!r}, row {number}: got {len(row)} cells, expected "
                    f"{len(self.columns)}, one a column"
                )
        if not isinstance(self.spec, str) and len(self.spec) != len(self.columns):
            raise DataError(
                f"table {self.caption!r}: got {len(self.spec)} formats, expected one, or "
                f"{len(self.columns)}, one a column"
            )

    def spec_of(self, column: int) -> str:
        """The format of a column's numbers."""
        return self.spec if isinstance(self.spec, str) else self.spec[column]

    def numeric(self, column: int) -> bool:
        """Whether the column holds figures only, and so stands to the right."""
        cells = [row[column] for row in self.rows if row[column] is not None]
        return bool(cells) and not any(isinstance(cell, str | bool) for cell in cells)

    def values(self) -> dict[str, Any]:
        """Plain JSON: the rows as lists in the order of the columns."""
        rows = [[_plain(cell) for cell in row] for row in self.rows]
        return {
            "kind": self.kind,
            "caption": self.caption,
            "columns": list(self.columns),
            "rows": rows,
        }


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing made by `custodes.measure` and its caption."""

    svg: str
    caption: str = ""

    def __post_init__(self) -> None:
        if not self.svg.startswith("<svg "):
            raise DataError(
                f"plot: got {self.svg[:40]!r}, expected SVG as the plot functions give it"
            )


@dataclass(frozen=True, slots=True)
class Plots:
    """Drawings side by side, as many as fit."""

    kind: ClassVar[str] = "plots"
    plots: Sequence[Plot]

    def values(self) -> dict[str, Any]:
        """Plain JSON: captions only; the figures stand in tables."""
        return {"kind": self.kind, "captions": [plot.caption for plot in self.plots]}


@dataclass(frozen=True, slots=True)
class Section:
    """A headed part of a report."""

    title: str
    blocks: Sequence[Prose | Cards | Table | Plots]

    def values(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"title": self.title, "blocks": [block.values() for block in self.blocks]}


@dataclass(frozen=True, slots=True)
class Report:
    """A whole report; `facts` (seed, versions, command...) stand at its foot."""

    title: str
    summary: str
    sections: Sequence[Section] = ()
    facts: Mapping[str, Cell] = field(default_factory=dict)

    def html(self) -> str:
        """One self-contained page: light and dark, wide and narrow, screen and paper."""
        page = _template().render(report=self)
        # A lone surrogate, as hostile text may hold, cannot be written as UTF-8.
        return page.encode("utf-8", "replace").decode("utf-8")

    def values(self) -> dict[str, Any]:
        """The same content as plain JSON values, without the drawings."""
        return {
            "title": self.title,
            "summary": self.summary,
            "sections": [section.values() for section in self.sections],
            "facts": {name: _plain(value) for name, value in self.facts.items()},
        }


@cache
def _template() -> Template:
    environment = SandboxedEnvironment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(figure=_figure, bounds=_bounds, drawing=Markup)
    source = files("custodes.measure").joinpath("templates/report.html").read_text("utf-8")
    return environment.from_string(source)


def _figure(cell: Cell, spec: str) -> str:
    if isinstance(cell, Interval):
        return _figure(cell.value, spec)
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "–"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    return format(cell, spec) if isinstance(cell, float) else cell


def _bounds(cell: Cell, spec: str) -> str:
    if not isinstance(cell, Interval) or math.isnan(cell.low) or math.isnan(cell.high):
        return ""
    return f"[{cell.low:{spec}}, {cell.high:{spec}}]"


def _plain(cell: Cell) -> Any:
    if isinstance(cell, Interval):
        return cell.to_values()
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
