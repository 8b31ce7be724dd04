"""Write a constitution as one file, parts and all, that `read` reads back as the same."""

from __future__ import annotations

from typing import Any

import yaml

from custodes.constitution.rules import Constitution

__all__ = ["to_yaml"]

# libyaml is about ten times faster; both write the same text.
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def to_yaml(constitution: Constitution) -> str:
    """The constitution as YAML, without what stands at its default; comments are not kept."""
    values = constitution.model_dump(mode="json", exclude_defaults=True)
    text: str = yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text
