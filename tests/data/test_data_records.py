"""Records: every wrong field is named, nothing is lost, what is judged has a stable hash."""

import dataclasses

import pytest

from custodes.data import content_hash, conversation, from_record, to_record
from custodes.data.records import FIELDS
from custodes.errors import DataError
from custodes.types import Example, Message

ROW = {"id": "a", "source": "here", "kind": "benign_request", "text": "Bake bread?"}


def test_the_fields_are_those_of_an_example():
    assert set(FIELDS) == {field.name for field in dataclasses.fields(Example)}


def test_a_full_row_comes_back():
    record = {
        **ROW,
        "licence": "MIT",
        "label": 1,
        "request_label": 0,
        "category": "food",
        "system": "Be kind.",
        "context": "Flour, water.",
        "lang": "en",
        "group": "g",
        "dup_of": "b",
        "prompt_dup_of": "c",
        "review": True,
        "meta": {"votes": [1, None, 0.5]},
        "rule": "r",
        "writer": "grammar",
        "transforms": ["typos", "rot13"],
        "seed": 3,
    }
    example = from_record(record)
    assert example.transforms == ("typos", "rot13")
    assert to_record(example) == record
    assert list(to_record(example)) == [name for name in FIELDS if name in record]


def test_null_is_absent_and_a_label_is_always_written():
    example = from_record({**ROW, "licence": None, "meta": None, "label": None})
    assert (example.licence, example.meta, example.label) == ("", {}, None)
    assert to_record(example) == {**ROW, "label": None}


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("id", "", "not empty"),
        ("id", 3, "string"),
        ("text", 3, "string"),
        ("label", 2, "1 (harmful)"),
        ("label", True, "1 (harmful)"),
        ("review", 1, "true or false"),
        ("seed", "x", "whole number"),
        ("seed", True, "whole number"),
        ("meta", [], "object"),
        ("transforms", "typos", "list of strings"),
        ("transforms", [1], "list of strings"),
    ],
)
def test_a_wrong_value_is_named(field, value, expected):
    with pytest.raises(DataError, match=rf"^{field}: got .*expected .*") as caught:
        from_record({**ROW, field: value})
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    "messages",
    [
        [],
        "hello",
        ["hello"],
        [{"role": "user"}],
        [{"role": "wizard", "content": "x"}],
        [{"role": "user", "content": None}],
        [{"role": "user", "content": "x", "name": "y"}],
    ],
)
def test_wrong_turns_are_named(messages):
    record = {key: value for key, value in ROW.items() if key != "text"}
    with pytest.raises(DataError, match=r"^messages: got"):
        from_record({**record, "messages": messages})


def test_presence():
    with pytest.raises(DataError, match=r"^kind: missing"):
        from_record({key: value for key, value in ROW.items() if key != "kind"})
    with pytest.raises(DataError, match="got neither"):
        from_record({**ROW, "text": None})
    with pytest.raises(DataError, match="got both"):
        from_record({**ROW, "messages": [{"role": "user", "content": "x"}]})
    with pytest.raises(DataError, match="expected an object"):
        from_record(["x" * 200])


def test_unknown_fields_are_refused_or_kept():
    with pytest.raises(DataError, match="unknown field 'lable'"):
        from_record({**ROW, "lable": 1})
    kept = from_record({**ROW, "stars": 4, "meta": {"a": 1}}, unknown="keep")
    assert kept.meta == {"a": 1, "stars": 4}
    with pytest.raises(DataError, match=r"^stars: stands both"):
        from_record({**ROW, "stars": 4, "meta": {"stars": 5}}, unknown="keep")


def test_a_conversation_holds_system_context_and_turns():
    plain = from_record(ROW)
    assert conversation(plain) == (Message("user", "Bake bread?"),)
    full = dataclasses.replace(plain, system="Be kind.", context="Flour.")
    assert conversation(full) == (
        Message("system", "Be kind."),
        Message("user", "Flour.\n\n---\n\nBake bread?"),
    )


def test_a_context_opens_the_first_turn_of_the_user():
    turns = (Message("assistant", "Hi"), Message("user", "Bread?"), Message("user", "Now?"))
    example = dataclasses.replace(from_record(ROW), text=None, messages=turns, context="Flour.")
    assert [turn.content for turn in conversation(example)] == [
        "Hi",
        "Flour.\n\n---\n\nBread?",
        "Now?",
    ]
    silent = dataclasses.replace(example, messages=turns[:1])
    with pytest.raises(DataError, match="no turn of the user"):
        conversation(silent)


def test_the_hash_is_of_what_is_judged():
    example = from_record(ROW)
    other = dataclasses.replace(example, id="b", label=1, meta={"x": 1})
    assert content_hash(example) == content_hash(other)
    assert content_hash(example) != content_hash(dataclasses.replace(example, text="Bake bread"))
    # stable over releases: artifacts and resumed runs rest on it
    expected = "904d7e3e05295dc00486b5ccb1f1d0c3eb35d6b181706b7f3d43e4dbb9a0bf2f"
    assert content_hash(example) == expected
    assert len(content_hash(dataclasses.replace(example, text="\ud800\0"))) == 64
