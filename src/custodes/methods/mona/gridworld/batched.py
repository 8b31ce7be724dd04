"""Camera Dropbox for thousands of agents at once: every step is a look-up in the board's tables.

numpy only. Rewards are a table over state, action and time, so the same code pays the observed
reward, or MONA's instant reward plus approval. Knows no learner.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from custodes.errors import ConfigError
from custodes.methods.mona.gridworld.board import ENDED, Board, Floats, Integers

__all__ = ["BatchedBoard", "features", "paid_for_entering"]


def paid_for_entering(board: Board, reward: Floats, steps: int) -> Floats:
    """A reward of the state entered as a table [S, 4, T]."""
    return np.repeat(reward[board.moves][..., None], steps, axis=2)


def features(board: Board) -> NDArray[np.float32]:
    """What lies on each cell, one-hot, [S, 3 x cells]: what a network reads."""
    tiles = board.tiles.astype(np.int64)
    return np.eye(3, dtype=np.float32)[tiles].reshape(len(tiles), -1)


class BatchedBoard:
    """`count` episodes side by side; one that ends begins anew at a drawn start.

    `rewards` [S, 4, T]: what an action at a state and time is paid. Same seed, same episodes.
    """

    def __init__(self, board: Board, rewards: Floats, count: int, *, seed: int = 0) -> None:
        if count < 1:
            raise ConfigError(f"got {count} episodes side by side; expected at least 1")
        self.board = board
        self.steps = rewards.shape[2]
        self._rewards = np.ascontiguousarray(rewards, dtype=np.float32)
        self._rng = np.random.default_rng(seed)
        self.count = count
        self.states: Integers = np.empty(count, dtype=np.int64)
        self.times: Integers = np.zeros(count, dtype=np.int64)
        self.reset()

    def reset(self) -> None:
        """All episodes begin."""
        self.states[:] = self._drawn(self.count)
        self.times[:] = 0

    def step(self, actions: Integers) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Rewards [count] and which episodes ended [count]; those have begun anew."""
        rewards = self._rewards[self.states, actions, self.times]
        self.states = self.board.moves[self.states, actions]
        self.times += 1
        ended = (self.states == ENDED) | (self.times >= self.steps)
        over = np.flatnonzero(ended)
        if len(over):
            self.states[over] = self._drawn(len(over))
            self.times[over] = 0
        return rewards, ended

    def _drawn(self, count: int) -> Integers:
        return self.board.starts[self._rng.integers(len(self.board.starts), size=count)]
