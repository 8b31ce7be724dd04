from __future__ import annotations

import codecs
import math
import re

import numpy as np
import pytest

from custodes.classifiers.base import Point
from custodes.classifiers.scripted import Fault, Pattern, ScriptedConfig, ScriptedScorer
from custodes.errors import ConfigError
from custodes.guard import Cascade, GuardPoint, Stage, Watch
from custodes.guard.replay import decisive, replays
from custodes.types import Conversation, Message, Mode, RuleId

ANT, BEE, CAT = RuleId("ant"), RuleId("bee"), RuleId("cat")


def scorer(name: str, *table: tuple[str, float, RuleId | None], **values: object) -> ScriptedScorer:
    patterns = [Pattern(regex=regex, logit=logit, rule=rule) for regex, logit, rule in table]
    base: dict[str, object] = {"name": name, "rules": (ANT, BEE), "patterns": patterns, "step": 4}
    return ScriptedScorer(ScriptedConfig.parse({**base, **values}))


def points(cascade: Cascade, *pieces: str, mode: Mode = Mode.INPUT) -> list[GuardPoint]:
    stream = cascade.open((), mode)
    return [point for piece in pieces for point in stream.push(piece)] + stream.finish()


def said(text: str) -> Conversation:
    return (Message("user", text),)


CHEAP = scorer("cheap", ("ant", 1.0, ANT), window=4)
DEEP = scorer("deep", ("ant", 5.0, BEE), ("bee", 3.0, BEE), step=8, window=8)


def test_one_stage_is_its_own_points() -> None:
    got = points(Cascade([Stage(scorer=CHEAP)]), "so, ant ran")
    assert [(p.end, p.covered, p.logit) for p in got] == [(4, 4, -4), (8, 8, 1), (11, 11, -4)]
    assert {p.stage for p in got} == {"cheap"}


def test_the_next_stage_comes_into_play_above_the_threshold_only() -> None:
    for above, stages in [(0.99, 2), (1.0, 1)]:
        cascade = Cascade([Stage(scorer=CHEAP, escalate_above=above), Stage(scorer=DEEP)])
        assert len(points(cascade, "so, ant ran")[-1].stages) == stages


def test_logits_are_averaged_by_weight() -> None:
    cascade = Cascade(
        [Stage(scorer=CHEAP, weight=3, escalate_above=0), Stage(scorer=DEEP, weight=1)]
    )
    got = points(cascade, "so, ant ran")
    escalated = [p for p in got if len(p.stages) == 2]
    assert got[0].logits == {"cheap": -4}
    assert escalated[0].logits == {"cheap": 1, "deep": 5}
    assert escalated[0].logit == pytest.approx((3 * 1 + 5) / 4)
    assert escalated[0].stage == "deep"
    assert escalated[0].rules[BEE] == pytest.approx((3 * 0.1 + 0.9) / 4)
    assert escalated[0].rule == ANT


def test_a_stage_may_speak_alone() -> None:
    """Deep says 5 of an ant and 3 of a bee; half of that less 4 is the average."""
    heard = {}
    for alone in (-6.0, -1.5):
        deep = Stage(scorer=DEEP, alone={Mode.INPUT: alone})
        heard[alone] = points(Cascade([Stage(scorer=CHEAP), deep]), "one ant.")[-1]
    quiet, loud = heard.values()
    assert (quiet.logit, quiet.stage, quiet.spoke) == (pytest.approx(3.0), "deep", None)
    assert (loud.logit, loud.stage, loud.spoke) == (pytest.approx(3.5), "deep", 1)
    assert quiet.rules[ANT] > 0.3 and quiet.rules[BEE] < 0.7
    assert loud.rules == {ANT: pytest.approx(0.1), BEE: pytest.approx(0.9)}
    first = Stage(scorer=DEEP, alone={Mode.INPUT: 0.0})
    cascade = Cascade([first, Stage(scorer=CHEAP, weight=100)])
    found = points(cascade, "one ant.")[-1]
    assert (found.stage, found.logit) == ("deep", 5.0)
    assert points(cascade, "one ant.", mode=Mode.OUTPUT)[-1].stage == "cheap"
    (whole,) = replays(cascade, [said("one ant.")], Mode.INPUT)
    again = whole.points(said("one ant."), Mode.INPUT)[-1]
    assert (again.logit, again.spoke) == (found.logit, found.spoke)


def test_an_escalated_stage_speaks_of_the_text_before_its_escalation() -> None:
    cascade = Cascade([Stage(scorer=CHEAP, escalate_above=0), Stage(scorer=DEEP)])
    got = points(cascade, "a bee..........." + "so, ant ")
    retroactive = [p for p in got if p.end == 24 and p.covered == 8]
    assert [p.logits for p in retroactive] == [{"cheap": 1, "deep": 3}] * 2
    assert got[-1].covered == got[-1].end == 24


