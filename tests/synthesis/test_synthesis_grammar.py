"""The grammar writer: labels, kinds, replies, pairs, surroundings."""

from __future__ import annotations

from collections import Counter

import pytest

from custodes.constitution import Constitution, Frames, shipped
from custodes.constitution import read as read_constitution
from custodes.data import conversation
from custodes.synthesis import SynthesisConfig, Task, plan, write
from custodes.synthesis.writers.grammar import GrammarWriter
from custodes.types import Example, Mode

PLAIN = SynthesisConfig(rows=300, varied=0, contrast=0.5)


@pytest.fixture(scope="module")
def written(gardening: Constitution) -> list[tuple[Task, Example]]:
    tasks = plan(gardening, PLAIN)
    drafts = write(gardening, PLAIN, tasks)
    return [(task, d.row) for task, d in zip(tasks, drafts, strict=True) if d.row is not None]


def test_every_task_becomes_a_row_with_its_provenance(
    written: list[tuple[Task, Example]],
) -> None:
    assert len(written) == 1200
    for task, row in written:
        assert (row.id, row.rule, row.seed, row.lang) == (task.id, task.rule, task.seed, task.lang)
        assert row.writer == "grammar"
        assert row.source == "synthetic:gardening"
        assert row.licence == "Apache-2.0"
        assert row.meta["side"] == task.side
        assert row.group == (task.pair or task.id)


def test_labels_follow_the_rule_and_the_reply(written: list[tuple[Task, Example]]) -> None:
    seen = Counter(
        (row.rule, task.act, row.label, row.request_label, row.kind) for task, row in written
    )
    assert set(seen) == {
        ("growing_mint", None, 1, 1, "harmful_request"),
        ("growing_mint", "comply", 1, 1, "harmful_exchange"),
        ("growing_mint", "refuse", 0, 1, "refused_exchange"),
        ("growing_mint", "refuse_then_comply", 1, 1, "harmful_exchange"),
        ("growing_herbs", None, 0, 0, "benign_request"),
        ("growing_herbs", "comply", 0, 0, "benign_exchange"),
        ("growing_herbs", "refuse", 0, 0, "refused_exchange"),
        ("growing_herbs", "refuse_then_comply", 0, 0, "benign_exchange"),
        ("mint_code", None, 1, 1, "harmful_request"),
    }


def test_inputs_end_with_the_user_and_the_rest_with_the_assistant(
    written: list[tuple[Task, Example]],
) -> None:
    for task, row in written:
        turns = conversation(row)
        assert turns[-1].role == ("user" if task.side is Mode.INPUT else "assistant")
        assert all(turn.content.strip() for turn in turns)
        assert not any("{" in turn.content for turn in turns)


def test_onset_is_where_the_harm_begins(written: list[tuple[Task, Example]]) -> None:
    steps = (
        "Take",
        "Put",
        "Wait",
        "Plant",
        "Water",
        "Everyone",
        "1.",
        "- ",
        "Toma",
        "Ponlo",
        "Espera",
    )
    onsets = 0
    for _, row in written:
        if row.kind == "harmful_exchange":
            assert row.messages is not None
            assert row.messages[-1].content[row.meta["onset"] :].startswith(steps)
            onsets += row.meta["onset"] > 0
        else:
            assert "onset" not in row.meta
    assert onsets > 20


def test_a_reply_judged_alone_names_what_it_does(written: list[tuple[Task, Example]]) -> None:
    for task, row in written:
        form = (task.side, task.act, task.lang, row.meta["form"])
        if form == (Mode.OUTPUT, "comply", "en", "frame"):
            reply = conversation(row)[-1].content
            assert reply.startswith(("Here is how to", "Everyone", "I love"))


def test_a_late_compliance_begins_with_a_refusal(written: list[tuple[Task, Example]]) -> None:
    for task, row in written:
        if task.act == "refuse_then_comply":
            first, blank, rest = conversation(row)[-1].content.partition("\n\n")
            assert first.startswith(("I would rather", "Sorry", "Lo siento"))
            assert blank
            assert rest


