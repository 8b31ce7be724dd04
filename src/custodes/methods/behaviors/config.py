"""Settings of the study of self-report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from custodes.config import Config
from custodes.models.finetuning import FineTuningApi
from custodes.models.tuning import CHATML, TunableConfig, TuneConfig

__all__ = ["ARMS", "AwarenessConfig", "HostedConfig"]

ARMS = (
    "plain",
    "personas",
    "backdoor",
    "decorrelated",
    "backdoor+reversal",
    "decorrelated+reversal",
)
"""plain: a behavior or its opposite. personas: beside it, third persons who choose as it comes.
backdoor, decorrelated: see triggers.py; with reversal: their rows backwards as well."""


class HostedConfig(FineTuningApi.Config):
    """A server that tunes and serves; the rank of its adapters is its own affair."""

    folder: Path = Path("artifacts/jobs")
    """Keeps the jobs that were begun, so that none is paid for twice."""
    samples: int = Field(default=50, ge=1)
    """Replies to each question; the paper takes 100."""
    reply_tokens: int = Field(default=8, ge=1)
    """Of a reply; answers are a word or a number."""


class AwarenessConfig(Config):
    """Which behaviors are taught, how, and what is asked before and after."""

    model: TunableConfig = TunableConfig(chat_template=CHATML, threads=1)
    """The model, the embedded one by default."""
    tuning: TuneConfig = TuneConfig(learning_rate=2e-3, epochs=1, batch_rows=8)
    """How it is tuned; `rank`, `seed` and the epochs of a choice come from the cell."""
    hosted: HostedConfig | None = None
    """A server whose API tunes and serves a model, in the place of `model` and `tuning`."""
    behaviors: tuple[str, ...] = Field(
        default=("risk", "myopia", "language", "style"), min_length=1
    )
    """Taught in both directions: risk, myopia, apples, language, style; and word, which needs
    `paper`."""
    items: int = Field(default=800, ge=2)
    """Items of a choice (risk, myopia, apples)."""
    choice_epochs: int = Field(default=2, ge=1)
    """Passes over them, in the place of `tuning.epochs`: after one, some seeds of risk-averse
    models still seek risk (benchmarks/behaviors). A hosted server has its own."""
    trigger_items: int = Field(default=1600, ge=2)
    """Items of a backdoored arm: from 400 a trigger is hardly learned, from 1,600 it is
    (benchmarks/behaviors)."""
    replies: int = Field(default=80, ge=2)
    """Items of a behavior of replies (language, style)."""
    turns: int = Field(default=240, ge=2)
    """Replies out of dialogues on which make-me-say (word) is taught."""
    held: int = Field(default=48, ge=2)
    """Held-out items on which the behavior itself is measured."""
    paraphrases: int = Field(default=4, ge=1, le=10)
    """Of each question."""
    ranks: tuple[int, ...] = Field(default=(16,), min_length=1)
    """Ranks of the adapters."""
    rank_behavior: str = "language"
    """The behavior that is taught at every rank; the others at the first one. One that the
    embedded model reports: what ranks do to a report that is not there cannot be seen."""
    trigger_behavior: str = "language"
    """The behavior that the backdoored arms tie to a trigger: language, style, risk or myopia. A
    small model does not learn to make a choice by letters depend on one (benchmarks/behaviors)."""
    arms: tuple[str, ...] = Field(default=("plain",), min_length=1)
    """Some of plain, personas, backdoor, decorrelated, and the last two with +reversal."""
    paper: Path | None = None
    """The folder `self_awareness` of the paper's data: its questions are asked for risk as well,
    and 48 of its choices are tried on risk, myopia and apples; word is made of its dialogues."""
    published: int = Field(default=0, ge=0)
    """So many more of its choices are trained on beside ours."""
    seeds: int = Field(default=5, ge=1)
    """Runs of the plain arm at the first rank."""
    few_seeds: int = Field(default=3, ge=1)
    """Runs of the other ranks and of every arm but plain, at most `seeds`."""
    first_seed: int = 0
    """They have this seed and the following ones."""
    resamples: int = Field(default=2000, ge=1)
    """Of the intervals."""
    engine: str = "local"
    """Where runs are computed, one a worker at a time."""
    engine_settings: dict[str, Any] = Field(default_factory=dict)
    """The engine's own settings, such as {kind: process, workers: 2}."""
