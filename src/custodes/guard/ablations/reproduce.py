"""Run the ablations into a run folder: `custodes reproduce constitutional-classifiers`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from custodes.classifiers import LabelledRow
from custodes.config import Run, cache_folder
from custodes.guard.ablations.bench import Bench
from custodes.guard.ablations.claims import METRICS, Labelled
from custodes.guard.ablations.config import AblationsConfig
from custodes.guard.ablations.material import Material, gather
from custodes.guard.ablations.report import Measured, ablations_report, measure_study
from custodes.guard.ablations.studies import run
from custodes.guard.ablations.study import EXCHANGES

__all__ = ["reproduce", "run_studies"]


def reproduce(size: Literal["tiny", "full"], seed: int, out: Path) -> Path:
    """Run the reproduction into the folder `out`; returns the path of its report page."""
    config = AblationsConfig.of(size, seed)
    kept = Run(out, config, seed=seed)
    material = gather(config, kept.artifacts / "rows")
    measured = []
    for one in run_studies(config, kept.artifacts, material):
        measured.append(one)
        _log(kept, one)
    counts = {name: len(rows) for name, rows in _tables(material).items()}
    counts |= {"training prompts": len(material.training), "exchanges": len(material.exchanges)}
    report = ablations_report(measured, config, counts=counts)
    return kept.report(report.values(), report.html())


def run_studies(
    config: AblationsConfig,
    folder: Path,
    material: Material | None = None,
    *,
    say: Callable[[str], None] = lambda told: None,
) -> Iterator[Measured]:
    """Each study with its figures as it is done; scores and generated rows are kept in `folder`."""
    material = gather(config, folder / "rows") if material is None else material
    cache = cache_folder() / "features" if config.size == "full" else None
    bench = Bench(config, folder / "scores", cache)
    told = _tables(material)
    every = [material.training, material.exchanges, material.replies, *told.values()]
    every += [material.asked, material.answered, *material.calibrated.values()]
    tokens = sum(bench.prepare(rows) for rows in every)
    say(f"features of {sum(map(len, every))} rows, {tokens} tokens")
    tables = {name: _labelled(rows) for name, rows in told.items()}
    for study in run(bench, material):
        say(study.name)
        own = {name: _labelled(rows) for name, rows in study.own.items()}
        yield measure_study(study, tables | own, config)


def _labelled(rows: Sequence[LabelledRow]) -> Labelled:
    return Labelled(
        np.array([row.label for row in rows]),
        [row.example.group or row.example.id for row in rows],
    )


def _tables(material: Material) -> dict[str, list[LabelledRow]]:
    return {**material.prompts, EXCHANGES: material.exchanged}


def _log(run_folder: Run, measured: Measured) -> None:
    name = measured.study.name
    for each in measured.levels:
        values = {metric: each.values[metric].to_values() for metric in METRICS}
        run_folder.log(study=name, arm=each.arm, table=each.table, **values)
    for finding in measured.findings:
        claim = finding.claim
        run_folder.log(
            study=name,
            statement=claim.statement,
            compared=[claim.arm, claim.against, claim.table],
            **{metric: finding.gains[metric].to_values() for metric in METRICS},
            verdict=finding.verdict("recall"),
        )
