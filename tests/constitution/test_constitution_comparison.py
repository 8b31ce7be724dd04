"""Comparing: what changed, and what must be written again."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from custodes.constitution import Constitution, constitution_hash, diff, rule_hash

Build = Callable[[dict[str, Any]], Constitution]


def changed(kitchen: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A copy in which the first rule has other fields."""
    copied = copy.deepcopy(kitchen)
    copied["rules"][0].update(fields)
    return copied


def test_no_difference(kitchen: dict[str, Any], build: Build) -> None:
    difference = diff(build(kitchen), build(copy.deepcopy(kitchen)))
    assert not difference
    assert difference.regenerate == ()


def test_the_order_of_rules_is_no_difference(kitchen: dict[str, Any], build: Build) -> None:
    turned = copy.deepcopy(kitchen)
    turned["rules"].reverse()
    assert not diff(build(kitchen), build(turned))
    assert constitution_hash(build(kitchen)) != constitution_hash(build(turned))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text", "Requests to make dishes of other people taste bad."),
        ("subtopics", ["salad"]),
        ("examples", ["How do I spoil a salad?"]),
        ("boundary_examples", ["Too much salt?"]),
        ("applies_to", ["input"]),
        ("polarity", "permitted"),
        ("grammar", {}),
    ],
)
def test_what_data_depend_on_is_regenerated(
    field: str, value: object, kitchen: dict[str, Any], build: Build
) -> None:
    difference = diff(build(kitchen), build(changed(kitchen, **{field: value})))
    assert difference.changed == {"spoiling": (field,)}
    assert difference.regenerate == ("spoiling",)


@pytest.mark.parametrize(
    ("field", "value"),
    [("title", "Another"), ("severity", "critical"), ("boundary_with", ["seasoning", "x"])],
)
def test_what_data_do_not_depend_on_is_not(
    field: str, value: object, kitchen: dict[str, Any], build: Build
) -> None:
    difference = diff(build(kitchen), build(changed(kitchen, **{field: value})))
    assert difference
    assert difference.changed == {"spoiling": (field,)}
    assert difference.regenerate == ()


def test_added_removed_and_header(kitchen: dict[str, Any], build: Build) -> None:
    other = changed(kitchen, id="burning")
    other["version"] = "2"
    difference = diff(build(kitchen), build(other))
    assert difference.added == ("burning",)
    assert difference.removed == ("spoiling",)
    assert difference.header_changed == ("version",)
    assert difference.regenerate == ("burning",)
    assert json.loads(json.dumps(difference.to_record()))["added"] == ["burning"]


def test_frames_are_part_of_every_rules_data(kitchen: dict[str, Any], build: Build) -> None:
    other = copy.deepcopy(kitchen)
    other["frames"]["en"]["refusals"] = ["No."]
    other["frames"]["es"] = {}
    difference = diff(build(kitchen), build(other))
    assert difference.frames_changed == ("en", "es")
    assert difference.changed == {}
    assert difference.regenerate == ("spoiling", "seasoning")


def test_hashes_are_stable_and_spell_out_defaults(kitchen: dict[str, Any], build: Build) -> None:
    first = build(kitchen)
    second = build(changed(kitchen, applies_to=["input", "output", "exchange"]))
    assert rule_hash(first, "spoiling") == rule_hash(second, "spoiling")
    assert rule_hash(first, "spoiling") != rule_hash(first, "seasoning")
    assert constitution_hash(first) == constitution_hash(second)
    assert len(constitution_hash(first)) == 64
    with pytest.raises(KeyError):
        rule_hash(first, "nobody")
