from __future__ import annotations

import codecs
from collections.abc import Sequence

import pytest

from custodes.classifiers.scripted import Fault, Pattern, ScriptedConfig, ScriptedScorer
from custodes.errors import ConfigError, DataError, InputError
from custodes.guard import (
    Calibration,
    Cascade,
    Decision,
    Edition,
    Guard,
    Policy,
    Response,
    RulePolicy,
    Session,
    Stage,
    mode_of,
)
from custodes.types import Action, Conversation, Message, Mode, Role, RuleId

ANT, BEE = RuleId("ant"), RuleId("bee")
TABLE = (Pattern(regex="ant", logit=2, rule=ANT), Pattern(regex="bee", logit=4, rule=BEE))


def guard(policy: Policy | None = None, **values: object) -> Guard:
    base: dict[str, object] = {"rules": (ANT, BEE), "patterns": TABLE, "step": 1, "window": 3}
    scorer = ScriptedScorer(ScriptedConfig.parse({**base, **values}))
    return Guard(
        Cascade([Stage(scorer=scorer)]),
        policy or Policy(),
        edition=Edition(id="pets", version="2"),
        artifact="abc",
        clock=lambda: 0.0,
    )


def session(policy: Policy | None = None, **values: object) -> Session:
    return guard(policy, **values).open((), Mode.OUTPUT)


def said(*turns: tuple[Role, str]) -> Conversation:
    return tuple(Message(role, content) for role, content in turns)


def short(decisions: Sequence[Decision]) -> list[tuple[str, str]]:
    return [(each.action.value, each.release) for each in decisions]


def test_clean_text_leaves_at_once_and_ends_with_a_verdict() -> None:
    running = session()
    decisions = [running.feed("a dog "), running.feed(""), running.feed("ran"), running.finish()]
    assert short(decisions) == [
        ("release", "a dog "),
        ("hold", ""),
        ("release", "ran"),
        ("release", ""),
    ]
    assert [each.verdict is None for each in decisions] == [True, True, True, False]
    verdict = decisions[-1].verdict
    assert verdict is not None
    assert verdict.action is Action.RELEASE
    assert verdict.rule is None and verdict.failure is None and verdict.flags == ()
    assert verdict.score == pytest.approx(0.018, abs=1e-3)
    assert (verdict.constitution, verdict.artifact, verdict.mode) == ("pets@2", "abc", Mode.OUTPUT)


def test_harm_stops_the_text_where_the_last_clean_point_was() -> None:
    running = session()
    assert running.feed("a b").release == "a b"
    stop = running.feed("ee flew")
    assert stop.action is Action.STOP
    assert (stop.release, stop.stop_at) == ("e", 4)
    assert stop.logits == {"scripted": 4}
    assert stop.verdict is not None
    assert (stop.verdict.rule, stop.verdict.stage, stop.verdict.span) == (BEE, "scripted", (0, 5))


def test_after_a_stop_every_call_says_stop_and_nothing_leaves() -> None:
    running = session()
    stop = running.feed("bee")
    for again in (running.feed("a dog"), running.finish(), running.fail("late")):
        assert again.action is Action.STOP
        assert again.release == ""
        assert (again.verdict, again.stop_at) == (stop.verdict, stop.stop_at)


def test_after_the_end_no_text_is_taken() -> None:
    running = session()
    running.feed("dog")
    end = running.finish()
    assert running.finish().verdict == end.verdict == running.fail("late").verdict
    assert running.finish().release == ""
    with pytest.raises(InputError, match="finished"):
        running.feed("more")


def test_held_back_text_leaves_at_the_end_or_never() -> None:
    running = session(Policy(hold_back=4))
    assert short([running.feed("a d"), running.feed("og ran"), running.finish()]) == [
        ("hold", ""),
        ("release", "a dog"),
        ("release", " ran"),
    ]
    running = session(Policy(hold_back=4))
    assert running.feed("a dog be").release == "a do"
    assert short([running.feed("e"), running.finish()]) == [("stop", ""), ("stop", "")]


def test_what_no_point_covers_is_held() -> None:
    running = session(step=4)
    assert short([running.feed("a d"), running.feed("og")]) == [("hold", ""), ("release", "a do")]
    assert running.finish().release == "g"


def test_immediate_release_is_cut_late() -> None:
    running = session(Policy(release="immediate"), step=4)
    assert short([running.feed("a"), running.feed(" bee"), running.finish()]) == [
        ("release", "a"),
        ("release", " bee"),
        ("stop", ""),
    ]
    running = session(Policy(release="immediate", hold_back=9))
    stop = running.feed("bee")
    assert (stop.action, stop.release, stop.stop_at) == (Action.STOP, "", 0)


