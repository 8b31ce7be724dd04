"""A benchmark made in sections: each replaces its own rows, and the page shows them all.

A row of a section is named "section: figure". How a figure is measured is not known here.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from custodes.config import environment, write_atomically
from custodes.measure.benchmark import Figure, read_results, write_results

__all__ = [
    "check_sections",
    "measure_section",
    "merge_section",
    "write_figures",
    "write_sections",
]

_MARK = "<!-- figures -->"
_LOCK_SECONDS = 60


def check_sections(parser: ArgumentParser, names: Iterable[str], known: Collection[str]) -> None:
    """The parser's error where one of the names is no section."""
    if unknown := set(names) - set(known):
        parser.error(f"got {', '.join(sorted(unknown))}; sections are {', '.join(known)}")


def measure_section(
    name: str,
    measure: Callable[[Any], list[dict[str, Any]]],
    options: Any,
    *,
    say: Callable[..., object] = print,
) -> list[dict[str, Any]]:
    """The rows that `measure` gives for the options, and each of them said."""
    say(f"== {name}", flush=True)
    rows = measure(options)
    for row in rows:
        say(f"  {row['figure']}: {row['value']}", flush=True)
    return rows


def merge_section(
    path: Path,
    section: str,
    rows: Iterable[Mapping[str, Any]],
    *,
    order: Sequence[str],
    command: str,
) -> None:
    """Replace one section's rows in the file and keep the others, in the `order` of sections.

    `rows`: arguments of `Figure.of`, without command and commit. `DataError` where the file is
    not one of results.
    """
    from filelock import FileLock

    commit = environment()["commit"]
    made = [
        Figure.of(
            **{**row, "figure": f"{section}: {row['figure']}"}, command=command, commit=commit
        )
        for row in rows
    ]
    # Two sections, computed side by side, may end at once.
    with FileLock(path.with_name(f".{path.name}.lock"), timeout=_LOCK_SECONDS):
        found = read_results(path) if path.exists() else []
        kept = [row for row in found if not row.figure.startswith(f"{section}: ")]
        write_sections(path, [*kept, *made], order=order)


def write_sections(path: Path, rows: Iterable[Figure], *, order: Sequence[str]) -> None:
    """Write the rows of all sections, in the `order` of sections."""
    write_results(path, sorted(rows, key=lambda row: order.index(row.figure.split(":")[0])))


def write_figures(page: Path, figures: Iterable[Figure], *, digits: int) -> None:
    """Put the figures as a table between the two marks `<!-- figures -->` of a page."""
    before, _, after = page.read_text(encoding="utf-8").split(_MARK)
    lines = ["| figure | ours | target | met |", "|---|---|---|---|"]
    for one in figures:
        value = "not measured"
        if one.value is not None:
            value = f"{one.value:.{digits}g} {one.unit}".strip()
        if one.low is not None and one.high is not None:
            value += f" [{one.low:.3g}, {one.high:.3g}]"
        name = one.figure.replace("|", r"\|")
        lines.append(f"| {name} | {value} | {one.target} | {one.verdict} |")
    table = "\n".join(lines)
    write_atomically(page, f"{before}{_MARK}\n{table}\n{_MARK}{after}")
