"""MONA: myopic optimization with non-myopic approval.

Implements "MONA: Myopic Optimization with Non-myopic Approval Can Mitigate Multi-step Reward
Hacking" (arXiv 2501.13011) in its three environments: a gridworld with exact answers, loan
applications, and test-driven development. Knows nothing of guards, servers or other methods.

Names are imported on first use, so that the command line can list its commands without them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from custodes.methods.mona.credit import ARMS, credited
    from custodes.methods.mona.gridworld.approval import (
        approved_advantages,
        crossing,
        outcomes_by_horizon,
        trusted_values,
    )
    from custodes.methods.mona.gridworld.batched import BatchedBoard
    from custodes.methods.mona.gridworld.board import Board
    from custodes.methods.mona.gridworld.solver import (
        Outcome,
        advantages,
        horizons,
        optimal_values,
        outcome_of,
        uniform_over_best,
    )
    from custodes.methods.mona.loan.exact import LoanGame, best_responses, train_exact
    from custodes.methods.mona.method import run_study

__all__ = [
    "ARMS",
    "BatchedBoard",
    "Board",
    "LoanGame",
    "Outcome",
    "advantages",
    "approved_advantages",
    "best_responses",
    "credited",
    "crossing",
    "horizons",
    "optimal_values",
    "outcome_of",
    "outcomes_by_horizon",
    "run_study",
    "train_exact",
    "trusted_values",
    "uniform_over_best",
]

_HOMES = {
    "credit": (
        "ARMS",
        "credited",
    ),
    "gridworld.approval": (
        "approved_advantages",
        "crossing",
        "outcomes_by_horizon",
        "trusted_values",
    ),
    "gridworld.batched": ("BatchedBoard",),
    "gridworld.board": ("Board",),
    "gridworld.solver": (
        "Outcome",
        "advantages",
        "horizons",
        "optimal_values",
        "outcome_of",
        "uniform_over_best",
    ),
    "loan.exact": (
        "LoanGame",
        "best_responses",
        "train_exact",
    ),
    "method": ("run_study",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
