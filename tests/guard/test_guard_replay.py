from __future__ import annotations

import pytest

from custodes.classifiers.scripted import Fault, Pattern, ScriptedConfig, ScriptedScorer
from custodes.guard import Cascade, Edition, Guard, Policy, Stage
from custodes.guard.outcome import outcomes
from custodes.guard.replay import decisive, replays
from custodes.types import Action, Conversation, Message, Mode, RuleId

ANT = RuleId("ant")


class Counting(ScriptedScorer):
    """Counts how often it is asked for batches and for streams."""

    batches = 0
    streams = 0

    def points(self, conversations, mode):  # type: ignore[no-untyped-def]
        self.batches += 1
        return super().points(conversations, mode)

    def open(self, context, mode):  # type: ignore[no-untyped-def]
        self.streams += 1
        return super().open(context, mode)


def scorer(name: str, **values: object) -> Counting:
    table = [Pattern(regex="ant", logit=2, rule=ANT)]
    base: dict[str, object] = {"name": name, "rules": (ANT,), "patterns": table, "step": 4}
    return Counting(ScriptedConfig.parse({**base, **values}))


def guard(*stages: Stage) -> Guard:
    return Guard(
        Cascade(stages),
        Policy(),
        edition=Edition(id="pets", version="1"),
        artifact="",
        clock=lambda: 0.0,
    )


def said(text: str, reply: str | None = None) -> Conversation:
    asked = (Message("user", text),)
    return asked if reply is None else (*asked, Message("assistant", reply))


def test_outcomes_come_in_order_with_verdict_and_cut() -> None:
    judge = guard(Stage(scorer=scorer("only")))
    batch = [said("a dog"), said("?", "so, it is an ant"), said("an ant")]
    found = outcomes(judge, batch)
    assert [each.verdict for each in found] == judge.judge_many(batch)
    assert [each.stop_at for each in found] == [None, 12, 4]
    assert [each.verdict.mode for each in outcomes(judge, batch, Mode.OUTPUT)] == [Mode.OUTPUT] * 3
    assert outcomes(judge, []) == []


def test_every_stage_is_asked_once_and_for_what_is_escalated_only() -> None:
    cheap, deep = scorer("cheap"), scorer("deep", base=1.0)
    judge = guard(Stage(scorer=cheap, escalate_above=0), Stage(scorer=deep))
    texts = ["a dog", "an ant", "a cat", "ants"]
    found = outcomes(judge, [said(text) for text in texts])
    assert (cheap.batches, deep.batches) == (1, 1)
    assert (cheap.streams, deep.streams) == (4, 2)
    assert [each.verdict.stage for each in found] == ["cheap", "deep", "cheap", "deep"]


@pytest.mark.parametrize("fault", [Fault.RAISE, Fault.NAN, Fault.NONE, Fault.BEYOND, Fault.SILENT])
def test_only_the_faulty_text_fails(fault: Fault) -> None:
    judge = guard(Stage(scorer=scorer("only", fault=fault, fault_at=10)))
    short, long = outcomes(judge, [said("a dog"), said("a dog and a cat")])
    assert long.verdict.action is Action.STOP
    assert long.verdict.failure
    assert bool(short.verdict.failure) is (fault is Fault.SILENT)


def test_a_replay_is_the_scorer_that_it_replays() -> None:
    original = scorer("only")
    (cascade,) = replays(Cascade([Stage(scorer=original)]), [said("an ant")], Mode.INPUT)
    (stage,) = cascade.stages
    assert stage.scorer.version == original.version
    assert stage.scorer.rules == original.rules
    (points,) = stage.scorer.points([said("an ant")], Mode.INPUT)
    (worst,) = stage.scorer.score([said("an ant")], Mode.INPUT)
    assert worst in [point for point in points if point.logit == 2]


def test_the_decisive_point_of_nothing_is_nothing() -> None:
    cascade = Cascade([Stage(scorer=scorer("only"))])
    assert decisive(cascade, [], Mode.INPUT) == []
    assert decisive(cascade, [said("so, an ant")], Mode.INPUT)[0].logit == 2
