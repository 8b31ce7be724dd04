"""`custodes reproduce apd | spd`: the papers' toy models, decomposed anew.

`tiny` takes the smallest model with fewer steps, minutes of a laptop; `full` takes every model of
the table that the benchmark has, with the papers' steps, many hours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from custodes.config import Config, Run
from custodes.measure import Prose, Report, Section, Table
from custodes.measure.report import Cell
from custodes.methods.decomposition.method import Method, Result, decompose
from custodes.methods.decomposition.presets import preset_config
from custodes.methods.decomposition.report import mean_over_seeds

__all__ = ["PUBLISHED", "reproduce_apd", "reproduce_spd"]

PUBLISHED = {
    ("apd", "tms-5-2"): (0.998, 0.893),
    ("apd", "tms-40-10"): (0.996, 0.935),
    ("spd", "tms-5-2"): (1.000, 0.993),
    ("spd", "tms-40-10"): (1.000, 1.010),
    ("spd", "tms-5-2-identity"): (1.000, 0.992),
    ("spd", "tms-40-10-identity"): (1.000, 1.031),
}
"""(method, model) -> MMCS and ML2R of the SPD paper's table 1 and APD's section 3."""

_FULL = {
    "apd": ("tms-5-2", "tms-40-10"),
    "spd": (
        "tms-5-2",
        "tms-5-2-identity",
        "tms-40-10",
        "tms-40-10-identity",
        "residual-mlp-1",
        "residual-mlp-2",
    ),
}
_TINY = {
    "apd": ["steps=4000"],
    "spd": ["steps=4000", "batch=1024"],
}


class ReproduceConfig(Config):
    """What `custodes reproduce` runs."""

    method: Literal["apd", "spd"]
    """Which paper."""
    size: Literal["tiny", "full"] = "tiny"
    """tiny: TMS 5-2 with fewer steps. full: every model, with the paper's."""
    seed: int = 0
    """The first seed."""


def reproduce_apd(size: Literal["tiny", "full"], seed: int, out: Path) -> Path:
    """APD's toy models into the folder `out`; returns the path of the report page."""
    return _reproduce("apd", size, seed, out)


def reproduce_spd(size: Literal["tiny", "full"], seed: int, out: Path) -> Path:
    """SPD's toy models into the folder `out`; returns the path of the report page."""
    return _reproduce("spd", size, seed, out)


def _reproduce(method: Method, size: Literal["tiny", "full"], seed: int, out: Path) -> Path:
    config = ReproduceConfig(method=method, size=size, seed=seed)
    run = Run(out, config, seed=seed)
    names = _FULL[method] if size == "full" else _FULL[method][:1]
    rows: list[list[Cell]] = []
    pages = []
    for name in names:
        changes = [f"first_seed={seed}", *(_TINY[method] if size == "tiny" else [])]
        result = decompose(method, preset_config(method, name, None, changes), out / name)
        rows += _rows(name, result)
        pages.append(f"{name}: {result.page.relative_to(out)}")
        run.log(model=name, figures=result.judgment.figures)
    columns = ["figure", "published", "ours", "random network"]
    table = Table(columns, rows, "means over seeds, 95 % intervals", spec=".4g")
    report = Report(
        f"{method.upper()}: the paper's toy models",
        "Published figures beside ours." + (" Fewer steps than the paper's." * (size == "tiny")),
        [
            Section("Figures", [table]),
            Section("Each model has its own report", [Prose("\n\n".join(pages))]),
        ],
        {"size": size, "seed": seed},
    )
    return run.report(report.values(), report.html())


def _rows(name: str, result: Result) -> list[list[Cell]]:
    published = PUBLISHED.get((result.method, name))
    rows: list[list[Cell]] = []
    for figure in result.judgment.figures:
        if not figure.startswith(("MMCS", "ML2R", "wrong")):
            continue
        theirs: Cell = None
        if published is not None and figure in ("MMCS", "ML2R"):
            theirs = published[figure == "ML2R"]
        elif figure.startswith("wrong"):
            theirs = "0, solved" if result.method == "spd" else None
        ours = mean_over_seeds(result.values(figure))
        null = result.nulls(figure)
        rows.append([f"{name}: {figure}", theirs, ours, null[0] if null else None])
    return rows
