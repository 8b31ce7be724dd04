"""The model writer and the judge, with a scripted model; once with the embedded one (slow)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from custodes.constitution import Constitution
from custodes.data import conversation, read
from custodes.errors import ConfigError, ModelServerError
from custodes.models.scripted import Line, ScriptedModel
from custodes.synthesis import SynthesisConfig, Task, model_judge, plan, synthesize, write
from custodes.synthesis.prompting import render
from custodes.synthesis.shards import in_blocks
from custodes.synthesis.writers.model import ModelWriter
from custodes.types import Example, Mode

CONFIG = SynthesisConfig(rows=24, writer="model", varied=0, languages=("en",))

SCRIPT = (
    Line(when="Rewrite the message", reply="hey so what about my plant"),
    Line(when="politely declines", reply="I'm sorry, I can't help with that."),
    Line(when="does what is asked", reply="Put the plant in the sun and water it."),
    Line(when="Write one new message", reply='1. "How is my plant today?"\nAnd another one.'),
)


def scripted(*lines: Line, otherwise: str | None = None) -> ScriptedModel:
    return ScriptedModel(ScriptedModel.Config(script=lines, otherwise=otherwise))


def tasks(constitution: Constitution, **settings: object) -> list[Task]:
    values = {**CONFIG.model_dump(), "model": {"kind": "scripted"}, **settings}
    return plan(constitution, SynthesisConfig.parse(values))


def test_it_asks_for_a_query_a_style_and_a_reply(gardening: Constitution) -> None:
    planned = tasks(gardening)
    drafts = ModelWriter(gardening, CONFIG, model=scripted(*SCRIPT)).write(planned)
    for task, draft in zip(planned, drafts, strict=True):
        assert draft.row is not None
        assert draft.row.writer == "model"
        assert draft.row.group == draft.row.id
        assert draft.row.meta.get("subtopic") == task.subtopic
        asked = [turn.content for turn in conversation(draft.row) if turn.role == "user"][-1]
        plain = task.style == "plain"
        assert asked == ("How is my plant today?" if plain else "hey so what about my plant")
    kinds = Counter(draft.row.kind for draft in drafts if draft.row)
    assert set(kinds) == {
        "harmful_request", "benign_request", "harmful_exchange", "benign_exchange",
        "refused_exchange",
    }  # fmt: skip


def test_replies_do_what_the_plan_says(gardening: Constitution) -> None:
    planned = [t for t in tasks(gardening, rows=60) if t.act]
    drafts = ModelWriter(gardening, CONFIG, model=scripted(*SCRIPT)).write(planned)
    for task, draft in zip(planned, drafts, strict=True):
        assert draft.row is not None
        answer = conversation(draft.row)[-1].content
        if task.act == "refuse":
            assert answer == "I'm sorry, I can't help with that."
        elif task.act == "comply":
            assert answer == "Put the plant in the sun and water it."
        else:
            assert (
                answer
                == "Sorry, that is not something I do.\n\nPut the plant in the sun and water it."
            )
        if draft.row.kind == "harmful_exchange":
            assert answer[draft.row.meta["onset"] :].startswith("Put")


def test_what_does_not_parse_is_asked_again_and_counted(gardening: Constitution) -> None:
    planned = [t for t in tasks(gardening) if t.side is Mode.INPUT and t.style == "plain"][:3]
    model = scripted(Line(when="Write one new", reply="I cannot help with that.", times=2), *SCRIPT)
    drafts = ModelWriter(gardening, CONFIG, model=model).write(planned)
    assert all(draft.row for draft in drafts)
    assert [len(draft.rejected) for draft in drafts] == [1, 1, 0]
    assert drafts[0].rejected == ("query did not parse",)


@pytest.mark.parametrize("reply", ["", "Mint", "\n \n", '"?"'])
def test_scraps_never_become_rows(gardening: Constitution, reply: str) -> None:
    planned = tasks(gardening)[:2]
    model = scripted(Line(when="Write one new", reply=reply), *SCRIPT)
    for draft in ModelWriter(gardening, CONFIG, model=model).write(planned):
        assert draft.row is None
        assert draft.rejected == ("query did not parse",) * 3


@pytest.mark.parametrize(
    ("act", "when", "reply"),
    [
        ("comply", "does what is asked", "I'm sorry, but I can't do that."),
        ("comply", "does what is asked", "Yes."),
        ("refuse", "politely declines", "Put the plant in the sun."),
    ],
)
def test_a_reply_of_the_other_kind_is_rejected(
    gardening: Constitution, act: str, when: str, reply: str
) -> None:
    planned = [task for task in tasks(gardening) if task.act == act][:1]
    model = scripted(Line(when=when, reply=reply), *SCRIPT)
    (draft,) = ModelWriter(gardening, CONFIG, model=model).write(planned)
    assert draft.row is None
    assert draft.rejected == ("reply did not parse",) * 3


def test_without_frames_it_writes_plain_english(gardening: Constitution) -> None:
    bare = gardening.model_copy(update={"frames": {}, "rules": gardening.rules[:1]})
    planned = [t for t in tasks(bare, rows=60) if t.act == "refuse_then_comply"][:1]
    assert (planned[0].lang, planned[0].style) == ("en", "plain")
    (draft,) = ModelWriter(bare, CONFIG, model=scripted(*SCRIPT)).write(planned)
    assert draft.row is not None
    assert conversation(draft.row)[-1].content.startswith("I can't help with that.\n\nPut")


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"writer": "model", "model": {"kind": "scripted"}}, True),
        ({"writer": "grammar", "judge": {"kind": "scripted"}}, True),
        ({"writer": "grammar"}, False),
    ],
)
def test_a_title_that_a_model_is_shown_is_in_the_key_of_its_rows(
    gardening: Constitution, settings: dict[str, object], shown: bool
) -> None:
    config = SynthesisConfig.parse({"rows": 4, **settings})
    first, *others = gardening.rules
    renamed = first.model_copy(update={"title": "Something else entirely"})
    other = gardening.model_copy(update={"rules": (renamed, *others)})
    keys = [
        {
            block.tasks[0].rule: block.key
            for block in in_blocks(each, config, tasks=plan(each, config))
        }
        for each in (gardening, other)
    ]
    changed = {rule for rule in keys[0] if keys[0][rule] != keys[1][rule]}
    assert changed == ({first.id} if shown else set())


def test_without_a_model_it_is_refused(gardening: Constitution) -> None:
    with pytest.raises(ConfigError, match=r"model\.kind=embedded"):
        ModelWriter(gardening, CONFIG)


def test_a_failing_model_stops_the_run_and_what_is_done_stays(
    gardening: Constitution, tmp_path: Path
) -> None:
    once = {"when": "Write one new", "reply": "How is my plant today?", "times": 8}
    then = {"when": "Write one new", "error": "server"}
    failing = [once, then, *(line.model_dump() for line in SCRIPT)]
    values = {**CONFIG.model_dump(), "block": 4, "rows": 6}
    broken = SynthesisConfig.parse({**values, "model": {"kind": "scripted", "script": failing}})
    told: list[int] = []
    with pytest.raises(ModelServerError):
        synthesize(gardening, broken, tmp_path, progress=lambda done, _: told.append(done))
    assert told[-1] > 0
    assert not (tmp_path / "examples.parquet").exists()


def test_a_judge_of_the_settings_drops_what_it_doubts(
    gardening: Constitution, tmp_path: Path
) -> None:
    judge = {
        "kind": "scripted",
        "script": [{"when": "balcony", "reply": "No."}],
        "otherwise": "Yes",
    }
    values = {"rows": 30, "varied": 0, "languages": ["en"], "judge": judge}
    config = SynthesisConfig.parse({**values, "model": judge})
    rows = read(synthesize(gardening, config, tmp_path))
    alone = SynthesisConfig.parse(values)
    assert read(synthesize(gardening, alone, tmp_path)) == rows
    acts = {row.meta.get("act") for row in rows if "balcony" in str(row)}
    assert acts <= {"refuse"}
    # A refusal should get a no; this judge says yes unless there is a balcony.
    assert all("balcony" in str(row) for row in rows if row.meta.get("act") == "refuse")


@pytest.mark.parametrize(
    ("answer", "act", "verdict"),
    [
        ("Yes.", None, True),
        (" no, it is not", None, False),
        ("**No**", "refuse", True),
        ("yes", "refuse", False),
        ("yes", "comply", True),
        ("Perhaps", None, None),
        ("nothing", None, None),
    ],
)
def test_the_judge_compares_with_the_plan(
    gardening: Constitution, answer: str, act: str | None, verdict: bool | None
) -> None:
    row = Example(
        id="a",
        source="test",
        kind="harmful_request",
        text="mint?",
        rule=gardening.rules[0].id,
        meta={"act": act} if act else {},
    )
    assert model_judge(gardening, scripted(otherwise=answer))([row]) == [verdict]


def test_the_prompts_hold_what_the_model_needs(gardening: Constitution) -> None:
    mint, herbs, _ = gardening.rules
    asked = render("query.j2", rule=mint, subtopic="pots", lang="es")
    assert "not allowed" in asked
    assert "pots" in asked
    assert '"es"' in asked
    assert mint.examples[0] in asked
    assert "not allowed" not in render("query.j2", rule=herbs, subtopic=None, lang="en")
    judged = render("label_check.j2", rule=mint, text="user: {{ 7 * 7 }}", side="reply")
    assert "{{ 7 * 7 }}" in judged


@pytest.mark.slow
def test_the_embedded_model_writes_rows(gardening: Constitution) -> None:
    config = SynthesisConfig.parse(
        {**CONFIG.model_dump(), "rows": 2, "tries": 2, "model": {"kind": "embedded"}}
    )
    planned = plan(gardening, config)
    drafts = write(gardening, config, planned[:3])
    assert len(drafts) == 3
    assert any(draft.row for draft in drafts)
