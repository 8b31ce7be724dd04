"""The JSON schema of the files of a constitution, for editors and other tools.

Made from the models that read them, so that the two cannot disagree. The schema asks for text to
be quoted where YAML would take it for a number or a truth value; `reading.py` does not.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from custodes.constitution.reading import FORMAT
from custodes.constitution.rules import Constitution, Frames, Grammar, Rule

__all__ = ["Part", "json_schema"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Part(StrEnum):
    """A kind of file: `constitution.yaml`, or a part: one of `include_rules`, `include_frames` or
    `include_grammars`."""

    CONSTITUTION = "constitution"
    RULES = "rules"
    FRAMES = "frames"
    GRAMMARS = "grammars"


def json_schema(part: Part = Part.CONSTITUTION) -> dict[str, Any]:
    """The schema (draft 2020-12) of the main file, or of a part."""
    if part is Part.FRAMES:
        return {"$schema": _DIALECT, **Frames.model_json_schema()}
    if part is Part.GRAMMARS:
        return {
            "$schema": _DIALECT,
            "title": "Grammars",
            "description": "A part of a constitution: rule id -> its grammar in one language.",
            "type": "object",
            "additionalProperties": {"$ref": "#/$defs/Grammar"},
            "$defs": {"Grammar": Grammar.model_json_schema()},
        }
    if part is Part.RULES:
        rule = Rule.model_json_schema()
        definitions = rule.pop("$defs")
        return {
            "$schema": _DIALECT,
            "title": "Rules",
            "description": "A part of a constitution: a list of rules.",
            "type": "object",
            "properties": {"rules": {"type": "array", "items": {"$ref": "#/$defs/Rule"}}},
            "required": ["rules"],
            "additionalProperties": False,
            "$defs": {**definitions, "Rule": rule},
        }
    schema = Constitution.model_json_schema()
    schema["properties"]["format"]["const"] = FORMAT
    schema["properties"]["include_frames"] = {
        "description": "Language code -> file of its frames, inside this folder.",
        "type": "object",
        "additionalProperties": {"type": "string"},
    }
    schema["properties"]["include_grammars"] = {
        "description": "Language code -> file of the rules' grammars in it, inside this folder.",
        "type": "object",
        "additionalProperties": {"type": "string"},
    }
    schema["properties"]["include_rules"] = {
        "description": "Files of further rules, inside this folder, in order.",
        "type": "array",
        "items": {"type": "string"},
        "uniqueItems": True,
    }
    schema["required"] = [name for name in schema["required"] if name != "rules"]
    schema["anyOf"] = [{"required": ["rules"]}, {"required": ["include_rules"]}]
    return {"$schema": _DIALECT, **schema}
