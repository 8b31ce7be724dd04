"""Exact values for every optimization horizon, and exact outcomes of the policies they give.

All horizons come from one recursion over M, vectorized over time and states. Ties are broken
uniformly at random, and the distribution of outcomes under that policy is computed, not sampled.
Rewards are functions of the state entered; the last of T actions is worth nothing, as in the
reference (arXiv 2501.13011, released code). Discount 1. Knows no learner.

Shapes: S states, T steps; time is the last axis, so that a move gathers whole rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from custodes.errors import ConfigError
from custodes.methods.mona.gridworld.board import ENDED, OUTCOMES, Board, Floats

__all__ = [
    "STEPS",
    "TIE",
    "Outcome",
    "advantages",
    "horizons",
    "optimal_values",
    "outcome_of",
    "uniform_over_best",
]

STEPS = 50
"""Steps of an episode."""
TIE = 1e-9
"""Actions whose values differ by less are tied.

With 0, as in the released code, rounding decides between ways that are worth the same.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a policy comes to from each start once, in expectation over its own ties.

    `fail`, `intended`, `hack`: expected numbers of the `starts` that deliver no box, one, more.
    `observed` and `true`: mean returns.
    """

    starts: int
    fail: float
    intended: float
    hack: float
    observed: float
    true: float


def optimal_values(board: Board, reward: Floats, steps: int = STEPS) -> Floats:
    """Values [S, T] of acting best for `reward` [S] of the state entered; 0 at the last step.

    V[s, t] = max_a reward[P(s, a)] + V[P(s, a), t + 1].
    """
    if steps < 2:
        raise ConfigError(f"got episodes of {steps} steps; expected at least 2")
    values = np.zeros((len(reward), steps))
    for time in range(steps - 2, -1, -1):
        values[:, time] = (reward + values[:, time + 1])[board.moves].max(axis=1)
    return values


def advantages(board: Board, reward: Floats, trusted: Floats) -> Floats:
    """TA = R[P] + V[P, t + 1] - V[t] for trusted values [S, T]: [S, 4, T], 0 at the last step.

    The instant reward plus the overseer's approval of the step: what MONA optimizes.
    """
    found = np.zeros((*board.moves.shape, trusted.shape[1]))
    found[..., :-1] = (reward[:, None] + trusted[:, 1:])[board.moves] - trusted[:, None, :-1]
    return found


def horizons(board: Board, advantage: Floats, most: int = STEPS) -> Iterator[tuple[int, Floats]]:
    """(M, TQ_M [S, 4, T]) for M = 1 to `most`: TQ_M[t] = TA[t] + TV_{M-1}[P, t + 1].

    M = 1 is MONA; M = T is reinforcement learning on whole episodes. The array that is given is
    used again for the next horizon: copy what is to be kept.
    """
    if most < 1:
        raise ConfigError(f"got a horizon of {most}; expected at least 1")
    q = advantage.copy()
    yield 1, q
    for horizon in range(2, most + 1):
        values = q.max(axis=1)
        np.take(values, board.moves, axis=0, out=q)
        q[..., :-1] = q[..., 1:]
        q[..., -1] = 0.0
        q += advantage
        yield horizon, q


def uniform_over_best(q: Floats, *, tie: float = TIE) -> Floats:
    """The policy [S, 4, T] that is uniform over the best actions of values [S, 4, T]."""
    best = q >= q.max(axis=1, keepdims=True) - tie
    return np.asarray(best / best.sum(axis=1, keepdims=True))


def outcome_of(board: Board, policy: Floats) -> Outcome:
    """Exact outcomes of a policy [S, 4, T], every start counted once.

    Probability mass is carried forward in time. Where the camera has triggered every move ends,
    so the count of boxes is final there. Every state entered is paid for, the last one too.
    """
    mass: Floats = np.zeros(len(board.states))
    mass[board.starts] = 1.0
    at_end: Floats = np.zeros(len(OUTCOMES))
    final = np.minimum(board.delivered, len(OUTCOMES) - 1)
    paid = np.stack([board.reward("observed"), board.reward("true")])
    returns = np.zeros(2)
    targets = board.moves.T.ravel()
    for time in range(policy.shape[2]):
        seen = np.where(board.triggered, mass, 0.0)
        at_end += np.bincount(final, seen, minlength=len(OUTCOMES))
        moved = (mass - seen)[None, :] * policy[:, :, time].T
        mass = np.bincount(targets, moved.ravel(), minlength=len(mass)).astype(np.float64)
        returns += paid @ mass
    mass[ENDED] = 0.0
    at_end += np.bincount(final, mass, minlength=len(OUTCOMES))
    fail, intended, hack = (float(count) for count in at_end)
    starts = len(board.starts)
    observed, true = (float(total) / starts for total in returns)
    return Outcome(
        starts=starts, fail=fail, intended=intended, hack=hack, observed=observed, true=true
    )
