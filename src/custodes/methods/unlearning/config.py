"""The settings of an unlearning study. Knows no computation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from custodes.config import Config
from custodes.models.tuning import TunableConfig, TuneConfig

__all__ = [
    "ARMS",
    "METHODS",
    "Arm",
    "FactsConfig",
    "Method",
    "RelearnConfig",
    "RemovalConfig",
    "StudyConfig",
]

Method = Literal["graddiff", "npo", "simnpo", "rmu", "random-incorrect"]
Arm = Literal["graddiff", "npo", "simnpo", "rmu", "random-incorrect", "none", "withheld", "never"]

METHODS: tuple[Method, ...] = ("graddiff", "npo", "simnpo", "rmu", "random-incorrect")
"""What removes facts."""
ARMS: tuple[Arm, ...] = (*METHODS, "none", "withheld", "never")
"""The methods, nothing removed, facts withheld from training, and a model never trained here."""

_RATES: dict[Method, tuple[float, ...]] = {
    "graddiff": (1e-4, 2e-4),
    "npo": (7e-4, 1e-3),
    "simnpo": (3e-4, 5e-4),
    "rmu": (5e-4, 1e-3),
    "random-incorrect": (3e-4, 1e-3),
}


class FactsConfig(Config):
    """Which facts, and who may see them."""

    kind: Literal["invented", "capitals", "file"] = "invented"
    """invented: a grammar's, implanted first. capitals: shipped. file: your own.

    The latter two are known to the model already, so nothing is implanted, and the controls that
    never knew are left out.
    """
    path: Path | None = None
    """file: JSONL, one fact a line; see the method's README."""
    forget: int = Field(default=48, ge=6, le=100_000)
    """invented: how many to forget."""
    neighbors: int = Field(default=32, ge=6, le=100_000)
    """invented: how many that must survive."""
    options: int = Field(default=4, ge=2)
    """Answers of a multiple-choice question; who knows nothing is right in 1 of so many."""
    shares: tuple[float, float] = (0.25, 0.375)
    """Of the facts to forget: to stop the removal by, and T, which the attacker has; the rest is V.

    A share each.
    """
    neighbor_shares: tuple[float, float] = (0.5, 0.2)
    """Of the neighbors: in the retain loss, and to stop by; side effects are measured on the rest.

    A share each.
    """
    familiar: bool = True
    """capitals, file: keep only facts to forget that the model answers rightly, so that there is
    something to remove; neighbors likewise."""

    @model_validator(mode="after")
    def _fits(self) -> FactsConfig:
        if (self.path is None) == (self.kind == "file"):
            raise ValueError(f"path: got {self.path}; the kind file has one, {self.kind} has not")
        for shares in (self.shares, self.neighbor_shares):
            if min(shares) <= 0 or sum(shares) >= 1:
                raise ValueError(f"shares: got {shares}, expected two above 0 with a sum below 1")
        return self


class RelearnConfig(TuneConfig):
    """The attack: the facts of T are taught again."""

    learning_rate: float = Field(default=1e-3, gt=0)
    """The greatest rate of AdamW."""
    epochs: float = Field(default=8, gt=0)
    """Passes over the statements of T."""
    points: tuple[int, ...] = (0, 1, 2, 4, 8)
    """After which epochs the curve is measured; the last is always."""


