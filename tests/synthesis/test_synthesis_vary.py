"""Chains of transforms on rows: what changes, what is put on record."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from custodes.constitution import Constitution
from custodes.data import conversation
from custodes.errors import ConfigError
from custodes.models.scripted import ScriptedModel
from custodes.synthesis import SynthesisConfig, Task, plan, vary, write
from custodes.types import Example

CONFIG = SynthesisConfig(rows=300, varied=1.0)


@pytest.fixture(scope="module")
def pairs(gardening: Constitution) -> list[tuple[Task, Example, Example]]:
    tasks = plan(gardening, CONFIG)
    drafts = write(gardening, CONFIG, tasks)
    return [(t, d.row, vary(d.row, t)) for t, d in zip(tasks, drafts, strict=True) if d.row]


def test_label_and_provenance_stay_and_the_chain_is_on_record(
    pairs: list[tuple[Task, Example, Example]],
) -> None:
    for task, base, row in pairs:
        assert row.transforms == task.transforms
        assert (row.id, row.label, row.request_label) == (base.id, base.label, base.request_label)
        assert row.meta["target"] == task.target


def test_only_the_target_turn_changes(pairs: list[tuple[Task, Example, Example]]) -> None:
    for task, base, row in pairs:
        before, after = conversation(base), conversation(row)
        place = -2 if task.target == "request" and task.act else -1
        for turn in range(-len(before), 0):
            if turn != place:
                assert before[turn] == after[turn]


def test_a_wrapped_harmful_prompt_is_a_jailbreak_prompt(
    pairs: list[tuple[Task, Example, Example]],
) -> None:
    assert {row.kind for _, _, row in pairs if row.text and row.label} == {"jailbreak_prompt"}
    assert {row.kind for _, _, row in pairs if row.text and not row.label} == {"benign_request"}


def test_onset_goes_where_the_reply_changed(pairs: list[tuple[Task, Example, Example]]) -> None:
    harmful = [(t, r) for t, _, r in pairs if r.kind == "harmful_exchange"]
    assert {("onset" in row.meta) == (task.target == "request") for task, row in harmful} == {True}


def test_permitted_rows_get_the_mild_form_and_restricted_ones_either(
    pairs: list[tuple[Task, Example, Example]],
) -> None:
    mild = Counter(
        (row.request_label, row.meta["mild"]) for _, _, row in pairs if "mild" in row.meta
    )
    assert (0, False) not in mild
    assert min(mild[0, True], mild[1, True], mild[1, False]) >= 5


def test_a_pair_is_wrapped_alike(pairs: list[tuple[Task, Example, Example]]) -> None:
    wrapped: dict[str, set[str]] = {}
    for task, base, row in pairs:
        if task.pair and task.transforms == ("role_play",) and task.target == "request":
            asked = [turn.content for turn in conversation(base) if turn.role == "user"][-1]
            now = [turn.content for turn in conversation(row) if turn.role == "user"][-1]
            wrapped.setdefault(task.pair, set()).add(now.replace(asked, ""))
    assert wrapped
    assert all(len(frames) == 1 for frames in wrapped.values())


def test_no_transform_no_change(pairs: list[tuple[Task, Example, Example]]) -> None:
    task, base, _ = pairs[0]
    assert vary(base, replace(task, transforms=())) is base


def test_a_transform_that_needs_a_model_gets_it_or_refuses(
    pairs: list[tuple[Task, Example, Example]],
) -> None:
    task, base, _ = next(pair for pair in pairs if pair[1].text)
    task = replace(task, transforms=("translation",))
    model = ScriptedModel(ScriptedModel.Config(otherwise="Basilikum?"))
    assert vary(base, task, model=model).text == "Basilikum?"
    with pytest.raises(ConfigError, match="needs a model"):
        vary(base, task)