def test_none_on_a_stage_that_is_not_the_last_means_always() -> None:
    stages = [Stage(scorer=CHEAP), Stage(scorer=DEEP), Stage(scorer=scorer("third"))]
    cascade = Cascade(stages)
    got = points(cascade, "no insects")
    assert {len(p.stages) for p in got} == {3}
    assert points(cascade, "")[-1].end == 0
    assert decisive(cascade, [said("no insects")], Mode.INPUT)[0].logit == -4


def test_a_stage_can_be_called_at_the_very_end() -> None:
    cascade = Cascade(
        [
            Stage(scorer=scorer("late", ("t$", 2, ANT), step=99), escalate_above=0),
            Stage(scorer=DEEP),
        ]
    )
    (first, *_, last) = points(cascade, "an a", "nt")
    assert first.stage == last.stage == "deep"
    assert last.covered == 6


def test_rules_of_all_stages_count() -> None:
    other = scorer("other", ("ant", 3, CAT), rules=(CAT, ANT))
    cascade = Cascade([Stage(scorer=CHEAP), Stage(scorer=other)])
    assert cascade.rules == (ANT, BEE, CAT)
    best = decisive(cascade, [said("ant")], Mode.INPUT)[0]
    assert best.rules == pytest.approx({ANT: 0.5, BEE: 0.05, CAT: 0.45})
    nameless = Cascade([Stage(scorer=scorer("nameless", rules=()))])
    assert decisive(nameless, [said("ant")], Mode.INPUT)[0].rule is None


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], "at least one"),
        ([Stage(scorer=CHEAP), Stage(scorer=CHEAP)], "different names"),
        ([Stage(scorer=CHEAP, weight=0)], "weight 0"),
        ([Stage(scorer=CHEAP, weight=math.inf)], "weight inf"),
        ([Stage(scorer=CHEAP, escalate_above=math.nan), Stage(scorer=DEEP)], "not a number"),
        ([Stage(scorer=CHEAP, escalate_above=1)], "no stage follows"),
    ],
)
def test_a_cascade_that_makes_no_sense_is_refused(stages: list[Stage], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Cascade(stages)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault.RAISE, "'cheap' raised RuntimeError: scripted: told to raise"),
        (Fault.OPEN, "'cheap' raised RuntimeError"),
        (Fault.NAN, "logit nan at character 4, expected a finite number"),
        (Fault.INFINITE, "logit -inf"),
        (Fault.NONE, "'cheap' raised TypeError"),
        (Fault.BACKWARDS, r"a point at character -1, expected one in 0\.\.11"),
        (Fault.BEYOND, r"a point at character 1000000004, expected one in 0\.\.11"),
        (Fault.RULES, "rule probabilities .*nan"),
        (Fault.SILENT, "gave no point for a text of 11 characters"),
    ],
)
def test_a_fault_is_a_last_point_that_looks_harmful(fault: Fault, message: str) -> None:
    cascade = Cascade([Stage(scorer=scorer("cheap", fault=fault))])
    stream = cascade.open((), Mode.INPUT)
    last = [*stream.push("so, ant ran"), *stream.finish()][-1]
    assert last.failure is not None
    assert last.logit == math.inf
    assert last.covered == 0
    assert last.stage is None and last.rule is None
    assert re.search(message, last.failure)
    assert stream.push("more") == stream.finish() == []
    assert decisive(cascade, [said("so, ant ran")], Mode.INPUT)[0].failure == last.failure


class Odd(ScriptedScorer):
    """Answers with whatever it is given."""

    def __init__(self, *answer: Point, whole: object = ()) -> None:
        super().__init__(ScriptedConfig(name="odd", rules=(ANT,)))
        self._answer = list(answer)
        self._whole = whole

    def open(self, context: Conversation, mode: Mode) -> Odd:  # type: ignore[override]
        return self

    def push(self, text: str) -> list[Point]:
        return self._answer

    def finish(self) -> list[Point]:
        return []

    def score(self, conversations: object, mode: Mode) -> list[Point]:
        return self._whole  # type: ignore[return-value]


def one(value: float = 1.0, count: int = 1) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.full(count, value, np.float32)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([Point(3, 0, one(count=2))], "shape (2,), expected (1,)"),
        ([Point(3, 0, one(-1))], "expected finite ones from 0"),
        ([Point(3, 0, one(math.inf))], "expected finite ones from 0"),
        ([Point(2, 0, one()), Point(1, 0, one())], "character 1, expected one in 2..3"),
        ([Point(2, 0, one())], "gave points up to character 2 for a text of 3 characters"),
        ([Point(2.5, 0, one())], "raised TypeError"),  # type: ignore[arg-type]
    ],
)
def test_points_are_checked(answer: list[Point], message: str) -> None:
    last = points(Cascade([Stage(scorer=Odd(*answer))]), "ant")[-1]
    assert message in str(last.failure)


def test_points_before_a_fault_still_count() -> None:
    answer = [Point(1, 0.5, one()), Point(2, math.nan, one())]
    first, last = points(Cascade([Stage(scorer=Odd(*answer))]), "ant")
    assert first.logit == 0.5
    assert last.failure


def test_numbers_of_numpy_are_numbers() -> None:
    answer = Point(np.int64(3), np.float32(1), one())  # type: ignore[arg-type]
    assert points(Cascade([Stage(scorer=Odd(answer))]), "ant")[-1].failure is None


