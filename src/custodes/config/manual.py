"""What settings there are: names, defaults and meanings, as their classes have them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel

__all__ = ["Setting", "manual", "section_of"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its name with those of its sections, its default as YAML, what it means."""

    name: str
    default: str
    meaning: str


def manual(
    cls: type[BaseModel], values: BaseModel | None = None, prefix: str = ""
) -> Iterator[Setting]:
    """Every setting of `cls`, section by section; defaults are those of `values` where given."""
    for name, field in cls.model_fields.items():
        below = section_of(field.annotation)
        if values is not None:
            value = getattr(values, name)
        elif not field.is_required():
            value = field.get_default(call_default_factory=True)
        else:
            value = _REQUIRED
        inside = below is not None and (isinstance(value, BaseModel) or value is _REQUIRED)
        default = "" if inside else _written(value)
        meaning = " ".join((field.description or "").split())
        yield Setting(prefix + name, default, meaning + _words(field.annotation, meaning))
        if below is not None:
            inner = value if isinstance(value, below) else None
            yield from manual(below, inner, f"{prefix}{name}.")


_REQUIRED = object()


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The class of a section, where a setting is one (or null); None for all else."""
    if get_origin(annotation) in (Union, UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        annotation = kinds[0] if len(kinds) == 1 else None
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation if is_model else None


def _written(value: Any) -> str:
    if value is _REQUIRED:
        return "(must be given)"
    plain = _plain(value)
    text = yaml.safe_dump(plain, default_flow_style=True, allow_unicode=True, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_defaults=True)
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    if isinstance(value, Enum):
        return _plain(value.value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _words(annotation: Any, meaning: str) -> str:
    """The words that a setting may be, where it is one of a few and its meaning does not tell."""
    if get_origin(annotation) is not Literal:
        return ""
    words = [str(word) for word in get_args(annotation)]
    return "" if all(word in meaning for word in words) else f" One of {', '.join(words)}."
