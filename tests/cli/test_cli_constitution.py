"""`custodes constitution`: what it prints, and its exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from custodes.cli.constitution import app
from custodes.constitution import read, shipped
from custodes.errors import ConstitutionError

GOOD = """\
id: bakery
version: "1"
title: A constitution [bold]for[/bold] bakers
description: Only a test.
frames:
  en:
    requests: {plain: ["How do I {intent}?"]}
    replies: ["{steps}"]
rules:
  - id: burning
    title: Burning
    text: Requests to burn the bread of other bakers :fire:.
    polarity: restricted
    subtopics: [bread]
    examples: [How do I burn his bread?]
    boundary_examples: [Will his bread burn at 300 degrees?]
    boundary_with: [baking]
    grammar:
      en: {intents: [burn his bread], steps: [Turn up his oven.]}
  - id: baking
    title: Baking
    text: Requests about baking one's own bread well.
    polarity: permitted
    subtopics: [bread]
    examples: [How do I bake bread?]
    boundary_examples: [Will my bread burn at 300 degrees?]
    boundary_with: [burning]
    grammar:
      en: {intents: [bake my bread], steps: [Turn up your oven.]}
"""
BROKEN = GOOD.replace("polarity: restricted", "polarity: forbidden").replace(
    "id: bakery", "name: x"
)
WRONG = GOOD.replace("boundary_with: [burning]", "boundary_with: [nobody]")
DOUBTFUL = GOOD.replace("steps: [Turn up his oven.]", "steps: []")


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, str]:
    """Four constitutions, of falling quality."""
    texts = {"good": GOOD, "doubtful": DOUBTFUL, "wrong": WRONG, "broken": BROKEN}
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    return {name: str(tmp_path / f"{name}.yaml") for name in texts}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def test_check_of_a_good_one(paths: dict[str, str]) -> None:
    result = run("check", paths["good"])
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "0 errors, 0 warnings\n")


@pytest.mark.parametrize(
    ("name", "line", "text"),
    [
        ("broken", 1, "error: unknown key 'name'"),
        ("broken", 13, "error: polarity: got 'forbidden'"),
        ("wrong", 27, "error: no rule has the id 'nobody'"),
        ("doubtful", 19, "warning: no steps"),
    ],
)
def test_check_names_file_and_line(name: str, line: int, text: str, paths: dict[str, str]) -> None:
    result = run("check", paths[name])
    assert any(
        found.startswith(f"{paths[name]}:{line}:") and text in found
        for found in result.stdout.splitlines()
    )
    assert result.exit_code == (0 if name == "doubtful" else 2)


def test_strict_check(paths: dict[str, str]) -> None:
    assert run("check", "--strict", paths["good"]).exit_code == 0
    assert run("check", "--strict", paths["doubtful"]).exit_code == 2


def test_check_as_json(paths: dict[str, str]) -> None:
    result = run("check", "--json", paths["wrong"])
    assert result.exit_code == 2
    findings = json.loads(result.stdout)
    assert {"severity", "file", "line", "column", "rule", "message"} == set(findings[0])
    assert {finding["rule"] for finding in findings} == {"burning", "baking"}


def test_an_unknown_name_is_an_error() -> None:
    result = run("check", "nowhere")
    assert isinstance(result.exception, ConstitutionError)


def test_show(paths: dict[str, str]) -> None:
    result = run("show", paths["good"])
    assert result.exit_code == 0
    assert "A constitution [bold]for[/bold] bakers (bakery 1)" in result.stdout
    assert "burning" in result.stdout
    assert "restricted" in result.stdout


def test_show_a_rule(paths: dict[str, str]) -> None:
    result = run("show", paths["good"], "burning")
    assert result.exit_code == 0
    for text in ("bakers :fire:.", "- How do I burn his bread?", "en: 1 intents, 1 steps"):
        assert text in result.stdout
    unknown = run("show", paths["good"], "frying")
    assert isinstance(unknown.exception, ConstitutionError)
    assert "expected one of burning, baking" in str(unknown.exception)


def test_show_as_json(paths: dict[str, str]) -> None:
    constitution = read(paths["good"])
    whole = json.loads(run("show", "--json", paths["good"]).stdout)
    assert type(constitution).model_validate(whole) == constitution
    part = json.loads(run("show", "--json", paths["good"], "baking").stdout)
    assert part["id"] == "baking"


def test_show_of_a_broken_one_names_lines(paths: dict[str, str]) -> None:
    result = run("show", paths["broken"])
    assert isinstance(result.exception, ConstitutionError)
    assert f"{paths['broken']}:13:5: error" in str(result.exception)


def test_diff(paths: dict[str, str], tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    text = GOOD.replace("id: baking", "id: frying").replace("[baking]", "[frying]")
    other.write_text(text.replace("bake my", "fry my").replace("How do I {", "Do I {"))
    result = run("diff", paths["good"], str(other))
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "added: frying",
        "removed: baking",
        "changed: burning (boundary_with)",
        "changed: the frames of en",
        "to write again: burning, frying",
    ]
    assert json.loads(run("diff", "--json", paths["good"], str(other)).stdout)["added"] == [
        "frying"
    ]


def test_diff_of_equals_and_of_headers(paths: dict[str, str], tmp_path: Path) -> None:
    assert run("diff", paths["good"], paths["good"]).stdout == "no difference\n"
    other = tmp_path / "other.yaml"
    other.write_text(GOOD.replace('version: "1"', 'version: "2"'))
    result = run("diff", paths["good"], str(other))
    assert result.stdout == "header: version\nto write again: nothing\n"


def test_schema() -> None:
    assert "include_rules" in json.loads(run("schema").stdout)["properties"]
    assert "steps" not in json.loads(run("schema", "--part", "frames").stdout)["properties"]
    assert run("schema", "--part", "slots").exit_code == 2


def test_list() -> None:
    names = [row["name"] for row in json.loads(run("list", "--json").stdout)]
    assert names == list(shipped())
    lines = run("list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == names
