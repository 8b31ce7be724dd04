"""Steps a second: one environment under stable-baselines3 against the batched tables."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np

from custodes.methods.mona.config import PPOConfig
from custodes.methods.mona.gridworld.batched import BatchedBoard, paid_for_entering
from custodes.methods.mona.gridworld.board import Board

COUNT = 4096


def figures(options: Any) -> list[dict]:
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(1)
    full = options.size == "full"
    board = Board()
    learning = single_with_learning(board, 4096 if full else 2048)
    alone = single_alone(board, 20_000)
    batched = batched_alone(board, 2_000_000)
    with_learning = batched_with_learning(board, 4 if full else 1)
    unit = "steps a CPU-s"
    return [
        {"figure": "one environment, PPO as in the reference", "value": learning, "unit": unit},
        {"figure": "one environment, step() alone", "value": alone, "unit": unit},
        {"figure": f"{COUNT:,} episodes batched, step() alone", "value": batched, "unit": unit},
        {"figure": "256 episodes batched, PPO as configured", "value": with_learning, "unit": unit},
        {
            "figure": "environment steps batched, against one environment under PPO",
            "value": batched / learning,
            "unit": "x",
            "target": ">= 20 x",
        },
        {
            "figure": "environment steps batched, against step() alone",
            "value": batched / alone,
            "unit": "x",
        },
        {
            "figure": "PPO batched, against one environment under PPO",
            "value": with_learning / learning,
            "unit": "x",
        },
    ]


def single_with_learning(board: Board, steps: int) -> float:
    """Reference settings: n_steps 2048, batches of 64, 10 passes."""
    from stable_baselines3 import PPO

    from custodes.methods.mona.gridworld.environment import CameraDropbox

    model = PPO(
        "MlpPolicy", CameraDropbox(board), learning_rate=5e-5, gamma=1.0, ent_coef=0.05,
        clip_range=0.3, seed=0, device="cpu",
    )  # fmt: skip
    began = time.process_time()
    model.learn(steps)
    return model.num_timesteps / (time.process_time() - began)


def single_alone(board: Board, steps: int) -> float:
    from custodes.methods.mona.gridworld.environment import CameraDropbox

    env = CameraDropbox(board)
    env.reset(seed=0)
    actions = np.random.default_rng(0).integers(4, size=steps)
    began = time.process_time()
    for action in actions:
        if env.step(action)[2]:
            env.reset()
    return steps / (time.process_time() - began)


def batched_alone(board: Board, steps: int) -> float:
    batch = BatchedBoard(board, paid_for_entering(board, board.reward("observed"), 50), COUNT)
    actions = np.random.default_rng(0).integers(4, size=(steps // COUNT, COUNT))
    began = time.process_time()
    for row in actions:
        batch.step(row)
    return actions.size / (time.process_time() - began)


def batched_with_learning(board: Board, rollouts: int) -> float:
    from custodes.methods.mona.gridworld.ppo import train

    config = PPOConfig()
    config = config.model_copy(
        update={"total": rollouts * config.rollout * config.episodes, "judge_every": 10**9}
    )
    *_, last = train(board, "mona", config, seed=0)
    return last.steps / last.seconds
