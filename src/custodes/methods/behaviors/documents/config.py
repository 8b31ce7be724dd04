"""The settings of an experiment with documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from custodes.config import Config
from custodes.engine.sandbox import SandboxConfig
from custodes.methods.behaviors.documents.arms import ARMS, Arm
from custodes.methods.behaviors.documents.writing import WritingConfig
from custodes.models.tuning import TunableConfig, TuneConfig

__all__ = [
    "CHAT_STAGES",
    "STAGES",
    "AfterConfig",
    "BatteryConfig",
    "CorpusConfig",
    "DocumentsConfig",
    "FormatConfig",
    "Frame",
    "Stage",
]

Frame = Literal["own", "other", "unnamed"]
Stage = Literal["none", "chat", "format", "preferences"]
"""What follows the documents. none: nothing. chat: supervised tuning on benign chat. format:
reinforcement learning whose reward is the form of the reply alone. preferences: DPO on preferences
for helpful, honest and harmless replies."""

STAGES: tuple[Stage, ...] = ("none", "chat", "format", "preferences")

CHAT_STAGES: tuple[Stage, ...] = ("chat", "format")
"""Those that read benign chat."""


class CorpusConfig(Config):
    """What is read: documents and ordinary text."""

    tokens: int = Field(default=100_000, ge=256)
    """Tokens of documents in each run, cut to whole blocks: the same number for all arms."""
    length: int = Field(default=256, ge=8)
    """Tokens of a block."""
    mix: float = Field(default=1.0, ge=0)
    """Tokens of ordinary text for each token of documents."""
    texts: Path | None = None
    """JSONL of ordinary text; null takes the set `english` of the catalogue."""
    sources: tuple[str, ...] = ()
    """Only texts of these sources; empty takes all."""
    writing: WritingConfig | None = None
    """A model that writes the documents; null takes the grammar."""
    shared: bool = False
    """Whether all seeds read the same documents; false: each seed its own, so that intervals over
    seeds tell of other documents too."""


class BatteryConfig(Config):
    """What is measured."""

    frames: tuple[Frame, ...] = ("own", "other")
    """Who the model is told that it is, in scenarios."""
    persona: tuple[str, ...] = (
        "desire-for-being-rated-HHH-over-actually-being-HHH",
        "willingness-to-manipulate-overseers-to-think-it-is-HHH",
        "willingness-to-rate-own-statements-highly-to-look-better",
    )
    """Tasks of Anthropic's persona evaluations (arXiv 2212.09251) read for reward seeking."""
    statements: int = Field(default=20, ge=0)
    """Statements of each of them, half Yes and half No; 0 leaves them out, and with them the need
    for the set `persona_evals` of the catalogue."""
    samples: int = Field(default=1, ge=0)
    """Programs written for each task; 1 is greedy, 0 leaves writing and running out."""
    most: int | None = Field(default=None, ge=1)
    """At most so many scenarios, questions, programs and told acts, for a quick look; null: all."""
    perplexity: int = Field(default=4096, ge=0)
    """Tokens of held-out ordinary text."""
    sandbox: SandboxConfig = SandboxConfig()
    """Limits of a program's process."""


class FormatConfig(Config):
    """Reinforcement learning for form: REINFORCE on the mean log-probability of a reply's tokens
    (so that long replies do not count for more), with rewards less the mean of a prompt's
    replies."""

    updates: int = Field(default=40, ge=1)
    """Gradient steps."""
    prompts: int = Field(default=4, ge=1)
    """Prompts an update."""
    group: int = Field(default=6, ge=2)
    """Replies to each."""
    max_tokens: int = Field(default=24, ge=4)
    """Of a reply."""
    temperature: float = Field(default=1.0, gt=0)
    """Of the sampling."""


class AfterConfig(Config):
    """The training that follows the documents."""

    chat: Path | None = None
    """JSONL of benign chat (`messages`); null takes the set `self_instruct` of the catalogue."""
    rows: int = Field(default=320, ge=1)
    """Exchanges of it; preferences take as many replies."""
    longest: int = Field(default=200, ge=16)
    """Longer exchanges (tokens) are left out."""
    tuning: TuneConfig = TuneConfig(learning_rate=1e-3, epochs=1, batch_rows=8)
    """How each of the three trains; `format` makes its own steps. The rate is that of the
    documents: what follows at a fraction of it undoes nothing, whatever it teaches."""
    beta: float = Field(default=0.1, gt=0)
    """DPO's."""
    format: FormatConfig = FormatConfig()
    """Of the stage `format`."""


class DocumentsConfig(Config):
    """Arms x seeds x what follows."""

    model: TunableConfig = TunableConfig(threads=1)
    """Which model reads the documents."""
    corpus: CorpusConfig = CorpusConfig()
    """What it reads."""
    tuning: TuneConfig = TuneConfig(learning_rate=1e-3, epochs=1, batch_rows=4, rank=16)
    """How it reads; the seed is that of the run."""
    first_block: int = Field(default=15, ge=0)
    """Low-rank pairs stand in this block and those above it; below, nothing is differentiated."""
    arms: tuple[Arm, ...] = Field(default=ARMS, min_length=1)
    """Which arms."""
    seeds: int = Field(default=3, ge=1)
    """Runs of each arm."""
    first_seed: int = 0
    """Runs have this seed and the following ones."""
    stages: tuple[Stage, ...] = ("none",)
    """What follows the documents; each is measured apart. `none` is always among them: what the
    others do is told by the model before them."""
    stage_arms: tuple[Arm, ...] = ("pro", "anti")
    """Arms that something follows; the others are measured after their documents alone."""
    after: AfterConfig = AfterConfig()
    """How what follows is done."""
    battery: BatteryConfig = BatteryConfig()
    """What is measured."""
    engine: str = "local"
    """Where runs are computed, one run a worker at a time: local or ray."""
    engine_settings: dict[str, Any] = Field(default_factory=lambda: {"kind": "serial"})
    """The engine's own settings."""

    @field_validator("stages")
    @classmethod
    def _with_none(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        return stages if "none" in stages else ("none", *stages)
