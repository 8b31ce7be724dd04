"""The JSON schema accepts what the reader accepts, file by file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from custodes.constitution import Part, examine, json_schema, shipped


def valid(values: object, part: Part = Part.CONSTITUTION) -> bool:
    schema = json_schema(part)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema).is_valid(values)


def values_of(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_a_whole_file_is_valid(kitchen: dict[str, Any]) -> None:
    assert valid(kitchen)


def test_a_folder_is_valid_part_by_part(folder: Path) -> None:
    assert valid(values_of(folder / "constitution.yaml"))
    assert valid(values_of(folder / "frames" / "en.yaml"), Part.FRAMES)
    assert valid(values_of(folder / "rules" / "spoiling.yaml"), Part.RULES)


@pytest.mark.parametrize("key", ["id", "version", "title", "rules"])
def test_required_keys(key: str, kitchen: dict[str, Any]) -> None:
    del kitchen[key]
    assert not valid(kitchen)


def test_unknown_keys_and_values(kitchen: dict[str, Any]) -> None:
    assert not valid({**kitchen, "topics": []})
    assert not valid({**kitchen, "format": 2})
    kitchen["rules"][0]["polarity"] = "forbidden"
    assert not valid(kitchen)
    assert not valid({"rules": kitchen["rules"]}, Part.RULES)
    assert not valid({"rules": [], "frames": {}}, Part.RULES)
    assert not valid({"requests": ["no style"]}, Part.FRAMES)
    assert valid({"seasoning": {"intents": ["salt"]}}, Part.GRAMMARS)
    assert not valid({"seasoning": {"intent": ["salt"]}}, Part.GRAMMARS)


def test_fields_are_described() -> None:
    for field in json_schema()["$defs"]["Rule"]["properties"].values():
        assert "description" in field or "$ref" in field


def test_shipped_constitutions_are_valid_file_by_file() -> None:
    for name in shipped():
        source, _ = examine(name)
        assert source is not None
        main, *parts = source.files
        assert valid(values_of(main))
        for part in parts:
            assert valid(values_of(part), Part(part.parent.name)), part
