"""The linter: each fault is found, at its place, and nothing is found in what has none."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from custodes.constitution import (
    Constitution,
    Frames,
    Grammar,
    Rule,
    check,
    examine,
    shipped,
    unlisted,
)

Build = Callable[[dict[str, Any]], Constitution]
Change = Callable[[dict[str, Any]], object]
PAGE = Path(__file__).parents[2] / "docs" / "constitution_format.md"


def rule(values: dict[str, Any], number: int = 0) -> dict[str, Any]:
    return values["rules"][number]


def grammar(values: dict[str, Any], number: int = 0) -> dict[str, Any]:
    return values["rules"][number]["grammar"]["en"]


def frames(values: dict[str, Any]) -> dict[str, Any]:
    return values["frames"]["en"]


def test_nothing_is_found_where_nothing_is_wrong(kitchen: dict[str, Any], build: Build) -> None:
    assert check(build(kitchen)) == []


ERRORS: list[tuple[Change, str]] = [
    (lambda v: rule(v).update(id="Spoiling!"), "got the id 'Spoiling!', expected lower-case"),
    (lambda v: rule(v, 1).update(id="spoiling"), "the id 'spoiling' is not unique"),
    (lambda v: rule(v).update(title=" "), "the title is empty"),
    (lambda v: rule(v).update(text="Spoiling of dishes."), "the text is too short"),
    (lambda v: rule(v).update(applies_to=[]), "applies_to is empty"),
    (lambda v: rule(v).update(subtopics=[]), "'spoiling' has no subtopics"),
    (lambda v: rule(v).update(examples=[]), "'spoiling' has no examples"),
    (lambda v: rule(v).update(examples=["a", " "]), "empty text"),
    (lambda v: rule(v).update(boundary_with=[]), "'spoiling' has no permitted neighbor"),
    (lambda v: rule(v).update(boundary_with=["salads"]), "no rule has the id 'salads'"),
    (lambda v: rule(v).update(boundary_with=["spoiling"]), "the neighbor 'spoiling' is restricted"),
    (lambda v: rule(v).update(boundary_examples=[]), "no boundary_examples on its side"),
    (lambda v: rule(v, 1).update(boundary_examples=[]), "permitted rule 'seasoning' has neighbors"),
    (lambda v: rule(v).update(polarity="permitted"), "no restricted rule"),
    (
        lambda v: rule(v, 1).update(examples=["An  EXAMPLE of spoiling"]),
        "stands under permitted here and under restricted in 'spoiling'",
    ),
    (
        lambda v: grammar(v, 1).update(intents=["spoil the {dish}"]),
        "stands under permitted here and under restricted in 'spoiling': 'spoil the {dish}'",
    ),
    (lambda v: v.update(languages=["en", "fi"]), "no frames and no grammar of 'fi'"),
    (lambda v: grammar(v).update(intents=["spoil {soup}"]), "unknown slot {soup}"),
    (lambda v: grammar(v).update(intents=["spoil {Dish}"]), "stray brace"),
    (lambda v: grammar(v).update(requests=["do {intent}, {dish}"]), "{intent} cannot stand here"),
    (lambda v: grammar(v).update(steps=["", "{dish}"]), "empty phrase"),
    (lambda v: grammar(v)["slots"].update(taste=[]), "the slot 'taste' has no fillers"),
    (lambda v: grammar(v)["slots"].update(taste=["{dish}"]), "'taste' leads back to itself"),
    (lambda v: grammar(v)["slots"].update(taste=["{sour}"]), "unknown slot {sour}"),
    (lambda v: grammar(v)["slots"].update(steps=["x"]), "the slot 'steps' belongs to the writer"),
    (lambda v: grammar(v)["slots"].update({"A b": ["x"]}), "got the slot 'A b', expected"),
    (lambda v: grammar(v).update(intents=[], steps=["{dish}"]), "there are none"),
    (lambda v: v.pop("frames"), "no request frames for 'en'"),
    (lambda v: frames(v).update(requests={"plain": []}), "no request frames for 'en'"),
    (lambda v: frames(v)["requests"].update(terse=["{person}?"]), "a frame without {intent}"),
    (lambda v: frames(v)["requests"].update(terse=["{intent"]), "stray brace"),
    (lambda v: frames(v).update(replies=["I shall {intent}."]), "a frame without {steps}"),
    (lambda v: frames(v).update(refusals=["No {steps}"]), "{steps} cannot stand here"),
    (lambda v: frames(v)["slots"].update(person=["{job}"]), "unknown slot {job}"),
]

WARNINGS: list[tuple[Change, str]] = [
    (lambda v: rule(v, 1).update(subtopics=[]), "'seasoning' has no subtopics"),
    (lambda v: rule(v).update(examples=["Soup?", "soup? "]), "stands twice in examples"),
    (lambda v: rule(v, 1).update(boundary_with=[]), "'seasoning' has no restricted neighbor"),
    (lambda v: rule(v, 1).update(boundary_with=[]), "'seasoning' does not name 'spoiling'"),
    (
        lambda v: rule(v)["grammar"].update(es={"statements": ["sopa"]}),
        "only restricted rules speak 'es'",
    ),
    (
        lambda v: grammar(v)["slots"].update(spoon=["x"]),
        "no phrase of this rule uses the slot 'spoon'",
    ),
    (lambda v: frames(v)["slots"].update(place=["x"]), "uses the slot 'place'"),
    (lambda v: v["frames"].update(es={}), "no rule speaks 'es'"),
    (lambda v: grammar(v).update(steps=[]), "no steps, so no reply"),
    (lambda v: grammar(v).update(steps=["a b", "A  b"]), "duplicate phrase: 'A  b'"),
    (lambda v: grammar(v)["slots"].update(taste=["sour", "sour"]), "duplicate phrase: 'sour'"),
    (lambda v: frames(v)["slots"].update(person=["cook", "cook"]), "duplicate phrase: 'cook'"),
    (lambda v: frames(v).update(refusals=["No.", "no."]), "duplicate phrase: 'no.'"),
    (
        lambda v: frames(v)["requests"].update(terse=["How do I {intent}?"]),
        "duplicate phrase: 'How do I {intent}?'",
    ),
]


@pytest.mark.parametrize(
    ("change", "message", "severity"),
    [(*case, "error") for case in ERRORS] + [(*case, "warning") for case in WARNINGS],
    ids=[message for _, message in ERRORS + WARNINGS],
)
def test_each_fault_is_found(
    change: Change, message: str, severity: str, kitchen: dict[str, Any], build: Build
) -> None:
    change(kitchen)
    found = [finding for finding in check(build(kitchen)) if message in finding.message]
    assert {finding.severity for finding in found} == {severity}


def test_an_input_rule_needs_no_steps(kitchen: dict[str, Any], build: Build) -> None:
    grammar(kitchen).update(steps=[])
    rule(kitchen)["applies_to"] = ["input"]
    assert check(build(kitchen)) == []


def test_frames_serve_the_slots_of_rules(kitchen: dict[str, Any], build: Build) -> None:
    frames(kitchen)["slots"]["taste"] = ["bitter"]
    for number in (0, 1):
        del grammar(kitchen, number)["slots"]["taste"]
    assert check(build(kitchen)) == []


def test_findings_name_file_line_column_and_rule(
    kitchen: dict[str, Any], write: Callable[..., Path]
) -> None:
    grammar(kitchen, 1)["intents"].append("boil the {pan}")
    rule(kitchen, 1)["boundary_with"] = ["nobody"]
    path = write(kitchen)
    source, _ = examine(path)
    assert source is not None
    mutual, neighbor, phrase = check(source.constitution, source.positions)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[neighbor.position.line - 1].strip() == "- nobody"
    assert neighbor.rule == "seasoning"
    assert mutual.rule == "spoiling"
    assert lines[phrase.position.line - 1][phrase.position.column - 1 :] == "boil the {pan}"
    assert str(phrase).startswith(
        f"{path}:{phrase.position.line}:{phrase.position.column}: error: "
    )


def test_parts_that_nobody_includes_are_told(folder: Path, write: Callable[..., Path]) -> None:
    source, _ = examine(folder)
    assert source is not None
    assert unlisted(source) == []
    write("rules: []", "kitchen/rules/forgotten.yaml")
    (finding,) = unlisted(source)
    assert finding.severity == "warning"
    assert finding.position.file.endswith("forgotten.yaml")


def test_a_file_alone_has_no_forgotten_parts(
    kitchen: dict[str, Any], write: Callable[..., Path]
) -> None:
    write("x: 1", "other.yaml")
    source, _ = examine(write(kitchen))
    assert source is not None
    assert unlisted(source) == []


def test_the_example_of_the_docs_has_no_fault(write: Callable[..., Path]) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (example,) = (block for block in blocks if "id: garden" in block)
    source, findings = examine(write(example))
    assert findings == []
    assert source is not None
    assert check(source.constitution, source.positions) == []


def test_the_python_of_the_docs_runs(write: Callable[..., Path]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n((?:(?!```).)*?id: garden.*?)```", page, re.DOTALL)
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code.replace('"my_constitution/"', repr(str(write(example)))), names)
    assert names["lexicon"].count(names["rule"].grammar["en"].intents[0]) == 4


def test_the_docs_name_every_field() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for model in (Constitution, Rule, Grammar, Frames):
        for field in model.model_fields:
            assert f"`{field}`" in page


@pytest.mark.parametrize("name", sorted(shipped()) or [pytest.param("", marks=pytest.mark.skip)])
def test_shipped_constitutions_have_no_errors(name: str) -> None:
    source, findings = examine(name)
    assert findings == []
    assert source is not None
    wrong = check(source.constitution, source.positions)
    assert [str(finding) for finding in wrong if finding.severity == "error"] == []
    assert unlisted(source) == []
