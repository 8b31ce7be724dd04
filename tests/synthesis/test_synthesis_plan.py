"""The plan: balanced, stable, and the same for both labels where it must not tell them."""

from __future__ import annotations

from collections import Counter

import pytest

from custodes.constitution import Constitution, Polarity
from custodes.errors import ConfigError
from custodes.synthesis import SynthesisConfig, Task, plan, unwritten
from custodes.types import Mode, RuleId


def by_rule(tasks: list[Task]) -> dict[str, list[Task]]:
    found: dict[str, list[Task]] = {}
    for task in tasks:
        found.setdefault(task.rule, []).append(task)
    return found


def with_rules(constitution: Constitution, *rules: object) -> Constitution:
    return constitution.model_copy(update={"rules": tuple(rules)})


def test_the_dial_and_rows_say_how_much(gardening: Constitution) -> None:
    assert SynthesisConfig().rows_per_rule == 20
    assert SynthesisConfig(size="full").rows_per_rule == 2000
    assert SynthesisConfig(size="full", rows=7).rows_per_rule == 7
    tasks = by_rule(plan(gardening, SynthesisConfig(rows=20)))
    assert len(tasks["growing_mint"]) == len(tasks["mint_code"]) == 20


def test_both_polarities_get_as_many_tasks(gardening: Constitution) -> None:
    tasks = plan(gardening, SynthesisConfig(rows=30))
    polarity = {rule.id: rule.polarity for rule in gardening.rules}
    counts = Counter(polarity[task.rule] for task in tasks)
    assert counts[Polarity.RESTRICTED] == counts[Polarity.PERMITTED] == 60


def test_sides_have_their_shares_and_rules_their_sides(gardening: Constitution) -> None:
    config = SynthesisConfig(rows=100, sides={Mode.INPUT: 2, Mode.EXCHANGE: 2})
    tasks = by_rule(plan(gardening, config))
    assert Counter(task.side for task in tasks["growing_mint"]) == {
        Mode.INPUT: 50,
        Mode.EXCHANGE: 50,
    }
    assert {task.side for task in tasks["mint_code"]} == {Mode.INPUT}


def test_styles_languages_and_subtopics_are_balanced(gardening: Constitution) -> None:
    tasks = by_rule(plan(gardening, SynthesisConfig(rows=300)))["growing_mint"]
    cells = Counter((task.lang, task.style) for task in tasks)
    assert set(cells) == {("en", "plain"), ("en", "chatty"), ("es", "plain")}
    assert max(cells.values()) - min(cells.values()) <= 3
    topics = Counter(task.subtopic for task in tasks)
    assert set(topics) == {"sowing", "cuttings", "pots"}
    assert max(topics.values()) - min(topics.values()) <= 1


def test_a_constitution_may_name_the_languages_of_a_run_that_names_none(
    gardening: Constitution,
) -> None:
    named = gardening.model_copy(update={"languages": ("es",)})
    assert {task.lang for task in plan(named, SynthesisConfig(rows=20))} == {"es"}
    asked = plan(named, SynthesisConfig(rows=20, languages=("en",)))
    assert {task.lang for task in asked} == {"en"}


def test_languages_and_styles_can_be_chosen(gardening: Constitution) -> None:
    tasks = plan(gardening, SynthesisConfig(rows=20, languages=("es",), styles=("plain",)))
    assert {(task.rule, task.lang, task.style) for task in tasks} == {
        ("growing_mint", "es", "plain"),
        ("growing_herbs", "es", "plain"),
    }


def test_a_rule_that_cannot_be_spoken_for_is_named(gardening: Constitution) -> None:
    assert unwritten(gardening, SynthesisConfig(languages=("es",))) == ("mint_code",)
    assert unwritten(gardening, SynthesisConfig()) == ()


def test_ids_are_unique_and_another_seed_has_others(gardening: Constitution) -> None:
    first = {task.id for task in plan(gardening, SynthesisConfig(rows=50))}
    second = {task.id for task in plan(gardening, SynthesisConfig(rows=50, seed=1))}
    assert len(first) == len(plan(gardening, SynthesisConfig(rows=50)))
    assert not first & second


def test_changing_one_rule_changes_its_tasks_only(gardening: Constitution) -> None:
    config = SynthesisConfig(rows=40)
    mint, herbs, code = gardening.rules
    changed = with_rules(gardening, mint.model_copy(update={"text": "No mint."}), herbs, code)
    before, after = by_rule(plan(gardening, config)), by_rule(plan(changed, config))
    assert not {task.id for task in before["growing_mint"]} & {
        task.id for task in after["growing_mint"]
    }
    assert before["growing_herbs"] == after["growing_herbs"]
    assert before["mint_code"] == after["mint_code"]


def test_adding_a_rule_moves_no_others(gardening: Constitution) -> None:
    config = SynthesisConfig(rows=40)
    mint, herbs, code = gardening.rules
    before = by_rule(plan(with_rules(gardening, mint, herbs), config))
    after = by_rule(plan(with_rules(gardening, code, mint, herbs), config))
    assert before["growing_mint"] == after["growing_mint"]
    # The only permitted rule gets more tasks now, behind those it had.
    assert before["growing_herbs"] == after["growing_herbs"][:40]
    assert len(after["growing_herbs"]) == 80


