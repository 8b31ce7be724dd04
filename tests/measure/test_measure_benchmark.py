"""Benchmark rows: targets, round trips, what is refused, the table of fidelity."""

import json
import math
from pathlib import Path

import pytest

from custodes.errors import DataError
from custodes.measure import (
    Figure,
    Interval,
    collect_results,
    fidelity_table,
    read_results,
    target_met,
    write_results,
)

FIELDS = ["figure", "value", "low", "high", "unit", "target", "met", "seeds", "command", "commit"]


@pytest.mark.parametrize(
    ("value", "target", "unit", "met"),
    [
        (0.8, ">= 0.8", "", True),
        (0.79, ">=0.8", "", False),
        (60, "<= 60 s", "s", True),
        (61, "<= 60 s", "s", False),
        (0.72, "> 0.72 (TF-IDF, same rows)", "", False),
        (0.5, "< 1e-1 ms", "ms", False),
        (0.0, "== 0 leaks", "leaks", True),
        (6000, ">= 5,000 times", "times", True),
        (0.32, "0.30 .. 0.36", "", True),
        (0.37, "0.30 .. 0.36", "", False),
        (0.334, "0.331 +- 0.005 (paper, table 2)", "", True),
        (0.34, "0.331 +- 0.005", "", False),
        (-0.3, "<= -0.22", "", True),
        (3.0, "<= 3.5 %", "%", True),
        (None, ">= 0.8", "", False),
        (math.nan, ">= 0.8", "", False),
        (0.5, "", "", None),
    ],
)
def test_targets(value, target, unit, met) -> None:
    assert target_met(value, target, unit) is met


@pytest.mark.parametrize("target", ["high", "0.8", ">= 0.8 .. 0.9", ">= x", ">= 0.8 ms", "0.8 s"])
def test_a_target_that_cannot_be_checked_is_an_error(target: str) -> None:
    with pytest.raises(DataError, match="target: got"):
        target_met(0.9, target, "s")


def rows() -> list[Figure]:
    return [
        Figure.of("AUPRC", Interval(0.85, 0.83, 0.87), target=">= 0.8", seeds=[0, 1],
                  command="python run.py | tee log", commit="abc"),
        Figure.of("time", 61.5, unit="s", target="<= 60 s"),
        Figure.of("large run", None, target=">= 0.9"),
        Figure.of("memory", 1.5, unit="GiB"),
    ]  # fmt: skip


def test_results_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "guard" / "results.json"
    write_results(path, rows())
    assert read_results(path) == rows()
    values = json.loads(path.read_text())
    assert [list(value) for value in values] == [FIELDS] * 4
    assert [value["met"] for value in values] == [True, False, False, None]
    assert values[0]["low"] == 0.83
    assert values[1]["low"] is None
    assert collect_results(tmp_path) == {"guard": rows()}


@pytest.mark.parametrize(
    ("value", "target", "verdict"),
    [
        (Interval(0.85, 0.83, 0.87), ">= 0.8", "yes"),
        (Interval(0.85, 0.79, 0.87), ">= 0.8", "by value"),
        (Interval(0.1, -0.2, 0.3), "> 0", "by value"),
        (Interval(1.0, 0.9, 1.3), "0.8 .. 1.2", "by value"),
        (Interval(0.7, 0.6, 0.9), ">= 0.8", "**no**"),
        (0.85, ">= 0.8", "yes"),
        (Interval(0.85, 0.83, 0.87), "", ""),
    ],
)
def test_a_target_that_the_interval_reaches_past_is_met_by_value(value, target, verdict) -> None:
    assert Figure.of("x", value, target=target).verdict == verdict


def test_nan_is_written_as_not_measured(tmp_path: Path) -> None:
    write_results(tmp_path / "r.json", [Figure.of("x", math.nan, target="> 1")])
    [figure] = read_results(tmp_path / "r.json")
    assert figure.value is None
    assert figure.met is False


def test_two_rows_of_one_name_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="named twice: x"):
        write_results(tmp_path / "r.json", [Figure.of("x", 1), Figure.of("x", 2)])
    assert not list(tmp_path.iterdir())


GOOD = {"figure": "x", "value": 1, "low": None, "high": None, "unit": "", "target": "> 0",
        "met": True, "seeds": [0], "command": "", "commit": None}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"met": False}, "met is False, but 1 against '> 0' gives True"),
        ({"met": None}, "met is None"),
        ({"value": "1"}, "value: got '1'"),
        ({"value": True}, "value: got True"),
        ({"low": math.nan}, "low: got nan"),
        ({"unit": None}, "unit: got None"),
        ({"seeds": 0}, "seeds: got 0"),
        ({"seeds": ["0"]}, "seeds"),
        ({"commit": 7}, "commit: got 7"),
        ({"extra": 1}, "expected exactly the fields"),
        ({"target": "soon"}, "target: got 'soon'"),
    ],
)
def test_edited_results_are_refused(tmp_path: Path, change, message) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps([GOOD]))
    assert read_results(path)[0].seeds == (0,)
    path.write_text(json.dumps([{**GOOD, **change}]))
    with pytest.raises(DataError, match=message):
        read_results(path)


def test_unreadable_results_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with pytest.raises(DataError, match="no such file; run the benchmark"):
        read_results(path)
    for text, message in (("{", "as JSON"), ("{}", "expected a list"), ("[1]", "got int")):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            read_results(path)


def test_the_table_of_fidelity() -> None:
    table = fidelity_table({"constitution": rows()})
    assert "1 of 3 targets met, 0 of them *by value* alone" in table
    assert "## constitution" in table
    assert (
        "| AUPRC | >= 0.8 | 0.85 [0.83, 0.87] | yes | 0, 1 | abc | `python run.py \\| tee log` |"
        in table
    )
    assert "| time | <= 60 s | 61.5 s | **no** |" in table
    assert "| large run | >= 0.9 | not measured | **no** |" in table
    assert "| memory |  | 1.5 GiB |  |" in table
