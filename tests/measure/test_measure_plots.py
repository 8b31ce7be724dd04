"""Plots: well-formed, named, escaped, in their frame; malformed input refused."""

import math
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest

from custodes.errors import DataError
from custodes.measure import (
    Interval,
    Series,
    forest_plot,
    heat_map,
    histogram_plot,
    line_plot,
    pr_plot,
    reliability_plot,
    roc_plot,
)
from custodes.measure.svg import Axis, escape, ticks

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, 300)
SCORES = np.clip(RNG.normal(0.3 + 0.4 * LABELS, 0.2), 0, 1)
HOSTILE = '<script>alert("1")</script>&\x00\ud800'
SVG = "{http://www.w3.org/2000/svg}"
NAMES = {HOSTILE: (LABELS, SCORES), "other": (LABELS, 1 - SCORES)}

PLOTS: dict[str, Callable[[str], str]] = {
    "roc": lambda t: roc_plot(NAMES, title=t),
    "roc, log": lambda t: roc_plot(NAMES, title=t, log=True),
    "pr": lambda t: pr_plot(NAMES, title=t),
    "reliability": lambda t: reliability_plot(NAMES, title=t),
    "histogram": lambda t: histogram_plot(LABELS, SCORES, 0.4, title=t),
    "histogram, log-odds": lambda t: histogram_plot(LABELS, 9 * SCORES, 8.0, title=t),
    "histogram, one score": lambda t: histogram_plot([0, 1], [3.0, 3.0], 7.0, title=t),
    "line": lambda t: line_plot(
        [Series(HOSTILE, [1, 10, 100], [1, 2, 3], [0, 1, 2], [2, 3, 4]), Series("b", [1], [2])],
        title=t, x_label=HOSTILE, y_label=HOSTILE, log=True,
    ),
    "line, one point": lambda t: line_plot(
        [Series("a", [5], [0.5])], title=t, x_label="x", y_label="y", percent=True
    ),
    "line, one point, log": lambda t: line_plot(
        [Series("a", [5], [-2])], title=t, x_label="x", y_label="y", log=True
    ),
    "forest": lambda t: forest_plot(
        [(HOSTILE, Interval(0.5, 0.4, 0.6)), ("x" * 99, Interval(0.1, math.nan, math.nan)),
         ("none", Interval(math.nan, 0, 1))], title=t, target=0.7, percent=True,
    ),
    "forest, differences": lambda t: forest_plot(
        [("a", Interval(-2, -3, -1)), ("b", Interval(4, 3, 5))], title=t, x_label=HOSTILE
    ),
    "forest, zeros": lambda t: forest_plot([("a", Interval(0, 0, 0))], title=t),
    "heat": lambda t: heat_map([[0.1, math.nan], [-0.5, 1]], [HOSTILE, "b"], ["c" * 40, "d"],
                               title=t, diverging=True),
    "heat, one value": lambda t: heat_map([[1.0]], ["a"], ["b"], title=t),
    "heat, large": lambda t: heat_map(
        np.where(np.eye(60), np.nan, RNG.random((60, 60))), [f"r{i}" for i in range(60)],
        [f"c{i}" for i in range(60)], title=t,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLOTS)
def test_every_plot_is_well_formed_named_and_escaped(name: str) -> None:
    text = PLOTS[name](HOSTILE)
    assert text.startswith("<svg ")
    assert "<script" not in text
    root = ElementTree.fromstring(text)
    assert root.get("role") == "img"
    assert root.find(f"{SVG}title").text.startswith('<script>alert("1")</script>&')
    assert root.find(f"{SVG}desc").text
    assert "nan" not in text.replace("nance", "")
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    text.encode("utf-8")


@pytest.mark.parametrize("name", PLOTS)
def test_nothing_is_drawn_outside_the_picture(name: str) -> None:
    root = ElementTree.fromstring(PLOTS[name]("a title"))
    _, _, width, height = map(float, root.get("viewBox").split())
    for element in root.iter():
        for points in filter(None, [element.get("points")]):
            for x, y in (map(float, point.split(",")) for point in points.split()):
                assert 0 <= x <= width
                assert 0 <= y <= height
        for key, limit in (("x1", width), ("x2", width), ("y1", height), ("y2", height),
                           ("cx", width), ("cy", height), ("x", width), ("y", height)):  # fmt: skip
            assert 0 <= float(element.get(key, 0)) <= limit


def test_the_description_tells_the_figures() -> None:
    assert "guard (AUROC 1.000)" in roc_plot({"guard": ([0, 1], [0.1, 0.9])})
    forest = forest_plot([("a", Interval(0.5, 0.4, 0.6))], title="t", percent=True)
    assert "<desc>a: 50.0% [40.0%, 60.0%]</desc>" in forest


def test_a_long_curve_stays_small() -> None:
    labels = np.arange(200_000) % 2
    assert len(roc_plot({"chance": (labels, np.random.default_rng(0).random(200_000))})) < 200_000


def test_the_same_input_gives_the_same_picture() -> None:
    assert all(plot("t") == plot("t") for name, plot in PLOTS.items() if name != "heat, large")


@pytest.mark.parametrize(
    ("plot", "message"),
    [
        (lambda: roc_plot({"a": ([1, 1], [0.1, 0.2])}), "one class only"),
        (lambda: pr_plot({"a": ([0, 0], [0.1, 0.2])}), "one class only"),
        (lambda: roc_plot({}), "no curves"),
        (lambda: pr_plot({}), "no curves"),
        (lambda: reliability_plot({}), "no curves"),
        (lambda: histogram_plot([0, 1], [0, math.inf]), "infinite"),
        (lambda: line_plot([], title="", x_label="", y_label=""), "no series"),
        (lambda: line_plot([Series("a", [0], [1])], title="", x_label="", y_label="", log=True),
         "above 0"),
        (lambda: line_plot([Series("a", [0], [1], [1])], title="", x_label="", y_label=""),
         "both low and high"),
        (lambda: line_plot([Series("a", [0], [1, 2])], title="", x_label="", y_label=""),
         "different lengths"),
        (lambda: line_plot([Series("a", [0], [math.inf])], title="", x_label="", y_label=""),
         "infinite"),
        (lambda: forest_plot([], title=""), "no rows"),
        (lambda: heat_map([[1]], ["a"], ["b", "c"], title=""), "got shape"),
        (lambda: heat_map([[math.nan]], ["a"], ["b"], title=""), "no finite"),
    ],
)  # fmt: skip
def test_malformed_plots_are_errors(plot, message) -> None:
    with pytest.raises(DataError, match=message):
        plot()


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0, 0.03, [0, 0.01, 0.02, 0.03]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
        (3, 97, [20, 40, 60, 80]),
        (5, 5, [5]),
    ],
)
def test_ticks_are_round(low, high, expected) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_tick_texts_carry_the_decimals_they_need() -> None:
    def texts(low: float, high: float, **how: bool) -> list[str]:
        return [text for _, text in Axis(low, high, 0, 100, **how).ticks()]

    assert texts(0, 1, percent=True) == ["0%", "20%", "40%", "60%", "80%", "100%"]
    assert texts(0, 0.01, percent=True)[1] == "0.2%"
    assert texts(0, 10_000)[-1] == "10,000"
    assert texts(-1, 1) == ["-1.0", "-0.5", "0.0", "0.5", "1.0"]
    assert texts(0.001, 1, log=True, percent=True) == ["0.1%", "1%", "10%", "100%"]
    assert texts(1, 100, log=True) == ["1", "10", "100"]


def test_escaping_covers_attributes_and_forbidden_characters() -> None:
    assert escape("<a b='\"'>&\x0b") == "&lt;a b=&#39;&quot;&#39;&gt;&amp;\ufffd"


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([[2.24, -0.00613]], ["2.24", "-0.01"]),
        ([[0.0, 0.0]], ["0"]),
        ([[150.4, 2.0]], ["150", "2"]),
        ([[12_345.0, 0.0]], ["1.2e+04", "0"]),
        ([[1e-5, 2e-5]], ["1e-05", "2e-05"]),
    ],
)
def test_figures_on_a_heat_map_fit_their_cells(values, texts) -> None:
    picture = heat_map(values, ["a"], ["b", "c"], title="t")
    assert all(f">{text}</text>" in picture for text in texts)
