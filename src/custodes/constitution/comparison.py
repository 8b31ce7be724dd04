"""Compare two constitutions: what changed, and so which rules' data must be written again.

Knows no data; whoever caches data keys it by `rule_hash`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from custodes.constitution.rules import Constitution, Rule
from custodes.types import RuleId

__all__ = ["Difference", "constitution_hash", "diff", "rule_hash"]

_NOT_IN_DATA = {"title", "severity", "boundary_with"}
_HEADER = ("format", "id", "version", "title", "description")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What is different in the second of two constitutions; the order of rules is no difference."""

    added: tuple[RuleId, ...]
    """Rules that only the second has."""
    removed: tuple[RuleId, ...]
    """Rules that only the first has."""
    changed: dict[RuleId, tuple[str, ...]]
    """Rule -> its fields that differ."""
    frames_changed: tuple[str, ...]
    """Languages whose frames differ."""
    header_changed: tuple[str, ...]
    """Fields of the head (version, title...) that differ."""
    regenerate: tuple[RuleId, ...]
    """Rules of the second whose data must be written (again). A title that changed counts for
    nothing here: a synthesis whose model is shown titles writes that rule again all the same."""

    def __bool__(self) -> bool:
        """Whether there is any difference."""
        return any(asdict(self).values())

    def to_record(self) -> dict[str, Any]:
        """The difference as plain JSON values."""
        record: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return record


def rule_hash(constitution: Constitution, rule_id: str) -> str:
    """sha256 (hex) of all that data written for the rule depend on; `KeyError` for no such rule.

    That is the rule without title, severity and neighbors, its `subject`, and all frames: what a
    grammar writes from. Whoever shows a model the title, or the neighbors' text, must key its data
    by those too.
    """
    rule = constitution.rule(rule_id)
    told = rule.model_dump(mode="json", exclude=_NOT_IN_DATA, exclude_defaults=True)
    frames = constitution.model_dump(mode="json", include={"frames"}, exclude_defaults=True)
    return _sha256({"rule": told, "subject": rule.subject, **frames})


def constitution_hash(constitution: Constitution) -> str:
    """sha256 (hex) of everything in the constitution."""
    return _sha256(constitution.model_dump(mode="json", exclude_defaults=True))


def diff(first: Constitution, second: Constitution) -> Difference:
    """What is different in `second`, rules by their ids."""
    old = {rule.id: rule for rule in first.rules}
    new = {rule.id: rule for rule in second.rules}
    kept = [rule_id for rule_id in new if rule_id in old]
    changed = {rule_id: _fields(old[rule_id], new[rule_id]) for rule_id in kept}
    languages = sorted(first.frames.keys() | second.frames.keys())
    return Difference(
        added=tuple(rule_id for rule_id in new if rule_id not in old),
        removed=tuple(rule_id for rule_id in old if rule_id not in new),
        changed={rule_id: fields for rule_id, fields in changed.items() if fields},
        frames_changed=tuple(
            language
            for language in languages
            if first.frames.get(language) != second.frames.get(language)
        ),
        header_changed=tuple(
            field for field in _HEADER if getattr(first, field) != getattr(second, field)
        ),
        regenerate=tuple(
            rule_id
            for rule_id in new
            if rule_id not in old or rule_hash(first, rule_id) != rule_hash(second, rule_id)
        ),
    )


def _fields(old: Rule, new: Rule) -> tuple[str, ...]:
    return tuple(name for name in Rule.model_fields if getattr(old, name) != getattr(new, name))


def _sha256(values: dict[str, Any]) -> str:
    # Values left at their defaults are left out: a field added to the format changes no hash.
    text = json.dumps(values, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()
