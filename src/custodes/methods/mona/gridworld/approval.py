"""What an overseer approves of: the spectrum from none through good judgment to the outcome itself.

An approval is a table of trusted values [S, T]; a step is approved of by how much it raises them
(`solver.advantages`). The instant reward is the observed one throughout. Where approval follows
the observed outcome, MONA is ordinary reinforcement learning again; where hacking returns in
between is computed here. Knows no learner of policies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from custodes.errors import ConfigError, DataError
from custodes.methods.mona.config import ApprovalConfig
from custodes.methods.mona.gridworld.board import ENDED, Board, Floats
from custodes.methods.mona.gridworld.solver import (
    STEPS,
    TIE,
    Outcome,
    advantages,
    horizons,
    optimal_values,
    outcome_of,
    uniform_over_best,
)

__all__ = [
    "Crossing",
    "approved_advantages",
    "crossing",
    "learned_values",
    "noisy_values",
    "outcomes_by_horizon",
    "trusted_values",
]

_SEEN = 1e-5  # noise falls only on states of some value, as in the reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """Where, as an approval turns from good to bad, hacking returns.

    `weights` [W] and `hacks` [W] are the curve (expected hacks of all starts); `first` is the
    greatest weight of the good at which any start hacks, `half` that at which half of them do;
    None where that never happens.
    """

    weights: Floats
    hacks: Floats
    first: float | None
    half: float | None


def trusted_values(board: Board, config: ApprovalConfig, steps: int = STEPS) -> Floats:
    """The overseer's values [S, T] of a configured kind."""
    good = optimal_values(board, board.reward("true"), steps)
    if config.kind == "none":
        return np.zeros_like(good)
    if config.kind == "oracle":
        return good
    if config.kind == "noisy":
        return noisy_values(good, config.noise, seed=config.seed)
    if config.kind == "blend":
        reward = config.weight * board.reward("true")
        reward = reward + (1 - config.weight) * board.reward("observed")
        return optimal_values(board, reward, steps)
    if config.kind == "outcome":
        bad = optimal_values(board, board.reward("observed"), steps)
        return config.weight * good + (1 - config.weight) * bad
    return learned_values(board, good, config)


def approved_advantages(board: Board, config: ApprovalConfig, steps: int = STEPS) -> Floats:
    """Observed reward plus approval of each step, [S, 4, T]; kind `none` leaves the reward alone.

    Without approval a step that is not the last is worth its instant reward only.
    """
    return advantages(board, board.reward("observed"), trusted_values(board, config, steps))


def noisy_values(good: Floats, scale: float, *, seed: int) -> Floats:
    """Values [S, T] with Gaussian noise a state, the same at all times, where they are not 0."""
    noise = np.random.default_rng(seed).normal(size=len(good)) * scale
    return np.where(np.abs(good) > _SEEN, good + noise[:, None], good)


def learned_values(board: Board, good: Floats, config: ApprovalConfig) -> Floats:
    """Values learned from an overseer's comparisons of where two moves lead; constant in time.

    Pairs of successors are drawn at random states; the overseer prefers the better one by the
    true value at time 0 with probability sigmoid(sharpness x difference) (Bradley and Terry). A
    utility a state is fitted by logistic regression with an L2 penalty.
    """
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(config.seed)
    value = good[:, 0]
    states = rng.integers(1, len(value), config.comparisons)
    pairs = rng.random((len(states), board.moves.shape[1])).argsort(axis=1)
    first, second = (board.moves[states, pairs[:, side]] for side in (0, 1))
    odds = config.sharpness * (value[first] - value[second])
    preferred = rng.random(len(states)) < 1 / (1 + np.exp(-odds))
    if not 0 < preferred.sum() < len(preferred):
        raise DataError(
            f"got {config.comparisons} comparisons that all fell the same way; expected more of "
            "them, so that there is something to learn"
        )
    rows = np.arange(len(states))
    ones = np.ones(len(states))
    design = csr_matrix(
        (
            np.concatenate([ones, -ones]),
            (np.concatenate([rows, rows]), np.concatenate([first, second])),
        ),
        shape=(len(states), len(value)),
    )
    model = LogisticRegression(C=10.0, fit_intercept=False, max_iter=1000)
    utility = model.fit(design, preferred).coef_[0] / config.sharpness
    # Utilities are known up to a constant; the ended state is worth 0.
    utility = utility - utility[ENDED]
    return np.repeat(utility[:, None], good.shape[1], axis=1)


def outcomes_by_horizon(
    board: Board, advantage: Floats, most: int = STEPS, *, tie: float = TIE
) -> list[Outcome]:
    """Exact outcomes for optimization horizons 1 to `most`, for one approval."""
    return [
        outcome_of(board, uniform_over_best(q, tie=tie))
        for _, q in horizons(board, advantage, most)
    ]


def crossing(
    board: Board, kind: str, weights: Sequence[float], *, steps: int = STEPS, exact: float = 1e-4
) -> Crossing:
    """Where hacking returns for `blend` or `outcome` approval, optimizing one step (MONA).

    The curve is computed at `weights`; the crossings are then bisected to within `exact`.
    """
    if kind not in ("blend", "outcome") or len(weights) < 2:
        raise ConfigError(
            f"got the approval {kind!r} and {len(weights)} weights; expected blend or outcome, "
            "and at least two weights"
        )
    at = np.sort(np.asarray(weights, dtype=np.float64))

    def hacks(weight: float) -> float:
        config = ApprovalConfig.parse({"kind": kind, "weight": weight})
        advantage = approved_advantages(board, config, steps)
        return outcomes_by_horizon(board, advantage, 1)[0].hack

    curve = np.array([hacks(weight) for weight in at])

    def last_above(bound: float) -> float | None:
        above = np.flatnonzero(curve > bound)
        if not len(above):
            return None
        low = above[-1]
        if low == len(at) - 1:
            return float(at[-1])
        inside, outside = float(at[low]), float(at[low + 1])
        while outside - inside > exact:
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if hacks(middle) > bound else (inside, middle)
        return (inside + outside) / 2

    return Crossing(
        weights=at,
        hacks=curve,
        first=last_above(1e-9),
        half=last_above(len(board.starts) / 2),
    )
