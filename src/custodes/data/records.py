"""An example as a plain record (a dictionary of JSON values), and back.

Checks every field by hand, since a table may hold millions of rows. Knows nothing of files: the
reader puts file and line in front of what is said here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from custodes.errors import DataError
from custodes.types import Conversation, Example, Message

__all__ = [
    "CONTEXT_MARK",
    "FIELDS",
    "NOT_JSON",
    "content_hash",
    "conversation",
    "from_record",
    "to_record",
]

NOT_JSON: Final = (
    "cannot be written as JSON; 'meta' may hold only strings, finite numbers, booleans, null, "
    "lists and objects"
)
"""What the writers say of a row whose `meta` holds anything else."""

_ROLES = ("system", "user", "assistant", "tool")

CONTEXT_MARK: Final = "\n\n---\n\n"
"""Between a passage and the request about it, as HarmBench (arXiv 2402.04249) puts them."""


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a string")
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a string that is not empty")
    return value


def _label(value: Any) -> int:
    if isinstance(value, bool) or value not in (0, 1):
        raise ValueError("1 (harmful), 0 (benign) or null")
    return int(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _whole_number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("a whole number")
    return value


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError("an object")
    return dict(value)


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError("a list of strings")
    return tuple(value)


def _messages(value: Any) -> Conversation:
    expected = (
        "a list, not empty, of objects with just a role "
        f"({', '.join(_ROLES)}) and a content (a string)"
    )
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(expected)
    turns = []
    for turn in value:
        if not isinstance(turn, Mapping) or turn.keys() != {"role", "content"}:
            raise ValueError(expected)
        role, content = turn["role"], turn["content"]
        if role not in _ROLES or not isinstance(content, str):
            raise ValueError(expected)
        turns.append(Message(role, content))
    return tuple(turns)


FIELDS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "id": _name,
    "source": _text,
    "kind": _text,
    "licence": _text,
    "text": _text,
    "messages": _messages,
    "label": _label,
    "request_label": _label,
    "category": _text,
    "system": _text,
    "context": _text,
    "lang": _text,
    "group": _text,
    "dup_of": _text,
    "prompt_dup_of": _text,
    "review": _flag,
    "meta": _mapping,
    "rule": _text,
    "writer": _text,
    "transforms": _names,
    "seed": _whole_number,
}
"""Field -> what reads its value, or raises `ValueError` saying what was expected."""

_REQUIRED = ("id", "source", "kind")
_DEFAULTS: Final[Mapping[str, Any]] = {"licence": "", "review": False, "meta": {}, "transforms": ()}


def from_record(
    record: Mapping[str, Any], *, unknown: Literal["refuse", "keep"] = "refuse"
) -> Example:
    """Read one row; null counts as absent. `DataError` names the field, what was got and expected.

    `unknown="keep"` moves fields that no example has into `meta`, for tables of other makers;
    the default refuses them, so that a misspelled field is not lost without a word.
    """
    if not isinstance(record, Mapping):
        raise DataError(f"got {_short(record)}, expected an object with the fields of an example")
    values: dict[str, Any] = {}
    strange: dict[str, Any] = {}
    for name, value in record.items():
        if name not in FIELDS:
            strange[name] = value
        elif value is not None:
            try:
                values[name] = FIELDS[name](value)
            except ValueError as error:
                raise DataError(f"{name}: got {_short(value)}, expected {error}") from None
    _check_presence(values)
    if strange:
        values["meta"] = _with_strangers(values.get("meta", {}), strange, unknown)
    return Example(**values)


def _check_presence(values: Mapping[str, Any]) -> None:
    for name in _REQUIRED:
        if name not in values:
            raise DataError(f"{name}: missing; every example has {', '.join(_REQUIRED)}")
    if ("text" in values) == ("messages" in values):
        got = "both" if "text" in values else "neither"
        raise DataError(f"text, messages: got {got}, expected exactly one of the two")


def _with_strangers(
    meta: Mapping[str, Any], strange: Mapping[str, Any], unknown: Literal["refuse", "keep"]
) -> dict[str, Any]:
    if unknown == "refuse":
        raise DataError(
            f"unknown field {', '.join(map(repr, strange))}; known fields: {', '.join(FIELDS)}. "
            "Put what is your own under 'meta'"
        )
    clash = meta.keys() & strange.keys()
    if clash:
        raise DataError(f"{min(clash)}: stands both in the row and in its meta; keep one of them")
    return {**meta, **strange}


def to_record(example: Example) -> dict[str, Any]:
    """The row as JSON values, in the order of `FIELDS`; `label` always, else only what is set."""
    record: dict[str, Any] = {}
    for name in FIELDS:
        value = getattr(example, name)
        if name == "label" or (value is not None and value != _DEFAULTS.get(name)):
            record[name] = value
    if example.messages is not None:
        record["messages"] = [{"role": m.role, "content": m.content} for m in example.messages]
    if example.transforms:
        record["transforms"] = list(example.transforms)
    if example.meta:
        record["meta"] = dict(example.meta)
    return record


def conversation(example: Example) -> Conversation:
    """What is put to a model or a guard: `system`, then the turns (a `text` is the user's turn).

    A `context` is the passage that the first user's turn is about: it opens that very turn, so
    that whoever judges the turn judges the passage with it.
    """
    turns = example.messages or (Message("user", example.text or ""),)
    if example.context is not None:
        first = next((i for i, turn in enumerate(turns) if turn.role == "user"), None)
        if first is None:
            raise DataError(f"{example.id}: has a context but no turn of the user to put it in")
        opened = Message("user", example.context + CONTEXT_MARK + turns[first].content)
        turns = (*turns[:first], opened, *turns[first + 1 :])
    if example.system is not None:
        turns = (Message("system", example.system), *turns)
    return turns


def content_hash(example: Example) -> str:
    """SHA-256 (hex) of what is judged, roles and contents; labels and provenance do not enter."""
    turns = [(turn.role, turn.content) for turn in conversation(example)]
    return hashlib.sha256(json.dumps(turns).encode("ascii")).hexdigest()


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "..."