class RemovalConfig(Config):
    """How facts are removed, and when it is enough."""

    methods: tuple[Method, ...] = METHODS
    """Which."""
    tune: TuneConfig = TuneConfig(epochs=6, batch_rows=16, schedule="constant", warmup=0.0)
    """At most so many epochs, so many statements to forget a step and as many to retain, what is
    tuned. The learning rate and the seed are taken from elsewhere."""
    rates: dict[Method, tuple[float, ...]] = Field(default_factory=lambda: dict(_RATES))
    """Learning rates, weakest first; each starts afresh until one is enough."""
    margin: float = Field(default=0.1, ge=0)
    """Enough is removed once accuracy on the validation facts is at most chance plus this."""
    survive: float = Field(default=0.8, ge=0, le=1)
    """A rate is good if so much of the watched neighbors' accuracy over chance is left."""
    retain: float = Field(default=3.0, ge=0)
    """Weight of the loss on neighbors and on ordinary text."""
    text: str | None = None
    """Ordinary text to retain, a row of 128 tokens a step: a set of the catalogue (english) or a
    file; null: none, and perplexity tells what that costs. Not what perplexity is measured on."""
    npo_beta: float = Field(default=0.1, gt=0)
    """NPO's beta (paper: 0.1)."""
    simnpo_beta: float = Field(default=0.5, gt=0)
    """SimNPO's beta (paper, TOFU: 2.5). Its gradient fades with the probability itself, so with
    answers of one word a great beta stops while the right one is still the likeliest."""
    simnpo_gamma: float = Field(default=0.0, ge=0)
    """SimNPO's margin (paper, TOFU: 0 to 0.125)."""
    rmu_layer: int = Field(default=7, ge=1)
    """RMU: the block whose output is pushed; blocks behind it stay as they are."""
    rmu_scale: float = Field(default=6.5, gt=0)
    """RMU: length of the control vector over the mean length of the states (paper: 6.5 x a
    uniform vector in [0, 1]^d of length 1, for Zephyr 7B)."""
    rmu_retain: float = Field(default=10.0, ge=0)
    """RMU: weight of the retained states (paper: 1200 for a control vector 20 times smaller)."""


class StudyConfig(Config):
    """Implant, remove, relearn, several seeds."""

    model: TunableConfig = TunableConfig(threads=1)
    """Which model, and how it computes."""
    seeds: int = Field(default=3, ge=1)
    """Runs; each has its own facts, split and order."""
    first_seed: int = Field(default=0, ge=0)
    """The first run's."""
    facts: FactsConfig = FactsConfig()
    """Which facts."""
    implant: TuneConfig = TuneConfig(epochs=8, batch_rows=32, learning_rate=1e-3)
    """How invented facts are put in."""
    removal: RemovalConfig = RemovalConfig()
    """How they are taken out."""
    relearn: RelearnConfig = RelearnConfig()
    """How they are looked for."""
    controls: tuple[Literal["none", "withheld", "never"], ...] = ("none", "withheld", "never")
    """none: nothing was removed. withheld: the facts were never in training, the neighbors were.
    never: nothing was trained before the attack."""
    text: str | None = None
    """Ordinary text for the perplexity: a set of the catalogue (english) or a file; null takes a
    short text of the package's own."""
    text_tokens: int = Field(default=2048, ge=64)
    """How much of it."""
    resamples: int = Field(default=2000, ge=100)
    """Of seeds and facts, for the intervals."""
    engine: str = "local"
    """local, ray or a stranger's."""
    engine_settings: dict[str, Any] = Field(default_factory=dict)
    """The engine's own; kind=serial runs one cell after the other in this process."""

    @model_validator(mode="after")
    def _fits(self) -> StudyConfig:
        if "rmu" in self.removal.methods and self.removal.tune.kind == "full":
            raise ValueError("rmu compares with the model before it: set removal.tune.kind=lora")
        if self.text is not None and self.text == self.removal.text:
            raise ValueError(
                f"text: got {self.text}, which removal.text retains; perplexity needs other text"
            )
        if self.removal.tune.epochs < 1 or self.removal.tune.epochs % 1:
            raise ValueError(
                f"removal.tune.epochs: got {self.removal.tune.epochs:g}, expected a whole number: "
                "a removal is looked at after each"
            )
        if not set(self.arms) - {"withheld", "never"}:
            raise ValueError(
                f"got no arm but {', '.join(self.arms) or 'none'}; recovery compares with what the "
                "untouched model knows: give removal.methods, or the control none"
            )
        missing = [name for name in self.removal.methods if not self.removal.rates.get(name)]
        if missing:
            raise ValueError(f"removal.rates: expected at least one for {', '.join(missing)}")
        return self

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Everything that is relearned."""
        known = self.facts.kind != "invented"
        controls = [name for name in self.controls if name == "none" or not known]
        return (*self.removal.methods, *controls)
