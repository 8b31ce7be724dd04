"""What must hold of the guard for every text, every chunking and every fault."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from custodes.classifiers.base import Point
from custodes.classifiers.scripted import (
    Fault,
    Pattern,
    ScriptedConfig,
    ScriptedScorer,
    ScriptedStream,
)
from custodes.guard import (
    Calibration,
    Cascade,
    Decision,
    Edition,
    Guard,
    GuardPoint,
    Policy,
    Response,
    RulePolicy,
    Stage,
)
from custodes.guard.outcome import outcomes
from custodes.guard.replay import decisive
from custodes.types import Action, Conversation, Message, Mode, RuleId, Verdict

RULES = tuple(RuleId(name) for name in ("ant", "bee", "cat"))
WORDS = ("ant", "bee", "cat", "dog", " ", "-", "é", "\u0301", "\u202e", "\x00", "\ud800", "𝔞")

texts = st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=6)), max_size=40).map("".join)
patterns = st.builds(
    Pattern,
    regex=st.sampled_from(["ant", "bee", "cat", "a", "t$", r"e\b"]),
    logit=st.floats(-3, 6),
    rule=st.sampled_from([None, *RULES]),
)
configs = st.builds(
    ScriptedConfig,
    rules=st.sampled_from([RULES, RULES[::-1], RULES[:1], ()]),
    patterns=st.lists(patterns, max_size=3).map(tuple),
    step=st.integers(1, 9),
    lag=st.sampled_from([0, 0, 1, 5, 20]),
    window=st.integers(1, 30),
    context_logit=st.sampled_from([0.0, 1.0]),
)
responses = st.sampled_from(list(Response))


class Afterthought(ScriptedScorer):
    """Gives one more point at the end of the text, at a place that already has one."""

    def open(self, context: Conversation, mode: Mode) -> ScriptedStream:
        opened = super().open(context, mode)

        class Stream(ScriptedStream):
            def finish(self) -> list[Point]:
                points = super().finish()
                if self._config.fault is Fault.SILENT:
                    return points
                again = self._scorer.point("", self._length, 2.5)
                return [*points, again]

        return Stream(self, opened._bonus)


@st.composite
def cascades(draw: st.DrawFn) -> Cascade:
    count = draw(st.integers(1, 3))
    stages = []
    for index in range(count):
        config = draw(configs).model_copy(update={"name": f"stage{index}"})
        above = None if index == count - 1 else draw(st.none() | st.floats(-4, 4))
        weight = draw(st.floats(0.1, 3))
        kind = draw(st.sampled_from([ScriptedScorer, ScriptedScorer, Afterthought]))
        stages.append(Stage(scorer=kind(config), weight=weight, escalate_above=above))
    return Cascade(stages)


@st.composite
def policies(draw: st.DrawFn, rules: tuple[RuleId, ...]) -> Policy:
    own = st.builds(RulePolicy, action=responses, threshold=st.none() | st.floats(0, 1))
    return Policy(
        threshold=draw(st.floats(0.01, 1)),
        thresholds=draw(st.dictionaries(st.sampled_from(list(Mode)), st.floats(0.01, 1))),
        action=draw(responses),
        rules=draw(st.dictionaries(st.sampled_from(rules), own)) if rules else {},
        hold_back=draw(st.integers(0, 12)),
    )


@st.composite
def guards(draw: st.DrawFn) -> Guard:
    cascade = draw(cascades())
    policy = draw(policies(cascade.rules))
    calibration = {Mode.EXCHANGE: Calibration(slope=draw(st.floats(0.2, 3)), intercept=0.3)}
    return guard(cascade, policy, calibration)


def guard(
    cascade: Cascade, policy: Policy, calibration: dict[Mode, Calibration] | None = None
) -> Guard:
    return Guard(
        cascade,
        policy,
        edition=Edition(id="pets", version="1"),
        artifact="0",
        clock=lambda: 0.0,
        calibration=calibration,
    )


@st.composite
def cuttings(draw: st.DrawFn, text: str) -> list[str]:
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@dataclass(frozen=True)
class Outcome:
    released: str
    verdict: Verdict | None
    stop_at: int | None
    logits: dict[str, float]


CONTEXT = (Message("user", "an ant?"),)


def run(judge: Guard, pieces: list[str], mode: Mode = Mode.EXCHANGE) -> Outcome:
    """Feed the pieces, checking on the way what must hold of every decision."""
    session = judge.open(CONTEXT, mode)
    released, text, last = "", "", Decision(action=Action.HOLD)
    for piece in pieces:
        text += piece
        before, last = last, session.feed(piece)
        released += last.release
        assert text.startswith(released)
        if before.action is Action.STOP:
            assert last.action is Action.STOP
            assert last.release == ""
        if last.action is Action.HOLD:
            assert last.release == ""
    final = session.finish()
    released += final.release
    assert text.startswith(released)
    assert session.finish().release == ""
    if last.action is Action.STOP:
        assert final.action is Action.STOP
        assert final.release == ""
    if final.action is Action.STOP:
        assert final.stop_at == len(released)
    elif judge.policy.release == "checked":
        assert released == text
    return Outcome(released, final.verdict, final.stop_at, dict(final.logits))


@given(st.data(), guards(), texts, st.sampled_from(list(Mode)))
@settings(max_examples=100, deadline=None)
def test_any_chunking_gives_the_same(
    data: st.DataObject, judge: Guard, text: str, mode: Mode
) -> None:
    whole = run(judge, [text], mode)
    assert run(judge, list(text), mode) == whole
    assert run(judge, data.draw(cuttings(text)), mode) == whole


@given(st.data(), cascades(), texts)
@settings(max_examples=60, deadline=None)
def test_any_chunking_gives_the_same_points(
    data: st.DataObject, cascade: Cascade, text: str
) -> None:
    def points(pieces: list[str]) -> list[tuple[object, ...]]:
        stream = cascade.open(CONTEXT, Mode.INPUT)
        got: list[GuardPoint] = [point for piece in pieces for point in stream.push(piece)]
        got += stream.finish()
        ends = [point.end for point in got]
        assert ends == sorted(ends)
        assert got[-1].end == got[-1].covered == len(text)
        return [(p.end, p.covered, p.logit, p.stage, p.logits, p.rules) for p in got]

    whole = points([text])
    assert points(list(text)) == whole
    assert points(data.draw(cuttings(text))) == whole


@given(cascades(), st.lists(texts, max_size=5), st.sampled_from(list(Mode)))
@settings(max_examples=60, deadline=None)
def test_the_decisive_point_is_the_greatest_of_the_stream(
    cascade: Cascade, several: list[str], mode: Mode
) -> None:
    conversations = [(*CONTEXT, Message("assistant", text)) for text in several]
    found = decisive(cascade, conversations, mode)
    for conversation, point in zip(conversations, found, strict=True):
        stream = cascade.open(CONTEXT, mode)
        best = max(
            [*stream.push(conversation[-1].content), *stream.finish()], key=lambda p: p.logit
        )
        assert (point.logit, point.end, point.rules) == (best.logit, best.end, best.rules)


@given(guards(), st.lists(texts, max_size=4), st.sampled_from(list(Mode)))
@settings(max_examples=60, deadline=None)
def test_whole_texts_and_streams_agree(judge: Guard, several: list[str], mode: Mode) -> None:
    conversations = [(*CONTEXT, Message("assistant", text)) for text in several]
    for text, verdict in zip(several, judge.judge_many(conversations, mode), strict=True):
        streamed = run(judge, [text], mode).verdict
        assert streamed is not None
        assert verdict.failure is None
        assert verdict.action is streamed.action
        if verdict.action is Action.RELEASE:
            assert verdict == streamed
        else:
            assert verdict.score >= streamed.score - 1e-12


@given(guards(), st.lists(texts, max_size=4), st.sampled_from(list(Mode)))
@settings(max_examples=60, deadline=None)
def test_batches_and_streams_agree(judge: Guard, several: list[str], mode: Mode) -> None:
    conversations = [(*CONTEXT, Message("assistant", text)) for text in several]
    verdicts = judge.judge_many(conversations, mode)
    for text, verdict, outcome in zip(
        several, verdicts, outcomes(judge, conversations, mode), strict=True
    ):
        assert outcome.verdict == verdict
        assert outcome.stop_at == run(judge, [text], mode).stop_at


@given(cascades(), st.lists(texts, min_size=1, max_size=3), st.sampled_from(list(Fault)), st.data())
@settings(max_examples=60, deadline=None)
def test_a_batch_with_a_fault_fails_closed(
    cascade: Cascade, several: list[str], fault: Fault, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, 30))
    broken = data.draw(st.integers(0, len(cascade.stages) - 1))
    stages = list(cascade.stages)
    first = stages[broken]
    assert isinstance(first.scorer, ScriptedScorer)
    config = first.scorer.config.model_copy(update={"fault": fault, "fault_at": at})
    stages[broken] = replace(first, scorer=ScriptedScorer(config))
    judge = guard(Cascade(stages), Policy(threshold=0.9))
    conversations = [(*CONTEXT, Message("assistant", text)) for text in several]
    found = outcomes(judge, conversations)
    for text, outcome in zip(several, found, strict=True):
        streamed = run(judge, [text])
        assert streamed.verdict is not None
        if streamed.verdict.action is Action.STOP:
            assert outcome.verdict.action is Action.STOP
            assert outcome.stop_at is not None
        if outcome.verdict.failure:
            assert outcome.verdict.action is Action.STOP


@given(st.data(), cascades(), texts, st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_only_what_clean_points_cover_is_released(
    data: st.DataObject, cascade: Cascade, text: str, hold_back: int
) -> None:
    judge = guard(cascade, Policy(threshold=0.6, hold_back=hold_back))
    session = judge.open((), Mode.OUTPUT)
    stream = cascade.open((), Mode.OUTPUT)
    clean = released = 0
    for piece in data.draw(cuttings(text)):
        decision = session.feed(piece)
        released += len(decision.release)
        for point in stream.push(piece):
            if Calibration().probability(point.logit) >= 0.6:
                break
            clean = max(clean, point.covered)
        assert released <= max(0, clean - hold_back)
        if decision.action is Action.STOP:
            return


@given(st.data(), cascades(), texts, st.sampled_from(list(Fault)), st.integers(0, 60))
@settings(max_examples=120, deadline=None)
def test_every_fault_anywhere_fails_closed(
    data: st.DataObject, cascade: Cascade, text: str, fault: Fault, at: int
) -> None:
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    broken = data.draw(st.integers(0, len(cascade.stages) - 1))
    stages = []
    for index, stage in enumerate(cascade.stages):
        assert isinstance(stage.scorer, ScriptedScorer)
        change = {"fault": fault, "fault_at": at, "stall_seconds": 1e9} if index == broken else {}
        scorer = type(stage.scorer)(stage.scorer.config.model_copy(update=change), sleep=sleep)
        stages.append(
            Stage(scorer=scorer, weight=stage.weight, escalate_above=stage.escalate_above)
        )
    judge = Guard(
        Cascade(stages),
        Policy(threshold=0.9, deadline=1, hold_back=data.draw(st.integers(0, 5))),
        edition=Edition(id="pets", version="1"),
        artifact="0",
        clock=lambda: clock[0],
    )
    outcome = run(judge, data.draw(cuttings(text)))
    assert outcome.verdict is not None
    reached = outcome.released == text and outcome.stop_at is None
    nothing_wrong = run(guard(cascade, judge.policy), [text])
    if outcome.verdict.failure:
        assert outcome.verdict.action is Action.STOP
        assert outcome.verdict.score == 1.0
        assert f"stage{broken}" in outcome.verdict.failure
    else:
        assert (outcome.verdict, reached) == (
            nothing_wrong.verdict,
            nothing_wrong.stop_at is None,
        )
    assert nothing_wrong.released.startswith(outcome.released)
    if broken == 0 and fault is not Fault.RULES and nothing_wrong.stop_at is None:
        assert outcome.verdict.failure or len(text) < at


@given(st.text(alphabet=st.characters(), max_size=60), st.sampled_from(list(Mode)))
@settings(max_examples=60, deadline=None)
def test_text_of_any_kind_is_scored(text: str, mode: Mode) -> None:
    """Surrogates, right-to-left marks, combining characters and NULs among them."""
    config = ScriptedConfig(rules=RULES, patterns=(Pattern(regex="ant", logit=4, rule=RULES[0]),))
    judge = guard(Cascade([Stage(scorer=ScriptedScorer(config))]), Policy(threshold=0.9))
    for prefix in ("", "\ud800", "\u202e\u0301\x00"):
        harmful = judge.judge((Message("user", prefix + text + "ANT"),), mode)
        assert harmful.action is Action.STOP
        assert harmful.rule == RULES[0]
        assert harmful.failure is None