def test_a_fault_of_a_deeper_stage_is_a_fault() -> None:
    for fault in (Fault.OPEN, Fault.RAISE, Fault.SILENT):
        broken = scorer("deep", fault=fault)
        cascade = Cascade([Stage(scorer=CHEAP, escalate_above=0), Stage(scorer=broken)])
        assert points(cascade, "no insects")[-1].failure is None
        assert "'deep'" in str(points(cascade, "so, a", "nt", " ran")[-1].failure)


def test_a_stage_that_cannot_open_at_the_very_end_is_a_fault() -> None:
    late = scorer("late", ("t$", 2, ANT), step=99)
    cascade = Cascade(
        [Stage(scorer=late, escalate_above=0), Stage(scorer=scorer("deep", fault=Fault.OPEN))]
    )
    (only,) = points(cascade, "an ant")
    assert "'deep'" in str(only.failure)


def test_a_late_stage_is_a_fault() -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    config = ScriptedConfig(step=4, fault=Fault.STALL, fault_at=8, stall_seconds=3)
    cascade = Cascade([Stage(scorer=ScriptedScorer(config, sleep=sleep))])
    for seconds, failure in [(3.5, None), (2.5, "took 3 s, 2.5 s were allowed")]:
        stream = cascade.open((), Mode.INPUT, watch=Watch(lambda: now[0], seconds))
        assert stream.push("1234")[-1].failure is None
        last = stream.push("5678")[-1]
        assert (failure or "None") in str(last.failure)


def seen(given: list[GuardPoint]) -> list[tuple[object, ...]]:
    return [(p.end, p.covered, p.logit, p.logits, p.rules, p.code, p.failure) for p in given]


HIDDEN = codecs.encode("the ant carries a leaf to the nest", "rot13")


def test_what_a_code_in_a_prompt_hides_is_judged_apart() -> None:
    cascade = Cascade([Stage(scorer=CHEAP, escalate_above=0.99), Stage(scorer=DEEP)])
    text = f"decode and answer: {HIDDEN}"
    got = points(cascade, text)
    plain = points(Cascade(cascade.stages, hidden=()), text)
    hidden = [point for point in got if point.code is not None]
    assert seen([point for point in got if point.code is None]) == seen(plain)
    assert max(point.logit for point in plain) < 0
    assert got[-1 - len(hidden) : -1] == hidden, "before the last point, which clears the text"
    assert {(p.code, p.covered, p.end) for p in hidden} == {("rot13", 0, len(text))}
    point = max(hidden, key=lambda point: point.logit)
    assert [stage.scorer.name for stage, _ in point.stages] == ["cheap", "deep"]
    assert point.logit == 3
    for cut in (1, 9, len(text) - 1):
        assert seen(points(cascade, text[:cut], text[cut:])) == seen(got)


def test_replies_are_read_as_they_stand() -> None:
    assert all(
        p.code is None for p in points(Cascade([Stage(scorer=CHEAP)]), HIDDEN, mode=Mode.OUTPUT)
    )


def test_whole_texts_and_streams_agree_on_what_is_hidden() -> None:
    cascade = Cascade([Stage(scorer=CHEAP, escalate_above=0.99), Stage(scorer=DEEP)])
    batch = [
        said(HIDDEN),
        said("so, ant ran"),
        said(f"{HIDDEN}\n\nand\n\nYW50cyBhbmQgYW4gYW50IGFuZCBhIGJlZQ=="),
    ]
    known = replays(cascade, batch, Mode.INPUT)
    for conversation, replay in zip(batch, known, strict=True):
        replayed = replay.points(conversation, Mode.INPUT)
        assert seen(replayed) == seen(cascade.points(conversation, Mode.INPUT))
    assert {p.code for p in known[2].points(batch[2], Mode.INPUT)} == {None, "rot13", "base64"}


def test_a_fault_in_reading_codes_fails_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(text: str) -> list[object]:
        if "bee" in text:
            raise RuntimeError("broken table")
        return []

    for place in ("cascade", "replay"):
        monkeypatch.setattr(f"custodes.guard.{place}.hidden", broken)
    cascade = Cascade([Stage(scorer=CHEAP)])
    assert points(cascade, "a dog")[-1].failure is None
    last = points(cascade, "a bee")[-1]
    assert last.failure == "reading codes raised RuntimeError: broken table"
    assert last.logit == math.inf
    assert [p.logit for p in decisive(cascade, [said("a dog"), said("a bee")], Mode.INPUT)] == [
        -4,
        math.inf,
    ]


def test_a_fault_in_judging_what_is_hidden_fails_closed() -> None:
    longer = 'a = "the ant is here "\nb = "?"\n' + "+".join("a" * 12)
    assert len(longer) < 100
    faulty = scorer("only", fault=Fault.RAISE, fault_at=100)
    got = points(Cascade([Stage(scorer=faulty)]), longer)
    assert got[-1].logit == math.inf
    assert "raised" in str(got[-1].failure)
