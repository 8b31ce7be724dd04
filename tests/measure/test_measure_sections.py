"""A benchmark made in sections: what a run replaces, and the table it shows."""

import argparse
from concurrent.futures import ThreadPoolExecutor

import pytest

from custodes.errors import DataError
from custodes.measure import (
    check_sections,
    measure_section,
    merge_section,
    read_results,
    write_figures,
)

ORDER = ("size", "speed")


def merge(path, section, *rows):
    merge_section(path, section, rows, order=ORDER, command=f"run --only {section}")


def test_a_section_replaces_its_own_rows_and_keeps_the_others(tmp_path):
    path = tmp_path / "results.json"
    merge(path, "speed", {"figure": "a", "value": 1.0}, {"figure": "b", "value": 2.0})
    merge(path, "size", {"figure": "a", "value": 3.0, "target": ">= 5"})
    merge(path, "speed", {"figure": "b", "value": 4.0})
    rows = read_results(path)
    assert [(row.figure, row.value, row.met) for row in rows] == [
        ("size: a", 3.0, False),
        ("speed: b", 4.0, None),
    ]
    assert rows[0].command == "run --only size"


def test_a_file_of_something_else_is_refused_and_left(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("{}")
    with pytest.raises(DataError):
        merge(path, "speed", {"figure": "a", "value": 1.0})
    assert path.read_text() == "{}"


def test_the_page_keeps_what_stands_around_its_table(tmp_path):
    path, page = tmp_path / "results.json", tmp_path / "README.md"
    merge(path, "size", {"figure": "|a|", "value": 3.14159, "unit": "s", "target": ">= 5"})
    merge(path, "speed", {"figure": "b", "value": None})
    page.write_text("above\n<!-- figures -->\nold\n<!-- figures -->\nbelow\n")
    write_figures(page, read_results(path), digits=3)
    assert page.read_text().splitlines() == [
        "above",
        "<!-- figures -->",
        "| figure | ours | target | met |",
        "|---|---|---|---|",
        r"| size: \|a\| | 3.14 s | >= 5 | **no** |",
        "| speed: b | not measured |  |  |",
        "<!-- figures -->",
        "below",
    ]


def test_sections_that_end_at_once_all_stay(tmp_path):
    path = tmp_path / "results.json"
    names = [f"s{number}" for number in range(12)]

    def end(name):
        merge_section(path, name, [{"figure": "a", "value": 1.0}], order=names, command="run")

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(end, names))
    assert [row.figure for row in read_results(path)] == [f"{name}: a" for name in names]


def test_a_section_is_checked_measured_and_said(capsys):
    parser = argparse.ArgumentParser(prog="run")
    check_sections(parser, ["speed"], {"speed": 0, "size": 0})
    with pytest.raises(SystemExit):
        check_sections(parser, ["speed", "sped"], {"speed": 0, "size": 0})
    assert "got sped; sections are speed, size" in capsys.readouterr().err
    rows = measure_section("speed", lambda n: [{"figure": "f", "value": n}], 3)
    assert rows == [{"figure": "f", "value": 3}]
    assert capsys.readouterr().out == "== speed\n  f: 3\n"