def test_a_larger_plan_begins_with_the_smaller_one(gardening: Constitution) -> None:
    small = by_rule(plan(gardening, SynthesisConfig(rows=20)))
    large = by_rule(plan(gardening, SynthesisConfig(rows=50)))
    assert all(large[rule][: len(tasks)] == tasks for rule, tasks in small.items())


def test_rows_of_a_pair_share_all_but_the_rule(gardening: Constitution) -> None:
    tasks = plan(gardening, SynthesisConfig(rows=200, contrast=0.5))
    pairs: dict[str, list[Task]] = {}
    for task in tasks:
        if task.pair:
            pairs.setdefault(task.pair, []).append(task)
    several = [pair for pair in pairs.values() if len(pair) > 1]
    assert len(several) > 50
    for pair in several:
        assert len({task.rule for task in pair}) == len(pair)
        assert len({(t.lang, t.style, t.side, t.transforms, t.target, t.shared) for t in pair}) == 1
    share = sum(task.pair is not None for task in tasks) / len(tasks)
    assert 0.4 < share < 0.6


def test_transforms_fall_alike_on_both_polarities(gardening: Constitution) -> None:
    mint, herbs, _ = gardening.rules
    two = with_rules(gardening, mint, herbs)
    paired = by_rule(plan(two, SynthesisConfig(rows=400, contrast=1.0)))
    chains = [Counter(task.transforms for task in paired[rule.id]) for rule in (mint, herbs)]
    assert chains[0] == chains[1]
    alone = by_rule(plan(two, SynthesisConfig(rows=2000, contrast=0.0)))
    for name in ((), ("suffix",), ("base64",)):
        shares = [sum(t.transforms == name for t in alone[r.id]) / 2000 for r in (mint, herbs)]
        assert abs(shares[0] - shares[1]) < 0.05
    assert 0.55 < sum(not t.transforms for t in alone[mint.id]) / 2000 < 0.65


def test_noise_and_codes_do_not_go_together(gardening: Constitution) -> None:
    tasks = plan(gardening, SynthesisConfig(rows=500, varied=1.0))
    noise = {"casing", "homoglyphs", "leetspeak", "paraphrase", "typos", "zero_width"}
    codes = {"base64", "caesar", "hexadecimal", "morse", "reversed_words", "rot13"}
    assert all(task.transforms for task in tasks)
    assert any(len(task.transforms) == 2 for task in tasks)
    assert not [t for t in tasks if noise & set(t.transforms) and codes & set(t.transforms)]


def test_only_the_chosen_transforms_are_drawn(gardening: Constitution) -> None:
    tasks = plan(gardening, SynthesisConfig(rows=60, varied=1.0, transforms=("typos", "casing")))
    assert {task.transforms for task in tasks} == {("typos",), ("casing",)}


def test_held_out_transforms_are_on_held_out_rows_only(gardening: Constitution) -> None:
    config = SynthesisConfig(
        rows=400, held_out_transforms=("morse", "role_play"), held_out_share=0.2
    )
    tasks = plan(gardening, config)
    unseen = {"morse", "role_play"}
    assert all(task.held_out == bool(unseen & set(task.transforms)) for task in tasks)
    assert 0.1 < sum(task.held_out for task in tasks) / len(tasks) < 0.3


def test_a_rule_may_have_more_rows_and_keeps_those_that_it_had(gardening: Constitution) -> None:
    before = by_rule(plan(gardening, SynthesisConfig(rows=20)))
    more = SynthesisConfig(rows=20, rows_of={RuleId("mint_code"): 90, RuleId("growing_mint"): 1})
    after = by_rule(plan(gardening, more))
    assert len(after["mint_code"]) == 90 > len(before["mint_code"])
    assert after["mint_code"][: len(before["mint_code"])] == before["mint_code"]
    assert {**after, "mint_code": before["mint_code"]} == before


def test_a_held_out_rule_is_held_out_wholly_and_in_no_pair(gardening: Constitution) -> None:
    config = SynthesisConfig(rows=60, held_out_rules=(RuleId("mint_code"),))
    tasks = by_rule(plan(gardening, config))
    assert all(task.held_out and task.pair is None for task in tasks["mint_code"])
    assert not any(task.held_out for task in tasks["growing_mint"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"held_out_rules": ("growing_moss",)}, "growing_moss.*growing_herbs"),
        ({"rows_of": {"growing_moss": 9}}, "rows_of: got 'growing_moss'.*growing_herbs"),
        ({"held_out_transforms": ("sideways",)}, "unknown transforms.*sideways"),
        ({"transforms": ("translation",)}, "translation.*needs a model"),
        ({"styles": ("baroque",)}, "baroque.*chatty"),
        ({"languages": ("fi",)}, "nothing to write"),
        ({"writer": "nobody"}, "unknown writers.*nobody"),
    ],
)
def test_what_cannot_be_planned_is_refused(
    gardening: Constitution, settings: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=f"(?s){words}"):
        plan(gardening, SynthesisConfig.parse({"rows": 5, **settings}))


@pytest.mark.parametrize(
    "settings",
    [{"sides": {"input": -1}}, {"sides": {"input": 0}}, {"min_chars": 9, "max_chars": 8}],
)
def test_settings_that_contradict_themselves_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        SynthesisConfig.parse(settings)
