"""A study: for every seed prepare, then every arm, kept as they come; then the report.

    run_study(StudyConfig(), Path("runs/unlearning"))

A killed study goes on where it was: each cell's result lies in `artifacts/cells/`, named by a hash
of all it depends on, so another seed, method or rate costs only its own cells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from custodes.config import Run
from custodes.engine import Engine, kept_map, open_engine
from custodes.methods.unlearning.cells import (
    Cell,
    arm_cell,
    cell_hash,
    prepare_cell,
    worker,
)
from custodes.methods.unlearning.config import StudyConfig
from custodes.methods.unlearning.report import study_report
from custodes.methods.unlearning.scoring import TEXT_ROW
from custodes.methods.unlearning.summary import Summary, summarize
from custodes.methods.unlearning.texts import ordinary_texts

__all__ = ["Study", "run_study"]


@dataclass(frozen=True, slots=True)
class Study:
    """A finished study: every arm of every seed, figures, and the page."""

    config: StudyConfig
    results: tuple[dict[str, Any], ...]
    summary: Summary
    page: Path


def run_study(config: StudyConfig, out: Path, *, say: Callable[[str], None] | None = None) -> Study:
    """Run what is missing into the run folder `out`, and write its report.

    With an engine of several machines they must share the folder: implanted weights lie in it.
    """
    config = config.model_copy(update={"model": config.model.settled()})
    for source in (config.text, config.removal.text):
        ordinary_texts(source)  # one that is missing is found here, not once facts are implanted
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    needed = [(seed, False) for seed in seeds]
    if "withheld" in config.arms:
        needed += [(seed, True) for seed in seeds]
    first = [prepare_cell(config, seed, withheld=held) for seed, held in needed]
    run = Run(out, config, seed=config.first_seed)
    tell = say or (lambda _line: None)
    cells = _Cells(
        run.artifacts.resolve(),
        open_engine(config.engine, config.engine_settings, batch_size=1),
        config,
        tell,
    )
    handed = [
        {"of": cell_hash(cell), "weights": made["weights"], "facts": made["facts"]}
        for cell, made in zip(first, cells.run(first), strict=True)
    ]
    prepared = dict(zip(needed, handed, strict=True))
    rows = [
        arm_cell(config, seed, arm, prepared[seed, arm == "withheld"])
        for seed in seeds
        for arm in config.arms
    ]
    results = cells.run(rows)
    for result in results:
        run.log(**result)
    read = min(result.get("text_tokens", config.text_tokens) for result in results)
    if read <= config.text_tokens - TEXT_ROW:
        tell(
            f"perplexity is of {read:,} tokens, of {config.text_tokens:,} asked for: `text` "
            "holds no more"
        )
    summary = summarize(config, results)
    report = study_report(config, summary, results)
    page = run.report({**report.values(), "figures": summary.values()}, report.html())
    return Study(config, tuple(results), summary, page)


@dataclass(frozen=True, slots=True)
class _Cells:
    """Results by the hash of their cell."""

    folder: Path
    engine: Engine
    config: StudyConfig
    say: Callable[[str], None]

    def run(self, cells: Sequence[Cell]) -> list[dict[str, Any]]:
        """Every cell's result, in order; those that are not there yet are computed."""
        paths = [self.folder / "cells" / f"{cell_hash(cell)}.json" for cell in cells]
        there = sum(path.exists() for path in paths)
        if there < len(cells):
            self.say(f"{there} of {len(cells)} cells are there")

        def told(n: int, result: Mapping[str, Any]) -> None:
            prepared = "neighbors implanted" if cells[n].get("withheld") else "prepared"
            name = cells[n].get("arm", prepared)
            self.say(f"seed {cells[n]['seed']}, {name}: {result['seconds']:.0f} s")

        made = partial(worker, self.config, self.folder / "weights")
        return kept_map(self.engine, made, cells, paths, told=told)
