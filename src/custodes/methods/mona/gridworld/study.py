"""The exact study of the gridworld: horizons, the crossover under noise, the approval spectrum.

numpy alone; nothing is sampled but the overseer's noise and comparisons.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from custodes.methods.mona.config import ApprovalConfig, GridworldConfig
from custodes.methods.mona.gridworld.approval import (
    Crossing,
    approved_advantages,
    crossing,
    outcomes_by_horizon,
)
from custodes.methods.mona.gridworld.board import OUTCOMES, Board, Floats
from custodes.methods.mona.gridworld.solver import Outcome, horizons

__all__ = ["GridworldStudy", "clear_ranges", "solver_seconds", "study_gridworld"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GridworldStudy:
    """What the exact study found.

    `exact`: outcomes for horizons 1 to T without noise. `noisy` [seeds, T, 3]: shares of the
    starts that fail, do what is intended, and hack, under noise. `alone`: MONA without approval.
    `learned`: (comparisons, outcome of MONA on what was learned from them).
    """

    board: Board
    config: GridworldConfig
    exact: list[Outcome]
    noisy: Floats
    blend: Crossing
    outcome: Crossing
    alone: Outcome
    learned: list[tuple[int, Outcome]]
    seconds: float


def study_gridworld(board: Board, config: GridworldConfig) -> GridworldStudy:
    """Compute everything, in seconds for the paper's board."""
    steps = config.steps
    weights = np.linspace(0, 1, config.weights).tolist()
    noisy = []
    for seed in range(config.seed, config.seed + config.noise_seeds):
        approval = ApprovalConfig(kind="noisy", noise=config.noise, seed=seed)
        advantage = approved_advantages(board, approval, steps)
        found = outcomes_by_horizon(board, advantage, steps, tie=config.tie)
        noisy.append([[getattr(one, name) / one.starts for name in OUTCOMES] for one in found])
    learned = []
    for comparisons in config.comparisons:
        approval = ApprovalConfig(kind="learned", comparisons=comparisons, seed=config.seed)
        learned.append((comparisons, _mona(board, approval, steps)))
    oracle = approved_advantages(board, ApprovalConfig(), steps)
    return GridworldStudy(
        board=board,
        config=config,
        exact=outcomes_by_horizon(board, oracle, steps),
        noisy=np.array(noisy),
        blend=crossing(board, "blend", weights, steps=steps),
        outcome=crossing(board, "outcome", weights, steps=steps),
        alone=_mona(board, ApprovalConfig(kind="none"), steps),
        learned=learned,
        seconds=solver_seconds(board, steps),
    )


def _mona(board: Board, approval: ApprovalConfig, steps: int) -> Outcome:
    return outcomes_by_horizon(board, approved_advantages(board, approval, steps), 1)[0]


def solver_seconds(board: Board, steps: int, repeats: int = 3) -> float:
    """Processor time of solving for all horizons, approval included; the least of some repeats.

    The board's tables are made before.
    """
    approved_advantages(board, ApprovalConfig(), steps)
    spent = []
    for _ in range(repeats):
        began = time.process_time()
        for _ in horizons(board, approved_advantages(board, ApprovalConfig(), steps), steps):
            pass
        spent.append(time.process_time() - began)
    return min(spent)


def clear_ranges(noisy: Floats, *, share: float = 1.0) -> list[tuple[int, int] | None]:
    """For each seed the longest run of horizons at which at least `share` of starts is intended.

    First and last horizon of the run; None where there is none. `noisy` is [seeds, T, 3].
    """
    found: list[tuple[int, int] | None] = []
    for intended in noisy[:, :, OUTCOMES.index("intended")]:
        reached = [*(intended >= share - 1e-9), False]
        best: tuple[int, int] | None = None
        start = None
        for horizon, holds in enumerate(reached, start=1):
            if holds and start is None:
                start = horizon
            elif not holds and start is not None:
                if best is None or horizon - start > best[1] - best[0] + 1:
                    best = (start, horizon - 1)
                start = None
        found.append(best)
    return found
