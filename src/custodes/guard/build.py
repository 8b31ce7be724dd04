"""Make a guard: examples and a constitution -> trained stages -> a guard's folder.

The guard that comes out is not calibrated: its thresholds are 0.5 until `calibration` sets them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from custodes.classifiers import (
    PromptedConfig,
    PromptedScorer,
    Scorer,
    StageConfig,
    Windows,
    fit_stage,
    labelled_rows,
    save_scorer,
)
from custodes.config import Config
from custodes.constitution import Constitution, Rule, constitution_hash
from custodes.constitution.writing import to_yaml
from custodes.errors import ConfigError
from custodes.guard.cascade import Cascade, Stage
from custodes.guard.folder import Manifest, save_guard
from custodes.guard.guard import Edition, Guard
from custodes.guard.policy import Policy
from custodes.types import Example, Mode, RuleId

__all__ = ["GuardConfig", "GuardStage", "build_guard", "default_stages", "prompted_stage"]

PROMPTED = "prompted"
"""What `features` says of a stage that asks a model and has no features."""

Size = Literal["tiny", "small", "full"]

_TOKENS = {"tiny": 48, "small": 96, "full": 128}
_LAYERS = {"tiny": [4, 8], "small": [4, 8], "full": [4, 8, 12]}


class GuardStage(StageConfig):
    """A stage and its place in the cascade."""

    weight: float = Field(default=1.0, gt=0)
    """Its share in the average of the logits."""
    escalate: float | None = Field(default=None, gt=0, lt=1)
    """Share of benign traffic that calibration lets this stage pass on; None: all of it."""


def default_stages(size: Size) -> tuple[GuardStage, ...]:
    """Hashed n-grams first, activations of the embedded model behind them."""
    windows = Windows(input=64, output=32, exchange=32)
    activations: dict[str, Any] = {"layers": _LAYERS[size], "max_tokens": _TOKENS[size]}
    return (
        GuardStage(name="hashed", features="hashed", learning_rate=0.02, windows=windows),
        GuardStage(
            name="activations",
            features="activations",
            settings=activations,
            head="mlp",
            # A reply alone is read like one in context; training on both would cost twice.
            modes=(Mode.INPUT, Mode.EXCHANGE),
            windows=windows,
            weight=4.0,
        ),
    )


class GuardConfig(Config):
    """How a guard is made."""

    size: Size = "tiny"
    """The dial: how much of a text training reads, and how deep; see `default_stages`."""
    stages: tuple[GuardStage, ...] = ()
    """First to last; empty: the default stages of the size."""
    seed: int = Field(default=0, ge=0)
    """Two guards of one seed, from the same rows on the same kind of machine, agree."""
    emphasis: Mapping[RuleId, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Rule -> how many times as much its rows weigh: for one that was edited, so that the guard
    follows it rather than its neighbors."""
    policy: Policy = Policy()
    """What a verdict means, and for which rules something else; `custodes calibrate` sets its
    thresholds, and with --policy the rest of it later."""

    def resolved(self) -> GuardConfig:
        """With the default stages written out."""
        return self.model_copy(update={"stages": self.stages or default_stages(self.size)})


def build_guard(
    examples: Sequence[Example],
    constitution: Constitution,
    config: GuardConfig,
    *,
    folder: Path,
    card: str,
    cache: Path | None = None,
    progress: Callable[[str, float], None] = lambda stage, share: None,
) -> Manifest:
    """Train every stage on the labelled rows of `examples` and write the guard to `folder`.

    `cache` keeps dense features between trainings. The restricted rules of `constitution` are
    what the guard can name; an example's rule that is not among them is a `ConfigError`.
    """
    rules = tuple(rule.id for rule in constitution.restricted)
    known = {rule.id for rule in constitution.rules}
    for setting, named, of in (
        ("emphasis", config.emphasis, known),
        ("policy.rules", config.policy.rules, set(rules)),
    ):
        if unknown := sorted(set(named) - of):
            raise ConfigError(
                f"{setting}: got {', '.join(unknown)}; expected some of {', '.join(sorted(of))}, "
                f"of {constitution.id}@{constitution.version}"
            )
    strangers = sorted({e.rule for e in examples if e.rule is not None} - known)
    if strangers:
        raise ConfigError(
            f"examples name rules that {constitution.id}@{constitution.version} has not: "
            f"{', '.join(strangers[:5])}; train with the constitution that they were written from"
        )
    rows = labelled_rows(examples)
    stages = []
    with tempfile.TemporaryDirectory(prefix="custodes-") as work:
        folders: dict[str, Path] = {}
        for stage in config.resolved().stages:
            place = folders[stage.name] = Path(work) / stage.name
            scorer: Scorer
            if stage.features == PROMPTED:
                scorer = prompted_stage(stage, constitution)
                scorer.save(place)
            else:
                scorer = fit_stage(
                    rows,
                    stage,
                    rules=rules,
                    seed=config.seed,
                    emphasis=config.emphasis,
                    cache=cache,
                    progress=progress,
                )
                save_scorer(scorer, place, features=stage.features)
            stages.append(Stage(scorer=scorer, weight=stage.weight))
        guard = Guard(Cascade(stages), config.policy, edition=edition(constitution))
        text = Path(work) / "constitution.yaml"
        text.write_text(to_yaml(constitution), encoding="utf-8")
        return save_guard(folder, guard, scorers=folders, card=card, constitution=text)


def prompted_stage(stage: GuardStage, constitution: Constitution) -> PromptedScorer:
    """A stage that asks a model: its settings are those of `PromptedConfig`, and the lines about
    what is restricted and permitted come from the constitution where the settings have none."""
    settings = PromptedConfig.parse(
        {"name": stage.name, **stage.settings}, origin=f"settings of stage {stage.name}"
    )

    def lines(rules: Sequence[Rule]) -> tuple[str, ...]:
        whole = settings.detail == "texts"
        return tuple(" ".join((rule.text if whole else rule.title).split()) for rule in rules)

    return PromptedScorer.of(
        settings.model_copy(
            update={
                "restricted": settings.restricted or lines(constitution.restricted),
                "permitted": settings.permitted or lines(constitution.permitted),
            }
        )
    )


def edition(constitution: Constitution) -> Edition:
    """What a guard remembers of its constitution."""
    return Edition(
        id=constitution.id,
        version=constitution.version,
        sha256=constitution_hash(constitution),
    )
