"""The settings of one stage. Knows no data and no arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from custodes.classifiers.scorer import Windows
from custodes.config import Config
from custodes.types import Mode

__all__ = ["StageConfig"]


class StageConfig(Config):
    """How one stage is made."""

    name: str
    """The stage's name in verdicts."""
    features: str
    """hashed, activations, or a dotted path."""
    settings: Mapping[str, Any] = Field(default_factory=dict)
    """The features' own settings."""
    head: Literal["linear", "mlp"] = "linear"
    """linear, or one hidden layer with a ReLU."""
    hidden: int = Field(default=64, ge=1)
    """Width of the hidden layer of an mlp."""
    loss: str = "swim_softmax"
    """bce_token, cummax, annealed_cummax (CC v1) or swim_softmax (CC++)."""
    windows: Windows = Windows()
    """Tokens that smoothing looks back on, by mode."""
    modes: tuple[Mode, ...] = (Mode.INPUT, Mode.EXCHANGE, Mode.OUTPUT)
    """Modes that training reads rows in; the scorer serves all three."""
    most_rows: Mapping[Mode, int] = Field(default_factory=dict)
    """Mode -> at most so many rows, chosen by content: adding rows to a table moves few of them."""
    epochs: int = Field(default=6, ge=1)
    """Passes over the rows."""
    batch_rows: int = Field(default=64, ge=1)
    """Texts a step."""
    learning_rate: float = Field(default=2e-3, gt=0)
    """Peak rate of AdamW; it decays to zero on a cosine."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Of AdamW."""
    rule_weight: float = Field(default=0.2, ge=0)
    """Weight of naming the rule, beside telling harmful from benign."""
    threads: int = Field(default=1, ge=1)
    """Threads of torch."""
    device: str = "cpu"
    """Where the head is fitted."""
