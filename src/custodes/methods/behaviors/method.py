"""The study of self-report as a run: cells into a folder, a report over them.

`run_awareness` is what the command line, `custodes reproduce` and the benchmark share.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from custodes.config import Run
from custodes.errors import ConfigError
from custodes.methods.behaviors.awareness.cells import cells_of, rows_of, run_cells, tuning_of
from custodes.methods.behaviors.awareness.page import awareness_report
from custodes.methods.behaviors.config import AwarenessConfig

__all__ = ["run_awareness", "tune_and_save"]


def run_awareness(
    config: AwarenessConfig,
    out: Path,
    *,
    cells: Path | None = None,
    say: Callable[[str], None] | None = None,
) -> tuple[list[dict[str, Any]], Path]:
    """The cells' findings and the path of the report page; goes on where it was stopped.

    `cells`: the folder that keeps them, by default inside the run; studies may share one.
    """
    cells_of(config)  # what cannot be studied is told before anything is written
    run = Run(out, config, seed=config.first_seed)
    found = run_cells(config, cells or run.artifacts / "cells", say=say)
    report = awareness_report(config, found)
    return found, run.report(report.values(), report.html())


def tune_and_save(
    config: AwarenessConfig, behavior: str, side: int, out: Path, *, arm: str = "plain"
) -> Path:
    """Tune the model to one side of a behavior as the study does; keep what was learned, as
    safetensors. `ConfigError` for a hosted model, of which there is nothing to keep.
    """
    from custodes.models.tuning import open_tunable, tune

    if config.hosted is not None:
        raise ConfigError(
            f"hosted: got {config.hosted.model}; expected none: its server keeps what is tuned. "
            "Leave hosted out to tune the model of this machine, or run the study (report)"
        )
    model = open_tunable(config.model)
    seed, rank = config.first_seed, config.ranks[0]
    cell = {"behavior": behavior, "side": side, "rank": rank, "arm": arm, "seed": seed}
    rows = [model.rows.chat(prompt, reply) for prompt, reply in rows_of(cell, config)]
    run = Run(out, config, seed=seed)
    trace = tune(model, rows, tuning_of(cell, config))
    for step, loss in enumerate(trace.losses, start=1):
        run.log(step=step, loss=loss)
    path = run.artifacts / "learned.safetensors"
    model.save(path)
    return path
