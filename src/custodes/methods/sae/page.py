"""The feature page: what a feature is active on, what it promotes, how it is described.

One static HTML file: nothing is fetched, nothing runs, every text is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from jinja2 import StrictUndefined, Template
from jinja2.sandbox import SandboxedEnvironment
from markupsafe import Markup
from numpy.typing import NDArray

from custodes.measure import Series, line_plot
from custodes.methods.sae.evidence import Evidence

__all__ = ["FeatureView", "feature_page", "histogram"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureView:
    """One feature as it is shown. `steered`: clamp and text. `histogram`: SVG, or empty."""

    evidence: Evidence
    descriptions: Mapping[str, str]
    density: float
    greatest: float
    histogram: str = ""
    steered: Sequence[tuple[float, str]] = ()

    @property
    def name(self) -> str:
        """The feature's name."""
        return self.evidence.name

    @property
    def headline(self) -> str:
        """Its first description, cut."""
        first = next((text for text in self.descriptions.values() if text), "")
        return first if len(first) <= 60 else first[:59] + "…"


def histogram(values: NDArray[np.float64], *, bins: int = 30) -> str:
    """Count of activations above 0 by size, as SVG; empty where there are none."""
    positive = values[values > 0]
    if not len(positive):
        return ""
    counts, edges = np.histogram(positive, bins=bins, range=(0, float(positive.max())))
    middle = (edges[1:] + edges[:-1]) / 2
    return line_plot(
        [Series("tokens", middle, counts.astype(np.float64))],
        title="Activations above 0",
        x_label="activation",
        y_label="tokens",
    )


def feature_page(title: str, summary: str, views: Sequence[FeatureView]) -> str:
    """The page of several features."""
    page = _template().render(title=title, summary=summary, views=views)
    # A lone surrogate, as a piece of a token may hold, cannot be written as UTF-8.
    return page.encode("utf-8", "replace").decode("utf-8")


@cache
def _template() -> Template:
    environment = SandboxedEnvironment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(drawing=Markup, zip=lambda one, two: zip(one, two, strict=True))
    source = files("custodes.methods.sae").joinpath("page.html").read_text("utf-8")
    return environment.from_string(source)
