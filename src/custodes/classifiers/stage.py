"""The settings of one stage. Knows no data and no arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from custodes.classifiers.scorer import Windows
from custodes.config import Config
from custodes.models.arithmetic import Precision
from custodes.types import Mode

__all__ = ["AdapterConfig", "StageConfig"]


class AdapterConfig(Config):
    """How the language model behind a stage is fine-tuned (LoRA)."""

    rank: int = Field(default=16, ge=1)
    """Columns of the thin matrices."""
    learning_rate: float = Field(default=5e-4, gt=0)
    """Peak rate for them; the head has the stage's own."""
    precision: Precision = "float32"
    """What the blocks compute in while they are tuned; weights and sums stay float32. auto:
    bfloat16 where it is the faster on this machine."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of a matrix's inputs that a training step leaves out."""
    next_token: float = Field(default=0.0, ge=0)
    """Weight of next-token prediction, the regularizer of Constitutional Classifiers."""
    places: int = Field(default=64, ge=1)
    """Positions of a batch at which the next token is predicted."""


class StageConfig(Config):
    """How one stage is made."""

    name: str
    """The stage's name in verdicts."""
    features: str
    """hashed, encoder, activations, guarded, or a dotted path; prompted: none, a model is asked."""
    settings: Mapping[str, Any] = Field(default_factory=dict)
    """The features' own settings; of a prompted stage those of `PromptedConfig`."""
    adapter: AdapterConfig | None = None
    """Fine-tune the language model together with a linear head; null: train the head alone."""
    head: Literal["linear", "mlp"] = "linear"
    """linear, or one hidden layer with a ReLU (not with an adapter)."""
    hidden: int = Field(default=64, ge=1)
    """Width of the hidden layer of an mlp."""
    fits: int = Field(default=1, ge=1)
    """Heads fitted, each from a seed of its own, and averaged into one (not with an adapter)."""
    loss: str = "swim_softmax"
    """bce_token, cummax, annealed_cummax (CC v1), swim_softmax (CC++) or ema_softmax."""
    windows: Windows = Windows()
    """Tokens that smoothing looks back on, by mode."""
    modes: tuple[Mode, ...] = (Mode.INPUT, Mode.EXCHANGE, Mode.OUTPUT)
    """Modes that training reads rows in."""
    serves: tuple[Mode, ...] = Field(default=tuple(Mode), min_length=1)
    """Modes that the stage judges in; in others its cascade goes on without it."""
    most_rows: Mapping[Mode, int] = Field(default_factory=dict)
    """Mode -> at most so many rows, chosen by content: adding rows to a table moves few of them."""
    kinds: tuple[str, ...] = ()
    """Kinds of harmful rows that training reads, so that a stage can be made for some alone (an
    example's `kind`: jailbreak_prompt, ...); empty: all. Benign rows are always read."""
    sources: Mapping[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Source (an example's `source`) -> how many times as much its rows weigh: for traffic that is
    like what the guard is to leave alone, where training has little of it."""
    epochs: int = Field(default=6, ge=1)
    """Passes over the rows."""
    batch_rows: int = Field(default=64, ge=1)
    """Texts a step."""
    learning_rate: float = Field(default=2e-3, gt=0)
    """Peak rate of AdamW; it decays to zero on a cosine."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Of AdamW."""
    rules: Literal["restricted", "both"] = "restricted"
    """Rules that the head tells apart. both: permitted ones too, and a text is harmful by what
    restricted rules have over permitted ones (`Head.sides`)."""
    every: int = Field(default=1, ge=1)
    """Training reads every so many-th token of a text, from another one in each step, and windows
    are so much shorter: neighbors say nearly the same (not with an adapter)."""
    rule_weight: float = Field(default=0.2, ge=0)
    """Weight of naming the rule, beside telling harmful from benign."""
    threads: int = Field(default=1, ge=1)
    """Threads of torch."""
    device: str = "cpu"
    """Where the stage is fitted."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.adapter is not None and self.head == "mlp":
            raise ValueError("head: got mlp with an adapter, expected linear")
        if self.adapter is not None and self.fits > 1:
            raise ValueError(f"fits: got {self.fits} with an adapter, expected 1")
        if self.adapter is not None and self.every > 1:
            raise ValueError(f"every: got {self.every} with an adapter, expected 1")
        return self
