"""Reading: files, folders and names; every mistake with its place."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from custodes.constitution import examine, read, shipped, yaml_text
from custodes.errors import ConfigError, ConstitutionError

Write = Callable[..., Path]


def messages(path: Path) -> list[str]:
    """What is wrong with the file, as `line:column message`."""
    source, findings = examine(path)
    assert source is None
    return [f"{f.position.line}:{f.position.column} {f.message}" for f in findings]


def test_a_file_is_read(kitchen: dict[str, Any], write: Write) -> None:
    constitution = read(write(kitchen))
    assert [rule.id for rule in constitution.rules] == ["spoiling", "seasoning"]
    assert constitution.rule("spoiling").grammar["en"].slots["dish"] == ("soup", "{taste} cake")


def test_a_folder_equals_the_file(kitchen: dict[str, Any], write: Write, folder: Path) -> None:
    assert read(folder) == read(write(kitchen))
    assert read(str(folder)) == read(folder / "constitution.yaml")


def test_positions_point_into_the_parts(folder: Path) -> None:
    source, findings = examine(folder)
    assert source is not None
    assert findings == []
    place = source.positions.of(("rules", 1, "grammar", "en", "intents", 0))
    assert place.file == str(folder / "rules" / "seasoning.yaml")
    line = Path(place.file).read_text(encoding="utf-8").splitlines()[place.line - 1]
    assert line[place.column - 1 :] == "season the {dish}"
    assert source.positions.of(("rules", 1, "nowhere", 7)) == source.positions.of(("rules", 1))
    frame = source.positions.of(("frames", "en", "requests", "story", 0))
    assert frame.file.endswith("en.yaml")
    assert [path.name for path in source.files] == [
        "constitution.yaml",
        "spoiling.yaml",
        "seasoning.yaml",
        "en.yaml",
    ]


def test_every_value_is_text(kitchen: dict[str, Any], write: Write) -> None:
    kitchen["rules"][0]["examples"] = ["PLACE"]
    text = yaml.safe_dump(kitchen).replace("PLACE", "no").replace("version: '1'", "version: 1.0")
    constitution = read(write(text.replace("\n  en:\n", "\n  no:\n")))
    assert constitution.version == "1.0"
    assert constitution.rules[0].examples == ("no",)
    assert set(constitution.frames) == {"no"}


def test_all_mistakes_are_collected_in_order(kitchen: dict[str, Any], write: Write) -> None:
    kitchen["rules"][0]["polarity"] = "forbidden"
    kitchen["rules"][0]["colour"] = "red"
    kitchen["rules"][1]["examples"] = "not a list"
    kitchen["rules"][1]["grammar"]["en"]["intent"] = []
    kitchen["frames"]["en"]["request"] = {}
    kitchen["topics"] = []
    del kitchen["version"]
    path = write(kitchen)
    lines = path.read_text(encoding="utf-8").splitlines()
    with pytest.raises(ConstitutionError) as caught:
        read(path)
    found = re.findall(r"kitchen\.yaml:(\d+):(\d+): error: (.*)", str(caught.value))
    pointed = {
        (lines[int(row) - 1].split(":")[0].strip(" -"), message) for row, _, message in found
    }
    assert len(found) == 7
    assert [int(row) for row, _, _ in found] == sorted(int(row) for row, _, _ in found)
    assert (
        "polarity",
        "polarity: got 'forbidden'; expected 'restricted' or 'permitted'",
    ) in pointed
    assert ("examples", "examples: got 'not a list'; expected a list") in pointed
    assert ("format", "'version' is missing; expected it here") in pointed
    unknown = {key: message for key, message in pointed if message.startswith("unknown key")}
    assert set(unknown) == {"colour", "intent", "request", "topics"}
    assert "boundary_with" in unknown["colour"]
    assert "steps" in unknown["intent"]
    assert "replies" in unknown["request"]
    assert "frames" in unknown["topics"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id: a\nid: b\n", "2:1 the key 'id' stands already in line 1"),
        ("a: [1\n", "not YAML"),
        ("a: &x 1\nb: *x\n", "1:4 anchors and aliases are refused"),
        ("a: !!python/name:os.system ''\n", "1:4 the tag tag:yaml.org,2002:python/name:os.system"),
        ("a: !!int x\n", "1:4 the tag tag:yaml.org,2002:int is refused"),
        ("? [a]\n: b\n", "1:3 a key must be text"),
        ("[" * 200, "1:33 nested deeper than 32 levels"),
        ("[" * 5000, "nest"),  # by us or, from libyaml 0.2.6 on, by the parser itself
        ("a: 1\n---\nb: 2\n", "not YAML: expected a single document"),
        ("a: \x01\n", "not YAML"),
        ("- a\n- b\n", "1:1 expected a mapping"),
        ("", "0:0 expected a mapping"),
    ],
)
def test_bad_yaml_is_refused_with_its_place(text: str, expected: str, write: Write) -> None:
    assert any(expected in message for message in messages(write(text)))


def test_a_yaml_mistake_and_a_wrong_field_are_both_told(write: Write) -> None:
    found = messages(write("id: a\nid: b\nrules: 3\nversion:\ntitle: t\n"))
    assert found == [
        "2:1 the key 'id' stands already in line 1",
        "3:1 rules: got '3'; expected a list",
        "4:1 version: got nothing; expected text",
    ]


def test_files_that_are_no_text(write: Write, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(b"id: \xff\xfe")
    assert "not UTF-8" in messages(path)[0]
    with path.open("wb") as file:
        file.truncate(yaml_text.MAX_BYTES + 1)
    assert "got more than 16,777,216 bytes" in messages(path)[0]
    (tmp_path / "empty").mkdir()
    assert "no such file" in messages(tmp_path / "empty")[0]
    (tmp_path / "odd" / "constitution.yaml").mkdir(parents=True)
    assert "cannot be read" in messages(tmp_path / "odd")[0]


def test_format_and_ids_are_checked(kitchen: dict[str, Any], write: Write) -> None:
    kitchen["format"] = 2
    kitchen["rules"][1]["id"] = "spoiling"
    found = messages(write(kitchen))
    assert "got format 2, expected 1" in found[0]
    assert "the id 'spoiling' stands already in" in found[1]


def include(folder: Path, **parts: Any) -> list[str]:
    """What is wrong once `constitution.yaml` includes these parts, if anything."""
    path = folder / "constitution.yaml"
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    values.update(parts)
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    _, findings = examine(folder)
    return [finding.message for finding in findings]


def test_includes_stay_inside_the_folder(folder: Path, write: Write) -> None:
    outside = write("rules: []", "outside.yaml")
    (folder / "link.yaml").symlink_to(outside)
    found = include(folder, include_rules=["../outside.yaml", str(outside), "link.yaml"])
    assert len(found) == 3
    assert all("expected a path inside" in message for message in found)


def test_a_part_is_included_once(folder: Path) -> None:
    found = include(
        folder,
        include_rules=["rules/spoiling.yaml", "rules/../rules/spoiling.yaml", "constitution.yaml"],
    )
    assert [message for message in found if "is included already" in message] == found
    assert len(found) == 2


def test_includes_that_are_no_paths(folder: Path) -> None:
    (folder / "loop").symlink_to("loop")
    found = include(folder, include_rules=["a\0b", "x" * 5000, "loop/a.yaml"])
    assert len(found) == 3
    assert all("expected a path" in message for message in found)


def test_parts_that_are_no_parts(folder: Path, write: Write) -> None:
    write("rules: []\nframes: {}\n", "kitchen/a.yaml")
    write("[1, 2]", "kitchen/b.yaml")
    write("", "kitchen/c.yaml")
    write("rules: [", "kitchen/d.yaml")
    found = include(folder, include_rules=["a.yaml", "b.yaml", "c.yaml", "d.yaml", "e.yaml", ""])
    assert any("unknown key 'frames'; a part holds only 'rules'" in m for m in found)
    assert any("b.yaml: expected `rules:`, a list" in m for m in found)
    assert any("c.yaml is empty" in m for m in found)
    assert any("not YAML" in m for m in found)
    assert any("no such file" in m for m in found)
    assert any("expected the relative path of a file" in m for m in found)


def test_includes_of_the_wrong_form(folder: Path) -> None:
    found = include(folder, include_rules="rules/spoiling.yaml", include_frames=["frames/en.yaml"])
    assert "expected a list of files" in found
    assert "expected a mapping of language: file" in found


def test_frames_stand_in_one_place(folder: Path) -> None:
    found = include(folder, frames={"en": {}})
    assert found == ["the frames of 'en' stand already in `frames`"]
    assert "frames: got '3'; expected a mapping" in include(folder, frames="3")
    assert "rules: got '3'; expected a list" in include(folder, rules="3", frames={})


def test_a_language_s_grammars_may_stand_in_one_file(folder: Path, write: Write) -> None:
    write({"seasoning": {"intents": ["saler la soupe"]}}, "kitchen/grammars/fr.yaml")
    assert include(folder, include_grammars={"fr": "grammars/fr.yaml"}, version="2") == []
    source, _ = examine(folder)
    assert source is not None
    rules = source.constitution.rules
    assert rules[1].grammar["fr"].intents == ("saler la soupe",)
    assert set(rules[1].grammar) == {"en", "fr"}
    assert "fr" not in rules[0].grammar
    place = source.positions.of(("rules", 1, "grammar", "fr", "intents", 0))
    assert (place.file, place.line) == (str(folder / "grammars" / "fr.yaml"), 3)


def test_mistakes_in_a_language_s_grammars(folder: Path, write: Write) -> None:
    write("seasoning: {}\nbaking: {}\n", "kitchen/a.yaml")
    write("- seasoning\n", "kitchen/b.yaml")
    write("seasoning: {intent: []}\n", "kitchen/c.yaml")
    found = include(folder, include_grammars={"en": "a.yaml", "de": "b.yaml", "fr": "c.yaml"})
    assert "no rule has the id 'baking'" in found
    assert "seasoning has a grammar of 'en' already" in found
    assert "expected a mapping of rule: grammar" in found
    assert any(message.startswith("unknown key 'intent'") for message in found)
    assert "expected a mapping of language: file" in include(folder, include_grammars=["a.yaml"])
    assert "rules: got '3'; expected a list" in include(
        folder, include_grammars={"en": "a.yaml"}, include_rules=[], rules="3"
    )


def test_rules_of_parts_follow_the_main_files(folder: Path, kitchen: dict[str, Any]) -> None:
    path = folder / "constitution.yaml"
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    part = yaml.safe_load((folder / "rules" / "spoiling.yaml").read_text(encoding="utf-8"))
    values["rules"] = part["rules"]
    values["include_rules"] = ["rules/seasoning.yaml"]
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    source, _ = examine(folder)
    assert source is not None
    assert [rule.id for rule in source.constitution.rules] == ["spoiling", "seasoning"]
    assert source.positions.of(("rules", 1, "id")).file.endswith("seasoning.yaml")
    assert source.positions.of(("rules", 0, "id")).file.endswith("constitution.yaml")


@pytest.mark.parametrize("name", ["nowhere", "x" * 5000, "a\0b"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(ConstitutionError, match=r"no constitution .*expected a YAML file"):
        read(name)


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
@example('a: "\\ud800"')
@example("? ? ? a")
@example("%TAG ! tag:x,2000:\n--- !y a")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_text_gives_findings_with_places(tmp_path: Path, text: str) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(text.encode("utf-8"))
    source, findings = examine(path)
    assert source is None
    assert findings
    assert all(len(str(finding).splitlines()) == 1 for finding in findings)


@given(st.integers(0, 2000), st.sampled_from(["", ":", "\n", "[", "{", "&a ", "- ", "\t", '"']))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_small_damage_is_survived(
    kitchen: dict[str, Any], write: Write, place: int, damage: str
) -> None:
    text = yaml.safe_dump(kitchen)
    source, findings = examine(write(text[:place] + damage + text[place + 1 :]))
    assert (source is None) == bool(findings)


def test_strangers_add_constitutions_by_entry_point(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "stranger-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[custodes.constitution]\ncooking = stranger:PATH\n")
    (tmp_path / "stranger.py").write_text(f"PATH = {str(folder)!r}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "stranger", raising=False)
    assert shipped()["cooking"] == folder
    assert read("cooking").id == "kitchen"
    monkeypatch.setattr(sys.modules["stranger"], "PATH", 3)
    with pytest.raises(ConfigError, match=r"'cooking': got 3, expected a path"):
        read("cooking")


def test_shipped_constitutions_are_known_by_name() -> None:
    for name, path in shipped().items():
        assert path.exists()
        assert read(name) == read(path)