def test_the_empty_text_is_judged() -> None:
    end = session().finish()
    assert end.verdict is not None
    assert (end.action, end.release, end.verdict.span) == (Action.RELEASE, "", (0, 0))


def test_flagged_and_logged_rules_pass_and_are_named() -> None:
    rules = {ANT: RulePolicy(action=Response.FLAG), BEE: RulePolicy(action=Response.LOG)}
    running = session(Policy(rules=rules))
    assert running.feed("bee ant ant").action is Action.RELEASE
    verdict = running.finish().verdict
    assert verdict is not None
    assert (verdict.rule, verdict.flags) == (ANT, (ANT,))
    running = session(Policy(rules=rules))
    running.feed("bee")
    verdict = running.finish().verdict
    assert verdict is not None
    assert (verdict.action, verdict.rule, verdict.flags) == (Action.RELEASE, BEE, ())


def test_flags_survive_a_stop() -> None:
    running = session(Policy(rules={ANT: RulePolicy(action=Response.FLAG)}))
    verdict = running.feed("ant bee").verdict
    assert verdict is not None
    assert (verdict.action, verdict.rule, verdict.flags) == (Action.STOP, BEE, (ANT,))


def test_a_flag_without_a_name_still_passes() -> None:
    running = session(Policy(action=Response.FLAG), rules=())
    assert running.feed("bee").action is Action.RELEASE


@pytest.mark.parametrize("fault", [Fault.RAISE, Fault.NAN, Fault.BEYOND])
def test_a_fault_stops_the_text(fault: Fault) -> None:
    running = session(fault=fault, fault_at=6)
    assert running.feed("a dog").release == "a dog"
    stop = running.feed(" ran")
    assert stop.verdict is not None
    assert (stop.action, stop.release, stop.stop_at) == (Action.STOP, "", 5)
    assert stop.verdict.score == 1.0
    assert "'scripted'" in str(stop.verdict.failure)


def test_a_fault_at_the_end_stops_the_text() -> None:
    running = session(fault=Fault.SILENT)
    assert running.feed("a dog").action is Action.HOLD
    assert short([running.finish()]) == [("stop", "")]


def test_a_failure_can_let_the_rest_through_unjudged() -> None:
    running = session(Policy(on_failure=Response.FLAG), fault=Fault.RAISE, fault_at=6)
    decisions = [running.feed("a dog"), running.feed(" b"), running.feed("ee"), running.finish()]
    assert short(decisions) == [
        ("release", "a dog"),
        ("release", " b"),
        ("release", "ee"),
        ("release", ""),
    ]
    assert decisions[1].verdict == decisions[3].verdict
    assert decisions[3].verdict is not None
    assert decisions[3].verdict.failure and decisions[3].verdict.score == 1.0
    silent = session(Policy(on_failure=Response.FLAG), fault=Fault.SILENT)
    silent.feed("a dog")
    assert short([silent.finish()]) == [("release", "a dog")]


def test_a_failure_outside_counts_as_one() -> None:
    running = session()
    running.feed("a dog")
    stop = running.fail("the worker died")
    assert stop.verdict is not None
    assert (stop.action, stop.stop_at, stop.verdict.failure) == (Action.STOP, 5, "the worker died")
    assert session().fail("died").logits == {}


def test_a_megabyte_passes_whole_in_one_piece_or_many() -> None:
    text = "a dog ran; " * 95_000
    for size in (len(text), 4096, 997):
        running = session(step=512)
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        released = [running.feed(piece).release for piece in pieces]
        assert "".join(released) + running.finish().release == text


@pytest.mark.parametrize(
    ("conversation", "mode"),
    [
        (said(("user", "a")), Mode.INPUT),
        (said(("user", "a"), ("assistant", "b")), Mode.EXCHANGE),
        (said(("user", "a"), ("assistant", "b"), ("tool", "c")), Mode.INPUT),
        (said(("system", "a"), ("assistant", "b")), Mode.OUTPUT),
        (said(("assistant", "b")), Mode.OUTPUT),
    ],
)
def test_the_mode_follows_from_who_speaks(conversation: Conversation, mode: Mode) -> None:
    assert mode_of(conversation) is mode
    assert guard().judge(conversation).mode is mode


def test_a_conversation_without_messages_is_refused() -> None:
    with pytest.raises(DataError, match="at least one"):
        guard().judge(())


