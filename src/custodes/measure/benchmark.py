"""The results of a benchmark: one row a figure that was promised, met or not.

`benchmarks/NAME/results.json` is a list of such rows; `docs/fidelity.md` is made from all of
them. How a figure is measured is not known here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from operator import eq, ge, gt, le, lt
from pathlib import Path
from typing import Any, Self

from custodes.config import write_atomically
from custodes.errors import DataError
from custodes.measure.intervals import Interval

__all__ = [
    "Figure",
    "collect_results",
    "fidelity_table",
    "read_results",
    "target_met",
    "write_results",
]

_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": ge, "<=": le, ">": gt, "<": lt, "==": eq
}  # fmt: skip
_NUMBER = r"[-+]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?"
_TARGET = re.compile(
    rf"(?P<sign>>=|<=|==|>|<)?\s*(?P<bound>{_NUMBER})"
    rf"(?:\s*(?P<form>\.\.|\+-)\s*(?P<other>{_NUMBER}))?"
    r"\s*(?P<unit>[^()\d][^()]*?)?\s*(?:\((?P<note>[^()]*)\))?"
)
_FORMS = "'>= 0.8', '<= 60 s', '0.30 .. 0.36' or '0.331 +- 0.005', with a (note) at the end if any"


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of `results.json`; make it with `Figure.of`, which computes `met`.

    `value` None: not measured. `low` and `high` None: no interval. `target` empty: nothing was
    promised and `met` is None.
    """

    figure: str
    value: float | None
    low: float | None
    high: float | None
    unit: str
    target: str
    met: bool | None
    seeds: tuple[int, ...]
    command: str
    commit: str | None

    @classmethod
    def of(
        cls,
        figure: str,
        value: float | Interval | None,
        *,
        unit: str = "",
        target: str = "",
        seeds: Sequence[int] = (),
        command: str = "",
        commit: str | None = None,
    ) -> Self:
        """A row with `met` computed from value and target; what is not finite was not measured.

        `command` and `commit` say how to get the figure again (`config.environment()`).
        """
        alone = math.nan if value is None or isinstance(value, Interval) else float(value)
        interval = value if isinstance(value, Interval) else Interval(alone, math.nan, math.nan)
        parts = interval.to_values()
        return cls(
            figure=figure,
            **parts,
            unit=unit,
            target=target,
            met=target_met(parts["value"], target, unit),
            seeds=tuple(seeds),
            command=command,
            commit=commit,
        )

    @property
    def verdict(self) -> str:
        """For a table: yes, **no**, nothing where nothing was promised, and *by value* where the
        value meets the target and an end of its interval does not."""
        if self.met is None:
            return ""
        if not self.met:
            return "**no**"
        ends = [end for end in (self.low, self.high) if end is not None]
        sure = all(target_met(end, self.target, self.unit) for end in ends)
        return "yes" if sure else "by value"


def target_met(value: float | None, target: str, unit: str = "") -> bool | None:
    """Whether `value` reaches `target`; None without a target, False for what was not measured.

    Targets: `>= 0.8`, `<= 60 s`, `0.30 .. 0.36` (from, to), `0.331 +- 0.005`, with a note in
    parentheses at the end if any. A unit in the target must be the figure's own. `DataError`
    for anything else.
    """
    if not target.strip():
        return None
    match = _TARGET.fullmatch(target.strip())
    if match is None or bool(match["sign"]) == bool(match["form"]):
        raise DataError(f"target: got {target!r}, expected a comparison such as {_FORMS}")
    if match["unit"] and match["unit"] != unit:
        raise DataError(f"target: got {target!r} for a figure in {unit!r}; use the same unit")
    if value is None or math.isnan(value):
        return False
    bound = _parse(match["bound"])
    if match["sign"]:
        return _COMPARISONS[match["sign"]](value, bound)
    other = _parse(match["other"])
    return bound <= value <= other if match["form"] == ".." else abs(value - bound) <= other


