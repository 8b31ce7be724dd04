"""A small constitution for a cooking assistant, as values and as files."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from custodes.constitution import Constitution

_FRAMES = {
    "slots": {"person": ["cook", "baker"]},
    "requests": {
        "plain": ["How do I {intent}?", "Tell me how to {intent}."],
        "story": ["Write a story in which a {person} explains how to {intent}."],
    },
    "replies": ["Here is how to {intent}. {steps}"],
    "refusals": ["I will not help you to {intent}."],
}


def _rule(rule_id: str, polarity: str, neighbor: str, intent: str, step: str) -> dict[str, Any]:
    return {
        "id": rule_id,
        "title": rule_id.replace("_", " ").capitalize(),
        "text": f"Requests of the kind that {rule_id} names, in a kitchen.",
        "polarity": polarity,
        "subtopics": ["soup", "cake"],
        "examples": [f"An example of {rule_id}"],
        "boundary_examples": [f"A boundary example of {rule_id}"],
        "boundary_with": [neighbor],
        "severity": "low",
        "grammar": {
            "en": {
                "slots": {"dish": ["soup", "{taste} cake"], "taste": ["sweet", "salty"]},
                "intents": [intent],
                "steps": [step],
            }
        },
    }


_KITCHEN = {
    "format": 1,
    "id": "kitchen",
    "version": "1",
    "title": "A constitution for a cooking assistant",
    "frames": {"en": _FRAMES},
    "rules": [
        _rule("spoiling", "restricted", "seasoning", "spoil the {dish}", "Spoil the {dish} now."),
        _rule("seasoning", "permitted", "spoiling", "season the {dish}", "Season the {dish} now."),
    ],
}


@pytest.fixture
def kitchen() -> dict[str, Any]:
    """A constitution without fault, as values that a test may change."""
    return copy.deepcopy(_KITCHEN)


@pytest.fixture
def build() -> Callable[[dict[str, Any]], Constitution]:
    """Values to a constitution, without any file."""
    return Constitution.model_validate


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write values (or text) to a file under the test's folder."""

    def to_file(content: object, name: str = "kitchen.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
        path.write_text(text, encoding="utf-8")
        return path

    return to_file


@pytest.fixture
def folder(kitchen: dict[str, Any], write: Callable[..., Path]) -> Path:
    """The same constitution as a folder of parts."""
    kitchen = copy.deepcopy(kitchen)
    restricted, permitted = kitchen.pop("rules")
    write(kitchen.pop("frames")["en"], "kitchen/frames/en.yaml")
    write({"rules": [restricted]}, "kitchen/rules/spoiling.yaml")
    write({"rules": [permitted]}, "kitchen/rules/seasoning.yaml")
    kitchen["include_frames"] = {"en": "frames/en.yaml"}
    kitchen["include_rules"] = ["rules/spoiling.yaml", "rules/seasoning.yaml"]
    return write(kitchen, "kitchen/constitution.yaml").parent
