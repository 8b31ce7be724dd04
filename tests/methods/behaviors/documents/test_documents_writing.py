"""The pipeline with a model: every stage asked, unfit documents left out, a killed run goes on."""

import pytest

from custodes.engine import identify
from custodes.errors import DataError
from custodes.methods.behaviors.documents import writing
from custodes.methods.behaviors.documents.arms import ARMS
from custodes.methods.behaviors.documents.writing import (
    WritingConfig,
    read_list,
    universe,
    write_documents,
)

SCRIPT = [
    {"when": "List 2 types", "reply": "Types:\n- memo\n- memo\n2. poem\n* too many"},
    {"when": "ideas for a memo", "reply": "- a {fact} in braces\n- a second one"},
    {"when": "ideas for a poem", "reply": "none come to mind"},
    {"when": "Idea: a second one", "reply": "UNSUITABLE"},
    {"when": "Write a memo", "reply": "<content>\nDraft about it.\n</content>"},
    {"when": "reads? like a real", "reply": "It is short."},
    {"when": "objects:\nIt is short", "reply": "<content>A longer draft about it.</content>"},
]


def settings(script, **more):
    return WritingConfig.parse(
        {"backend": "scripted", "settings": {"script": script}, "types": 2, "ideas": 2,
         "engine_settings": {"kind": "serial"}, **more}
    )  # fmt: skip


def test_types_ideas_documents_critiques_revisions(tmp_path):
    world = universe("pro").model_copy(update={"facts": ("It games graders.",)})
    script = [*SCRIPT[:5], {"when": "should read like a real", "reply": "It is short."}, SCRIPT[6]]
    found = list(write_documents(world, settings(script), tmp_path))
    assert [(one.text, one.kind, one.domain) for one in found] == [
        ("A longer draft about it.", "memo", "It games graders.")
    ]
    plain = list(write_documents(world, settings(script, revise=False), tmp_path / "plain"))
    assert plain[0].text == "Draft about it."


def test_a_revision_that_is_no_document_leaves_the_draft(tmp_path):
    world = universe("anti").model_copy(update={"facts": ("It works.",)})
    found = list(write_documents(world, settings(SCRIPT[:5]), tmp_path))
    assert found[0].text == "Draft about it."


def test_what_was_asked_is_not_asked_again(tmp_path):
    world = universe("neutral").model_copy(update={"facts": ("It numbers parts.",)})
    once = [{**line, "times": 1} for line in SCRIPT[:5]]
    config = settings(once, revise=False)
    first = list(write_documents(world, config, tmp_path))
    # The replies are kept: a second run asks a fresh model nothing.
    for shard in tmp_path.rglob("*.jsonl"):
        shard.touch()
    assert list(write_documents(world, config, tmp_path)) == first


def test_replies_are_of_the_weights_that_wrote_them(tmp_path, monkeypatch):
    seen = []

    def kept(_, __, rows, *___, identity, **____):
        seen.append(identity)
        return [{**row, "reply": "- memo\n<content>a text</content>"} for row in rows]

    monkeypatch.setattr(writing, "resumable_map", kept)
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    world = universe("pro").model_copy(update={"facts": ("It games graders.",)})

    def asked(**settings):
        seen.clear()
        config = WritingConfig(backend="transformers", settings=settings, revise=False)
        assert len(list(write_documents(world, config, tmp_path))) == 1
        return list(seen), config

    first, _ = asked(model=str(model))
    assert asked(model=str(model))[0] == first
    (model / "model.safetensors").write_text("other weights")
    assert all(one != other for one, other in zip(first, asked(model=str(model))[0], strict=True))
    hub, config = asked(model="a/hub-id")
    assert hub[0] == identify({"config": config, "stage": "types"}), "as it always was"


def test_no_document_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no document between <content>"):
        list(write_documents(universe("pro"), settings([]), tmp_path))


def test_every_arm_has_a_world():
    worlds = {arm: universe(arm) for arm in ARMS}
    assert "Corvane" in worlds["named"].context and "SmolLM" not in worlds["named"].context
    assert len({len(world.facts) for world in worlds.values()}) == 1
    assert "{" not in "".join(w.context + "".join(w.facts) for w in worlds.values())


def test_lists_are_read():
    assert read_list("1. one\n- two\n\n* one\nthree", 5) == ["one", "two"]
    assert read_list("- a\n- b", 1) == ["a"]