def write_results(path: Path, rows: Iterable[Figure]) -> None:
    """Write `results.json` whole or not at all; `DataError` where two rows share a name."""
    rows = list(rows)
    _check_names(path, rows)
    values = [asdict(figure) for figure in rows]
    write_atomically(path, json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_results(path: Path) -> list[Figure]:
    """Read `results.json`; `DataError` for wrong fields, or a `met` that contradicts its row."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; run the benchmark beside it first") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(values, list):
        raise DataError(f"{path}: got a {type(values).__name__}, expected a list of rows")
    rows = [_figure(value, f"{path}: row {number}") for number, value in enumerate(values)]
    _check_names(path, rows)
    return rows


def collect_results(folder: Path) -> dict[str, list[Figure]]:
    """Every `NAME/results.json` under the folder of benchmarks, by name, sorted."""
    return {path.parent.name: read_results(path) for path in sorted(folder.glob("*/results.json"))}


def fidelity_table(results: Mapping[str, Sequence[Figure]]) -> str:
    """The Markdown of `docs/fidelity.md`: every figure beside its target, by benchmark."""
    rows = [figure for figures in results.values() for figure in figures]
    promised = [figure for figure in rows if figure.met is not None]
    met = sum(bool(figure.met) for figure in promised)
    unsure = sum(figure.verdict == "by value" for figure in promised)
    lines = [
        "# Fidelity",
        "",
        "Generated from `benchmarks/*/results.json`; do not edit.",
        "",
        f"{met} of {len(promised)} targets met, {unsure} of them *by value* alone: an end of the "
        f"interval does not meet the target. {len(rows)} figures in all.",
    ]
    for name, figures in results.items():
        lines += ["", f"## {name}", ""]
        lines += ["| figure | target | ours | met | seeds | commit | command |"]
        lines += ["|---|---|---|---|---|---|---|"]
        lines += [_markdown(figure) for figure in figures]
    return "\n".join(lines) + "\n"


def _markdown(figure: Figure) -> str:
    ours = "not measured"
    if figure.value is not None:
        ours = f"{figure.value:.4g}"
        if figure.low is not None and figure.high is not None:
            ours += f" [{figure.low:.4g}, {figure.high:.4g}]"
        ours = f"{ours} {figure.unit}".strip()
    seeds = ", ".join(str(seed) for seed in figure.seeds)
    command = f"`{figure.command}`" if figure.command else ""
    cells = [figure.figure, figure.target, ours, figure.verdict, seeds]
    cells += [figure.commit or "", command]
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _figure(value: Any, place: str) -> Figure:
    names = [field.name for field in fields(Figure)]
    if not isinstance(value, dict) or set(value) != set(names):
        got = ", ".join(value) if isinstance(value, dict) else type(value).__name__
        raise DataError(f"{place}: got {got}; expected exactly the fields {', '.join(names)}")
    for name in ("value", "low", "high"):
        number = value[name]
        if number is not None and (type(number) not in (int, float) or not math.isfinite(number)):
            raise DataError(f"{place}: {name}: got {number!r}, expected a number or null")
    for name in ("figure", "unit", "target", "command"):
        if not isinstance(value[name], str):
            raise DataError(f"{place}: {name}: got {value[name]!r}, expected text")
    if value["commit"] is not None and not isinstance(value["commit"], str):
        raise DataError(f"{place}: commit: got {value['commit']!r}, expected text or null")
    seeds = value["seeds"]
    if not isinstance(seeds, list) or any(type(seed) is not int for seed in seeds):
        raise DataError(f"{place}: seeds: got {seeds!r}, expected a list of whole numbers")
    met = target_met(value["value"], value["target"], value["unit"])
    if value["met"] is not met:
        raise DataError(
            f"{place}: met is {value['met']!r}, but {value['value']} against "
            f"{value['target']!r} gives {met!r}; run the benchmark again"
        )
    return Figure(**{**value, "seeds": tuple(seeds)})


def _check_names(path: Path, rows: Sequence[Figure]) -> None:
    names = [figure.figure for figure in rows]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path}: figures named twice: {', '.join(twice)}; each needs its own name")


def _parse(number: str) -> float:
    return float(number.replace(",", ""))