def test_a_batch_keeps_its_order_over_modes() -> None:
    batch = [said(("user", "bee")), said(("user", "x"), ("assistant", "ant")), said(("user", "x"))]
    verdicts = guard(Policy(thresholds={Mode.INPUT: 0.95})).judge_many(batch)
    assert [each.action.value for each in verdicts] == ["stop", "stop", "release"]
    assert [each.rule for each in verdicts] == [BEE, ANT, None]
    assert guard().judge_many([]) == []
    forced = guard().judge_many(batch, Mode.OUTPUT)
    assert {each.mode for each in forced} == {Mode.OUTPUT}


def test_a_smaller_score_of_a_stricter_rule_is_not_overlooked() -> None:
    strict = Policy(threshold=0.99, rules={ANT: RulePolicy(threshold=0.5)})
    verdict = guard(strict).judge(said(("user", "an ant, a bee")))
    assert (verdict.action, verdict.rule) == (Action.STOP, ANT)
    assert guard(strict).judge(said(("user", "a bee"))).action is Action.RELEASE


def test_a_rule_that_only_logs_hides_no_rule_that_blocks_in_a_code() -> None:
    """The greatest logit of a hidden text may be of the milder rule."""
    plain = "the bee flies. the ant carries a leaf away, far away"
    logs = Policy(rules={BEE: RulePolicy(action=Response.LOG)})
    for text, code in [(plain, None), (codecs.encode(plain, "rot13"), "rot13")]:
        verdict = guard(logs).judge(said(("user", text)))
        assert (verdict.action, verdict.rule, verdict.code) == (Action.STOP, ANT, code)


def test_harm_before_a_fault_is_harm() -> None:
    flagging = {ANT: RulePolicy(action=Response.FLAG)}  # judged point by point, then
    lenient = Policy(on_failure=Response.FLAG, rules=flagging)
    verdict = guard(lenient, fault=Fault.RAISE, fault_at=9).judge(said(("user", "bee" + "." * 9)))
    assert verdict.failure is not None  # one call, nothing was learned before it failed
    verdict = guard(lenient, fault=Fault.NAN, fault_at=9).judge(said(("user", "bee" + "." * 9)))
    assert (verdict.action, verdict.rule, verdict.failure) == (Action.STOP, BEE, None)


def test_judging_a_whole_text_fails_closed() -> None:
    verdict = guard(fault=Fault.OPEN).judge(said(("user", "dog")))
    assert (verdict.action, verdict.score) == (Action.STOP, 1.0)
    assert verdict.failure


def test_calibration_belongs_to_a_mode() -> None:
    plain = guard()
    calibrated = Guard(
        plain.cascade,
        plain.policy,
        edition=plain.edition,
        artifact="",
        clock=plain.open,  # type: ignore[arg-type]  # never read: there is no deadline
        calibration={Mode.INPUT: Calibration(slope=1, intercept=4)},
    )
    assert calibrated.judge(said(("user", "dog"))).score == 0.5
    assert calibrated.judge(said(("assistant", "dog"))).score < 0.5


def test_a_deadline_is_kept_with_the_guards_clock() -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    config = ScriptedConfig(fault=Fault.STALL, stall_seconds=2)
    judge = Guard(
        Cascade([Stage(scorer=ScriptedScorer(config, sleep=sleep))]),
        Policy(deadline=1),
        edition=Edition(id="pets", version="2"),
        artifact="",
        clock=lambda: now[0],
    )
    stop = judge.open((), Mode.OUTPUT).feed("12345678")
    assert stop.verdict is not None
    assert "took 2 s" in str(stop.verdict.failure)


def test_a_policy_about_unknown_rules_is_refused() -> None:
    rules = {RuleId("wasp"): RulePolicy()}
    with pytest.raises(ConfigError, match="got wasp, expected some of ant, bee"):
        guard(Policy(rules=rules))
    with pytest.raises(ConfigError, match="no stage names rules"):
        guard(Policy(rules=rules), rules=())


def test_more_codes_than_can_be_read_are_no_failure_that_a_policy_may_let_through() -> None:
    grows = f'a = "{"x" * 400}"\nb = "?"\n' + "; ".join("a" + " + a" * n for n in range(1, 60))
    lenient = guard(Policy(on_failure=Response.FLAG))
    for verdict in (
        lenient.judge(said(("user", grows))),
        lenient.judge_pointwise(said(("user", grows)), Mode.INPUT),
    ):
        assert (verdict.action, verdict.score, verdict.failure) == (Action.STOP, 1.0, None)
        assert verdict.code == "more than can be read"
