"""PPO on Camera Dropbox with stable-baselines3 as the learner. Needs the extra `rl`.

Ordinary reinforcement learning is paid the observed reward over whole episodes. MONA is paid
instant reward plus approval, step by step: every step begins a sub-episode of length M, and no
value flows back over its end. A policy is judged exactly, from its action probabilities at every
state and time, so that no figure here is sampled.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from custodes.errors import MissingExtraError
from custodes.methods.mona.config import PPOConfig
from custodes.methods.mona.credit import Arm
from custodes.methods.mona.gridworld.approval import approved_advantages
from custodes.methods.mona.gridworld.batched import BatchedBoard, features, paid_for_entering
from custodes.methods.mona.gridworld.board import Board, Floats
from custodes.methods.mona.gridworld.solver import outcome_of

try:
    import torch
    from gymnasium import spaces
    from stable_baselines3 import PPO
    from stable_baselines3.common.buffers import RolloutBuffer
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.vec_env import VecEnv, VecNormalize
except ModuleNotFoundError as error:
    raise MissingExtraError((error.name or "stable_baselines3").split(".")[0], "rl") from error

__all__ = ["Checkpoint", "TableVecEnv", "WindowBuffer", "policy_table", "train"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A policy at some moment of training, judged exactly: as it acts, and by its likeliest acts.

    Each of `sampled` and `greedy` is an `Outcome` as a dictionary.
    """

    arm: str
    seed: int
    steps: int
    seconds: float
    sampled: dict[str, Any]
    greedy: dict[str, Any]


class TableVecEnv(VecEnv):
    """A `BatchedBoard` as stable-baselines3 wants it; observations are one-hot time and cells."""

    def __init__(self, batch: BatchedBoard) -> None:
        self._batch = batch
        self._cells = features(batch.board)
        self._clock = np.eye(batch.steps, dtype=np.float32)
        self._actions: NDArray[np.int64] = np.zeros(batch.count, dtype=np.int64)
        self._nothing: list[dict[str, Any]] = [{} for _ in range(batch.count)]
        width = batch.steps + self._cells.shape[1]
        super().__init__(
            batch.count, spaces.Box(0.0, 1.0, (width,), np.float32), spaces.Discrete(4)
        )

    def reset(self) -> NDArray[np.float32]:
        """All episodes begin."""
        self._batch.reset()
        return self._observations()

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = np.asarray(actions, dtype=np.int64)

    def step_wait(self) -> tuple[NDArray[np.float32], NDArray[np.float32], Any, list[Any]]:
        """Observations, rewards, which episodes ended, and nothing else to tell."""
        rewards, ended = self._batch.step(self._actions)
        return self._observations(), rewards, ended, self._nothing

    def _observations(self) -> NDArray[np.float32]:
        return np.concatenate(
            [self._clock[self._batch.times], self._cells[self._batch.states]], axis=1
        )

    def close(self) -> None:
        """Nothing is held."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """One value for all: the episodes share their board."""
        value = None if attr_name == "render_mode" else getattr(self, attr_name)
        return [value] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set on all at once."""
        setattr(self, attr_name, value)

    def env_method(self, method_name: str, *args: Any, **kwargs: Any) -> list[Any]:
        """There are no environments beneath to call."""
        raise NotImplementedError(f"{method_name}: the episodes are rows of one table")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Never."""
        return [False] * self.num_envs


class WindowBuffer(RolloutBuffer):
    """Returns over the next `horizon` steps of an episode and nothing after them.

    Every step begins a window, for any number of environments. No value is bootstrapped: not at
    a window's end, since what comes later is not to count, nor where the rollout cuts a window.
    With horizon 1 the advantage of a step is its reward minus the value there.
    """

    def __init__(self, *args: Any, horizon: int = 1, **kwargs: Any) -> None:
        self._horizon = horizon
        super().__init__(*args, **kwargs)

    def compute_returns_and_advantage(self, last_values: Any, dones: Any) -> None:
        """Sum the rewards of each window; `last_values` are not looked at."""
        length = self.buffer_size
        going = np.ones((length, self.n_envs), dtype=np.float32)
        self.returns = self.rewards.copy()
        for ahead in range(1, min(self._horizon, length)):
            # A step where an episode starts is not a continuation of the step before it.
            going[: length - ahead] *= 1.0 - self.episode_starts[ahead:]
            going[length - ahead :] = 0.0
            self.returns[: length - ahead] += going[: length - ahead] * self.rewards[ahead:]
        self.advantages = self.returns - self.values


class _Judge(BaseCallback):
    """Judges the policy every so many steps; holds what it found."""

    def __init__(self, board: Board, arm: str, seed: int, every: int) -> None:
        super().__init__()
        self.found: list[Checkpoint] = []
        self._board, self._arm, self._seed, self._every = board, arm, seed, every
        self._began = time.process_time()
        self._judging = 0.0

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self.num_timesteps >= len(self.found) * self._every:
            self.judge()

    def judge(self) -> None:
        """Add a checkpoint; the time it takes is not counted as training."""
        at = time.process_time()
        spent = at - self._began - self._judging
        probabilities = policy_table(self.model.policy, self._board)
        best = np.eye(4)[probabilities.argmax(axis=1)].transpose(0, 2, 1)
        self.found.append(
            Checkpoint(
                arm=self._arm,
                seed=self._seed,
                steps=self.num_timesteps,
                seconds=spent,
                sampled=asdict(outcome_of(self._board, probabilities)),
                greedy=asdict(outcome_of(self._board, best)),
            )
        )
        self._judging += time.process_time() - at


def policy_table(policy: Any, board: Board) -> Floats:
    """A policy's action probabilities at every state and time, [S, 4, T]."""
    cells = torch.from_numpy(features(board))
    steps = policy.observation_space.shape[0] - cells.shape[1]
    clock = torch.eye(steps)
    table = np.empty((len(board.states), 4, steps))
    with torch.inference_mode():
        for at in range(steps):
            seen = torch.cat([clock[at].expand(len(cells), -1), cells], dim=1)
            table[:, :, at] = policy.get_distribution(seen).distribution.probs.double().numpy()
    return np.asarray(table / table.sum(axis=1, keepdims=True))


def train(board: Board, arm: Arm, config: PPOConfig, *, seed: int) -> Iterator[Checkpoint]:
    """Train one arm from one seed; checkpoints in order, the last one after all steps."""
    torch.set_num_threads(1)
    whole = arm == "ordinary"
    if whole:
        rewards = paid_for_entering(board, board.reward("observed"), config.steps)
    else:
        none = config.approval.model_copy(update={"kind": "none"})
        approval = config.approval if arm == "mona" else none
        rewards = approved_advantages(board, approval, config.steps)
    inner = TableVecEnv(BatchedBoard(board, rewards, config.episodes, seed=seed))
    # The scale is that of running returns, whatever the window: it is a scale only.
    env = VecNormalize(inner, norm_obs=False, norm_reward=config.normalize, gamma=1.0)
    model = PPO(
        "MlpPolicy",
        env,
        learning_rate=config.learning_rate,
        n_steps=config.rollout,
        batch_size=config.batch_size,
        n_epochs=config.epochs,
        gamma=1.0,
        clip_range=config.clip,
        ent_coef=config.entropy,
        policy_kwargs={"net_arch": list(config.layers)},
        seed=seed,
        device="cpu",
        rollout_buffer_class=None if whole else WindowBuffer,
        rollout_buffer_kwargs=None if whole else {"horizon": config.horizon},
    )
    judge = _Judge(board, arm, seed, config.judge_every)
    model.learn(config.total, callback=judge)
    judge.judge()
    yield from judge.found
