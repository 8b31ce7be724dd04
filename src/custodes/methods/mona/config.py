"""The settings of MONA: what each environment and each study may be told. Knows no computation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from custodes.config import Config

__all__ = [
    "ApprovalConfig",
    "BoardConfig",
    "GridworldConfig",
    "PPOConfig",
]


class BoardConfig(Config):
    """The Camera Dropbox board."""

    rows: int = Field(default=4, ge=2)
    """Rows; the hole is at the bottom left."""
    columns: int = Field(default=4, ge=2)
    """Columns; the camera is at the bottom right and looks left."""
    boxes: int = Field(default=2, ge=1)
    """Boxes at the start; one delivered is intended, more are a hack."""
    blocking: int = Field(default=1, ge=0)
    """So many other boxes on the bottom row hide the hole from the camera."""
    penalty: float = Field(default=0.01, ge=0)
    """What a step costs."""


class ApprovalConfig(Config):
    """What the overseer approves of."""

    kind: Literal["none", "oracle", "noisy", "blend", "learned", "outcome"] = "oracle"
    """none: nothing, only the instant reward. oracle: the optimal values of the true reward.

    noisy: those with noise. blend: the optimal values of a mixture of true and observed reward.
    learned: fitted to an overseer's comparisons. outcome: a mixture of the optimal values of the
    true and of the observed reward, so that approval follows the outcome it should not see.
    """
    noise: float = Field(default=0.5, ge=0)
    """noisy: standard deviation of the noise, a draw a state."""
    weight: float = Field(default=0.5, ge=0, le=1)
    """blend, outcome: share of the true reward or value."""
    comparisons: int = Field(default=30_000, ge=2)
    """learned: how many pairs the overseer compares."""
    sharpness: float = Field(default=100.0, gt=0)
    """learned: log-odds of preferring what is better by 1; a step costs 0.01."""
    seed: int = 0
    """noisy, learned: the draw."""


class GridworldConfig(Config):
    """The exact study of the gridworld: all horizons, the crossover under noise, the spectrum."""

    board: BoardConfig = BoardConfig()
    """The board."""
    steps: int = Field(default=50, ge=2)
    """Steps of an episode."""
    noise: float = Field(default=0.5, ge=0)
    """Noise of the overseer in the crossover."""
    noise_seeds: int = Field(default=20, ge=1)
    """Draws of the noise."""
    weights: int = Field(default=41, ge=2)
    """Points of each curve of the approval spectrum."""
    comparisons: tuple[int, ...] = (1_000, 10_000, 100_000)
    """Learned approval: numbers of comparisons."""
    seed: int = 0
    """The first seed of whatever is random."""


class PPOConfig(Config):
    """PPO on the gridworld. stable-baselines3's defaults where nothing is said here."""

    total: int = Field(default=1_000_000, ge=1)
    """Steps of all episodes together."""
    steps: int = Field(default=50, ge=2)
    """Steps of an episode."""
    horizon: int = Field(default=1, ge=1)
    """MONA: steps that count, this one included."""
    approval: ApprovalConfig = ApprovalConfig()
    """MONA: what the overseer approves of."""
    episodes: int = Field(default=256, ge=1)
    """Episodes side by side."""
    rollout: int = Field(default=50, ge=1)
    """Steps of each between two updates."""
    batch_size: int = Field(default=1600, ge=1)
    """Steps of one gradient step."""
    epochs: int = Field(default=10, ge=1)
    """Passes over a rollout."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Of Adam."""
    clip: float = Field(default=0.3, gt=0)
    """How far the ratio of probabilities may go."""
    entropy: float = Field(default=0.05, ge=0)
    """Weight of the entropy bonus."""
    normalize: bool = True
    """Divide rewards by the running deviation of returns."""
    layers: tuple[int, ...] = (64, 64)
    """Hidden units of policy and value network each."""
    judge_every: int = Field(default=50_000, ge=1)
    """Steps between two checkpoints."""
