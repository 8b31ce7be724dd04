"""Settings of a synthesis: how much to write, in which shapes, with which variations.

Knows numbers and names only; whether a name exists is checked where it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from custodes.config import Config, Registry
from custodes.engine import ENGINES, Engine
from custodes.models import MODELS, GenerateModel
from custodes.types import Mode, RuleId

__all__ = ["Component", "SynthesisConfig"]

_ROWS = {"tiny": 20, "small": 200, "full": 2000}

_DEFAULT_SIDES = {Mode.INPUT: 0.5, Mode.OUTPUT: 0.2, Mode.EXCHANGE: 0.3}


class Component(Config):
    """A component of a registry: its `kind`, and beside it the component's own settings.

    As in `model: {kind: scripted, file: script.yaml}`, or `--set model.kind=embedded`.
    """

    model_config = ConfigDict(extra="allow")

    kind: str
    """Name in the registry, or a dotted path `package.module:attribute`."""

    def build_model(self) -> GenerateModel:
        """Build it as a model backend; `ConfigError` for a wrong name or setting."""
        built: GenerateModel = self._build(MODELS, {})
        return built

    def build_engine(self) -> Engine:
        """Build it as an engine of one block a batch, unless its settings say otherwise.

        `ConfigError` for a wrong name or setting.
        """
        built: Engine = self._build(ENGINES, {"batch_size": 1})
        return built

    def _build(self, registry: Registry, defaults: Mapping[str, Any]) -> Any:
        component = registry.load(self.kind)
        known = component.Config.model_fields
        fitting = {name: value for name, value in defaults.items() if name in known}
        origin = f"settings of {registry.kind} {self.kind!r}"
        settings = {**fitting, **(self.model_extra or {})}
        return component(component.Config.parse(settings, origin=origin))


class SynthesisConfig(Config):
    """What to write from a constitution."""

    size: Literal["tiny", "small", "full"] = "tiny"
    """The dial: 20, 200 or 2,000 planned rows a rule."""
    rows: int | None = Field(None, ge=1)
    """Planned rows a rule, instead of what `size` gives."""
    rows_of: Mapping[RuleId, int] = Field(default_factory=dict)
    """Planned rows of some rules, where that is more than the others have: for a rule that was
    edited, say. What the rule had already stays as it is."""
    seed: int = Field(0, ge=0)
    """Two runs of one seed agree byte for byte."""
    writer: str = "grammar"
    """Who writes: a name of `WRITERS` (grammar needs no model)."""
    model: Component | None = None
    """The model backend of the model writer and of the transforms that need one."""
    judge: Component | None = None
    """A model backend that checks every label; none: labels come from the rule alone."""
    engine: Component | None = None
    """Where a writer that asks a model runs; none: in this process."""
    styles: tuple[str, ...] = ()
    """Registers to write in; none named: all that the constitution's frames carry."""
    languages: tuple[str, ...] = ()
    """Language codes; none named: those that the constitution names, else all that it carries."""
    sides: Mapping[Mode, float] = Field(default_factory=lambda: dict(_DEFAULT_SIDES))
    """Share of each side of the conversation: input, output, exchange; need not sum to 1."""
    contrast: float = Field(0.5, ge=0, le=1)
    """Share of rows whose frame, fillers and transforms are the same for every rule, so that only
    the intent differs between a restricted and a permitted row."""
    varied: float = Field(0.4, ge=0, le=1)
    """Share of rows that a transform, or two, is applied to."""
    transforms: tuple[str, ...] = ()
    """Transforms to draw from; none named: all that need no model."""
    held_out_transforms: tuple[str, ...] = ()
    """Transforms that only rows marked `held_out` carry, to measure generalization."""
    held_out_rules: tuple[RuleId, ...] = ()
    """Rules whose rows are all marked `held_out`."""
    held_out_share: float = Field(0.1, ge=0, le=1)
    """Share of rows that carry a held-out transform, where any is named."""
    min_chars: int = Field(8, ge=0)
    """Rows with a judged text shorter than this are dropped."""
    max_chars: int = Field(8000, ge=1)
    """Rows longer than this (all turns together) are dropped."""
    near: float | None = Field(None, gt=0, lt=1)
    """Similarity from which two rows of a shard count as near duplicates; none: exact only."""
    tries: int = Field(3, ge=1)
    """Attempts at a row that did not parse or that was written already."""
    block: int = Field(256, ge=1)
    """Rows a shard; the unit that is reused and resumed. Make it small for slow models."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any(share < 0 for share in self.sides.values()) or not sum(self.sides.values()) > 0:
            raise ValueError("sides: shares must be 0 or more, at least one above 0")
        if self.min_chars > self.max_chars:
            raise ValueError("min_chars must not exceed max_chars")
        return self

    @property
    def rows_per_rule(self) -> int:
        """Planned rows of each rule before the polarities are balanced."""
        return self.rows if self.rows is not None else _ROWS[self.size]