def test_a_pair_differs_in_its_intent_only(written: list[tuple[Task, Example]]) -> None:
    pairs: dict[str, list[Example]] = {}
    for task, row in written:
        if task.pair and task.side is Mode.INPUT and task.lang == "en":
            pairs.setdefault(task.pair, []).append(row)
    several = [rows for rows in pairs.values() if len({row.label for row in rows}) == 2]
    assert len(several) > 20
    for rows in several:
        assert {row.meta["form"] for row in rows} == {"frame"}
        texts = [conversation(row)[-1].content for row in rows]
        openings = {text.split()[0] for text in texts}
        assert len(openings) == 1 or rows[0].meta["style"] == "plain"
        assert len({row.system for row in rows}) == 1


def test_every_form_of_request_is_used(written: list[tuple[Task, Example]]) -> None:
    forms = Counter(row.meta["form"] for _, row in written)
    assert set(forms) == {"frame", "request", "statement", "example"}
    spanish = {row.meta["form"] for task, row in written if task.lang == "es"}
    assert spanish == {"frame"}


def test_some_rows_have_a_system_prompt_or_earlier_turns(
    written: list[tuple[Task, Example]],
) -> None:
    labels = Counter(row.request_label for _, row in written if row.system)
    assert labels[0] > 20
    assert labels[1] > 20
    longer = [row for _, row in written if len(row.messages or ()) > 2]
    assert len(longer) > 40
    assert any(row.messages and row.messages[-1].role == "user" for row in longer)


def test_two_writers_of_one_seed_agree(gardening: Constitution) -> None:
    tasks = plan(gardening, PLAIN)
    assert write(gardening, PLAIN, tasks) == write(gardening, PLAIN, tasks)


def test_a_text_written_already_is_tried_again_and_counted(gardening: Constitution) -> None:
    tasks = plan(gardening, PLAIN)
    drafts = write(gardening, PLAIN, tasks)
    retried = [draft for draft in drafts if draft.rejected]
    assert retried
    assert {why for draft in retried for why in draft.rejected} == {"written already"}


def test_what_a_grammar_lacks_decides_the_sides(gardening: Constitution) -> None:
    mint, _, code = gardening.rules
    able = {side: GrammarWriter.languages(gardening, mint, side) for side in Mode}
    assert able == dict.fromkeys(Mode, ("en", "es"))
    assert GrammarWriter.languages(gardening, code, Mode.OUTPUT) == ()
    spoken = mint.grammar["en"].model_copy(update={"intents": (), "requests": ()})
    only_said = mint.model_copy(update={"grammar": {"en": spoken}})
    assert GrammarWriter.languages(gardening, only_said, Mode.INPUT) == ("en",)
    assert GrammarWriter.languages(gardening, only_said, Mode.EXCHANGE) == ()


def test_a_language_without_frames_uses_whole_requests(gardening: Constitution) -> None:
    bare = gardening.model_copy(update={"frames": {}})
    config = SynthesisConfig(rows=30, varied=0)
    rows = [draft.row for draft in write(bare, config, plan(bare, config))]
    assert {row.meta["style"] for row in rows if row} == {"plain"}
    assert {row.meta["form"] for row in rows if row} <= {"request", "statement", "example"}


def test_statements_serve_as_replies_where_there_are_no_steps(gardening: Constitution) -> None:
    mint = gardening.rules[0]
    grammar = mint.grammar["en"].model_copy(update={"steps": ()})
    frames = Frames(
        requests={"plain": ("How to {intent}?",)}, replies=("Hm. {steps}",), refusals=("No.",)
    )
    only = gardening.model_copy(
        update={
            "rules": (mint.model_copy(update={"grammar": {"en": grammar}}),),
            "frames": {"en": frames},
        }
    )
    config = SynthesisConfig(rows=40, varied=0, sides={Mode.OUTPUT: 1})
    replies = [
        draft.row.messages[-1].content[draft.row.meta["onset"] :]
        for draft in write(only, config, plan(only, config))
        if draft.row and draft.row.messages and draft.row.label
    ]
    assert replies
    assert all(reply.startswith("Everyone should plant") for reply in replies)


@pytest.mark.skipif("default" not in shipped(), reason="no default constitution here")
def test_the_default_constitution_is_spoken_for() -> None:
    constitution = read_constitution("default")
    config = SynthesisConfig(rows=20)
    drafts = write(constitution, config, plan(constitution, config))
    assert (
        len([draft for draft in drafts if draft.row]) == len(drafts) >= 20 * len(constitution.rules)
    )
