"""Configuration: frozen, closed models; YAML files; `a.b=1` overrides.

A component's own `Config` validates its own section; nothing here knows what a section means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from custodes.config.atomic import write_atomically
from custodes.config.manual import section_of
from custodes.errors import ConfigError

__all__ = ["Config", "load", "override", "save"]

ConfigT = TypeVar("ConfigT", bound="Config")

# PyYAML lets the ValueError of a date that the calendar lacks (2026-02-30) pass as it is.
_NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)


class Config(BaseModel):
    """A frozen, closed set of settings; every field carries a docstring, which is the manual."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True
    )

    @classmethod
    def parse(cls, values: Mapping[str, Any], *, origin: str = "settings") -> Self:
        """Validate `values`; a `ConfigError` lists every wrong field with what was got.

        `origin` names where the values come from and stands at the head of the message.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise ConfigError(_explain(cls, error, origin)) from error


def _explain(cls: type[BaseModel], error: ValidationError, origin: str) -> str:
    lines = [f"{origin}: not a valid {cls.__name__}:"]
    for item in error.errors():
        place, got = ".".join(str(part) for part in item["loc"]), ""
        # A check of several fields says itself what it got, and of which.
        if not (item["type"] == "value_error" and isinstance(item["input"], dict)):
            place = place or "(top level)"
            if item["type"] != "missing":
                got = f" (got {item['input']!r:.80})"
        message = (
            item["msg"]
            .removeprefix("Value error, ")
            .replace("a valid tuple", "a list, such as [1, 2]")
        )
        lines.append(f"  {place + ': ' if place else ''}{message}{got}")
    odd = [item["loc"][:-1] for item in error.errors() if item["type"] == "extra_forbidden"]
    for section in dict.fromkeys(odd):
        below = _below(cls, section)
        if below is not None:
            of = f" of {'.'.join(map(str, section))}" if section else ""
            lines.append(f"  known fields{of}: {', '.join(sorted(below.model_fields))}")
    return "\n".join(lines)


def _below(cls: type[BaseModel], place: Sequence[int | str]) -> type[BaseModel] | None:
    """The class of a section; None for what is inside a list or a mapping."""
    found: type[BaseModel] | None = cls
    for part in place:
        if found is None or part not in found.model_fields:
            return None
        found = section_of(found.model_fields[str(part)].annotation)
    return found


def override(values: Mapping[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Copy `values` with `a.b=1` assignments applied; the right side is read as YAML."""
    result: dict[str, Any] = _deep_copy(values)
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        keys = path.split(".")
        if not equals or not all(keys):
            raise ConfigError(
                f"--set: got {assignment!r}, expected NAME=VALUE such as train.epochs=3"
            )
        try:
            value = yaml.safe_load(text)
        except _NOT_YAML as error:
            raise ConfigError(f"--set {path}: the value {text!r} is not YAML: {error}") from error
        section = result
        for depth, key in enumerate(keys[:-1]):
            inner = section.setdefault(key, {})
            if not isinstance(inner, dict):
                raise ConfigError(
                    f"--set {path}: {'.'.join(keys[: depth + 1])} holds {inner!r}, not a section"
                )
            section = inner
        section[keys[-1]] = value
    return result


def _deep_copy(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _deep_copy(v) if isinstance(v, Mapping) else v for k, v in values.items()}


def load(cls: type[ConfigT], path: Path | None = None, assignments: Iterable[str] = ()) -> ConfigT:
    """Read a YAML file (or start empty), apply the assignments, validate."""
    values: Any = {}
    origin = "settings"
    if path is not None:
        origin = str(path)
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such file; give a YAML file of settings") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read as text: {error}") from error
        except _NOT_YAML as error:
            raise ConfigError(f"{path}: not YAML: {error}") from error
        if not isinstance(values, dict):
            raise ConfigError(
                f"{path}: got a {type(values).__name__}, expected a mapping of settings"
            )
    return cls.parse(override(values, assignments), origin=origin)


def save(config: Config, path: Path) -> None:
    """Write the resolved settings as YAML, in the order of the fields."""
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    write_atomically(path, text)
