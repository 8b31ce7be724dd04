"""Runs of whole studies into run folders: `custodes reproduce mona` and the method's commands.

`tiny` takes the exact study and the exact loan game, and needs numpy only; `full` adds PPO on the
gridworld and the pool of programs, and needs the extra `rl`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from custodes.config import Config, Run
from custodes.errors import ConfigError
from custodes.measure import Prose, Report, Section
from custodes.measure.report import Cell
from custodes.methods.mona.config import (
    ApprovalConfig,
    BoardConfig,
    GenerationConfig,
    GridworldConfig,
    StudyConfig,
)
from custodes.methods.mona.gridworld import drawing
from custodes.methods.mona.gridworld.approval import approved_advantages
from custodes.methods.mona.gridworld.board import ACTIONS
from custodes.methods.mona.gridworld.solver import horizons
from custodes.methods.mona.gridworld.study import study_gridworld
from custodes.methods.mona.method import board_of, run_study
from custodes.methods.mona.report import generation_report, gridworld_report, study_report

__all__ = [
    "describe_state",
    "reproduce",
    "run_arms",
    "run_generation",
    "run_gridworld",
    "run_study_rows",
]


class ReproduceConfig(Config):
    """What `custodes reproduce mona` runs."""

    size: Literal["tiny", "full"] = "tiny"
    """tiny: what is exact. full: also PPO and the pool of programs, an hour of processor time."""
    seed: int = 0
    """The first seed of whatever is random."""


def reproduce(size: Literal["tiny", "full"], seed: int, out: Path) -> Path:
    """Run the reproduction into the folder `out`; returns the path of its report page."""
    run = Run(out, ReproduceConfig(size=size, seed=seed), seed=seed)
    seeds = 10 if size == "full" else 3
    noise = 20 if size == "full" else 3
    parts = ("gridworld", "loan", "tdd") if size == "full" else ("loan",)
    pages = {
        name: run_arms(
            StudyConfig(environment=name, seeds=seeds, first_seed=seed),
            out / name,
        )
        for name in parts
    }
    config = GridworldConfig(noise_seeds=noise, seed=seed)
    report = _gridworld(run, config)
    links = "\n\n".join(f"{name}: {page.relative_to(out)}" for name, page in pages.items())
    section = Section("Learned policies", [Prose(f"Each has its own report.\n\n{links}")])
    report = replace(report, sections=[*report.sections, section])
    return run.report(report.values(), report.html())


def _gridworld(run: Run, config: GridworldConfig) -> Report:
    found = study_gridworld(board_of(config.board), config)
    for horizon, outcome in enumerate(found.exact, start=1):
        run.log(horizon=horizon, **asdict(outcome))
    np.save(run.artifacts / "noisy.npy", found.noisy)
    return gridworld_report(found)


def run_gridworld(config: GridworldConfig, out: Path) -> Path:
    """The exact study of the gridworld; returns the path of its report page."""
    run = Run(out, config, seed=config.seed)
    report = _gridworld(run, config)
    return run.report(report.values(), report.html())


def run_arms(config: StudyConfig, out: Path, *, say: Callable[[str], None] | None = None) -> Path:
    """All arms of one environment; returns the path of its report page."""
    return run_study_rows(config, out, say=say)[1]


def run_study_rows(
    config: StudyConfig, out: Path, *, say: Callable[[str], None] | None = None
) -> tuple[list[dict[str, Any]], Path]:
    """The same, with the rows of `arm`, `seed` and `points` that the page shows."""
    run = Run(out, config, seed=config.first_seed)
    rows = []
    for row in run_study(config, run.artifacts):
        rows.append(row)
        last = row["points"][-1]
        run.log(arm=row["arm"], seed=row["seed"], **last)
        if say is not None:
            say(
                f"{row['arm']}, seed {row['seed']}: observed {last['observed']:.3f}, "
                f"true {last['true']:.3f}, hack {last['hack']:.3f}"
            )
    report = study_report(config, rows, _facts(config, run.artifacts))
    return rows, run.report(report.values(), report.html())


def _facts(config: StudyConfig, artifacts: Path) -> dict[str, Cell]:
    if config.environment in ("loan", "loan-language"):
        from custodes.methods.mona.loan.exact import LoanGame

        loan = config.loan if config.environment == "loan" else config.language.loan
        return {"blind optimum": f"{LoanGame(loan).blind_accuracy:.5f}"}
    if config.environment == "tdd":
        from custodes.methods.mona.tdd.pool import pool_name, read_pool

        pool = read_pool(artifacts / pool_name(config.tdd))
        return {
            "problems": len(pool.names),
            "programs run": pool.runs,
            "kept from the network by the kernel": f"{pool.isolated:.0%}",
        }
    return {}


def describe_state(config: BoardConfig, state: str, style: str) -> str:
    """A drawing and, as text, the value of each move to MONA and to ordinary RL at time 0."""
    board = board_of(config)
    if style not in ("text", "svg"):
        raise ConfigError(f"--as: got {style!r}, expected text or svg")
    if state.isdigit():
        number = int(state)
        if not 1 <= number <= len(board.starts):
            raise ConfigError(f"got the start {number}; expected 1 to {len(board.starts)}")
        index = int(board.starts[number - 1])
    else:
        index = board.index(state)
    if style == "svg":
        return drawing.svg(board, index)
    advantage = approved_advantages(board, ApprovalConfig())
    values = [
        q[index, :, 0].copy() for horizon, q in horizons(board, advantage) if horizon in (1, 50)
    ]
    lines = [
        f"{name:<6} {one:+.2f}   {whole:+.2f}"
        for name, one, whole in zip(ACTIONS, *values, strict=True)
    ]
    return "\n".join([drawing.text(board, index), "       MONA    ordinary RL", *lines])


def run_generation(config: GenerationConfig, out: Path) -> Path:
    """Tests and programs written by a model, resumable; returns the path of the report page."""
    from custodes.methods.mona.tdd.generation import generate

    run = Run(out, config, seed=config.seed)
    found = []
    for episode in generate(config, run.artifacts / "episodes"):
        run.log(**episode.values())
        found.append(episode)
    report = generation_report(config, found)
    return run.report(report.values(), report.html())
