"""A guard with a probe on the guarded model: stages by mode, replies that are judged by the passes
that write them, and every way in which that can fail, closed."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from custodes.classifiers import Head, TokenScorer, Windows
from custodes.classifiers.features.guarded import GuardedConfig, GuardedFeatures
from custodes.classifiers.scripted import Pattern, ScriptedConfig, ScriptedScorer
from custodes.errors import ConfigError, DataError
from custodes.guard import Cascade, Edition, Guard, Policy, Stage, load_guard, watched_reply
from custodes.guard.build import GuardConfig, GuardStage, build_guard
from custodes.guard.calibration import CalibrationConfig, calibrate_guard
from custodes.models import Sampling
from custodes.redteam.targets.guarded import GuardedTarget
from custodes.types import Action, Example, Message, Mode

ASKED = (Message("user", "say the fox"),)
SAMPLING = Sampling(max_tokens=24, temperature=1.0, seed=4)
CLEAN, HARMFUL = -30.0, 30.0


def probe_of(folder, bias, *, weight=0.0, window=4, **changes):
    """A probe that says the same of every token, plus a random part."""
    backend = {"model": "transformers", "settings": {"model": str(folder), "threads": 1}}
    config = GuardedConfig.parse(
        {**backend, "layers": (1, 2, 3, 4), "stride": 2, "prompt_tokens": 2, **changes}
    )
    features = GuardedFeatures(config)
    first = weight * np.random.default_rng(0).standard_normal((128, 2)).astype(np.float32)
    return TokenScorer(
        name="probe",
        version="1",
        rules=("cake",),
        features=features,
        head=Head(first, np.array([bias, 0.0], np.float32)),
        windows=Windows(exchange=window, output=window),
    )


def text_stage(**values):
    pattern = Pattern(regex="fox", logit=-2, rule="cake")
    config = ScriptedConfig(
        **{"name": "words", "rules": ("cake",), "patterns": (pattern,), **values}
    )
    return ScriptedScorer(config)


def guard_of(*scorers, policy=None, above=None):
    stages = [Stage(scorer=each) for each in scorers]
    if above is not None:
        stages[0] = dataclasses.replace(stages[0], escalate_above=above)
    return Guard(
        Cascade(stages),
        policy or Policy(),
        edition=Edition(id="bakery", version="1"),
        artifact="a",
        clock=time.monotonic,
    )


@pytest.fixture(scope="module")
def model(talking_llama):
    return probe_of(talking_llama, CLEAN).features.model


def said(guard, model, conversation=ASKED, sampling=SAMPLING):
    decisions = list(watched_reply(guard, model, conversation, sampling))
    return "".join(d.release for d in decisions), decisions[-1]


def test_a_clean_reply_leaves_whole(talking_llama, model):
    whole = "".join(model.stream(ASKED, SAMPLING))
    for scorers in (
        [probe_of(talking_llama, CLEAN)],
        [text_stage(), probe_of(talking_llama, CLEAN)],
        [probe_of(talking_llama, CLEAN), text_stage()],
    ):
        text, last = said(guard_of(*scorers), model)
        assert text == whole
        assert last.action is Action.RELEASE
        assert last.verdict.mode is Mode.EXCHANGE
        assert "probe" in last.logits


def test_a_harmful_reply_is_stopped_before_its_first_character(talking_llama, model):
    text, last = said(guard_of(probe_of(talking_llama, HARMFUL, prompt_tokens=4)), model)
    assert (text, last.action, last.stop_at) == ("", Action.STOP, 0)
    assert last.verdict.stage == "probe"
    # the model is not asked for more
    decisions = list(
        watched_reply(guard_of(probe_of(talking_llama, HARMFUL)), model, ASKED, SAMPLING)
    )
    assert len(decisions) < 8


def test_the_verdict_is_that_on_the_finished_reply(talking_llama, model):
    whole = "".join(model.stream(ASKED, SAMPLING))
    found = set()
    for seed in range(4):
        sampling = SAMPLING.model_copy(update={"seed": seed})
        whole = "".join(model.stream(ASKED, sampling))
        for bias in (-3.0, 4.0, 12.0):
            guard = guard_of(text_stage(), probe_of(talking_llama, bias, weight=0.02))
            _, last = said(guard, model, sampling=sampling)
            verdict = guard.judge((*ASKED, Message("assistant", whole)))
            assert verdict.action is last.verdict.action
            if last.action is Action.RELEASE:
                assert last.verdict.score == pytest.approx(verdict.score, abs=1e-3)
            found.add(last.action)
    assert found == {Action.STOP, Action.RELEASE}


def test_a_reply_that_was_begun_is_judged_with_its_beginning(talking_llama, model):
    asked = (*ASKED, Message("assistant", "the quick"))
    text, last = said(guard_of(probe_of(talking_llama, CLEAN)), model, asked)
    assert text == "the quick" + "".join(model.stream(asked, SAMPLING))
    assert (last.action, last.verdict.failure) == (Action.RELEASE, None)
    _, last = said(guard_of(probe_of(talking_llama, CLEAN)), model, (Message("system", "fox"),))
    assert last.verdict.mode is Mode.OUTPUT


def test_a_beginning_that_is_stopped_runs_no_model(talking_llama, model, monkeypatch):
    def never(*given, **settings):
        raise AssertionError("the model was run")

    monkeypatch.setattr(type(model), "watch", never)
    words = text_stage(patterns=(Pattern(regex="brown", logit=9, rule="cake"),))
    guard = guard_of(words, probe_of(talking_llama, CLEAN), above=99.0)
    asked = (*ASKED, Message("assistant", "the quick brown fox"))
    (stop,) = watched_reply(guard, model, asked, SAMPLING)
    assert stop.action is Action.STOP and stop.verdict.stage == "words"


def test_a_probe_may_be_called_in_by_the_stage_before(talking_llama, model):
    probe = probe_of(talking_llama, CLEAN)
    _, calm = said(guard_of(text_stage(), probe, above=99.0), model)
    assert set(calm.logits) == {"words"}
    _, called = said(guard_of(text_stage(), probe, above=-99.0), model)
    assert set(called.logits) == {"words", "probe"}


def test_prompts_are_judged_by_the_other_stages(talking_llama):
    guard = guard_of(text_stage(), probe_of(talking_llama, HARMFUL), above=-99.0)
    session = guard.open((), Mode.INPUT)
    session.feed("a fox")
    assert set(session.finish().logits) == {"words"}
    verdicts = guard.judge_many([(Message("user", "a fox"),), (*ASKED, Message("assistant", "a"))])
    assert [v.action for v in verdicts] == [Action.RELEASE, Action.STOP]
    alone = guard_of(probe_of(talking_llama, CLEAN))
    with pytest.raises(ConfigError, match="no stage of this guard judges input"):
        alone.open((), Mode.INPUT)
    with pytest.raises(ConfigError, match="no stage of this guard judges input"):
        alone.judge((Message("user", "a fox"),))


def test_a_record_that_stays_empty_stops_the_reply(talking_llama):
    guard = guard_of(text_stage(), probe_of(talking_llama, CLEAN))
    session = guard.listening(guard.guarded.record()).open(ASKED, Mode.EXCHANGE)
    decision = session.feed("the fox")
    assert decision.action is Action.STOP
    assert decision.release == ""
    assert "not what the watched model wrote" in decision.verdict.failure


def test_wrong_guards_and_models_say_so(talking_llama, model):
    with pytest.raises(ConfigError, match="has no stage with features `guarded`"):
        said(guard_of(text_stage()), model)
    with pytest.raises(ConfigError, match="was trained on 0123"):
        said(guard_of(probe_of(talking_llama, CLEAN, identity="0123")), model)
    second = dataclasses.replace(probe_of(talking_llama, CLEAN), name="second")
    with pytest.raises(ConfigError, match="got 2, expected at most one"):
        said(guard_of(probe_of(talking_llama, CLEAN), second), model)


def examples(count, constitution):
    rule = constitution.restricted[0].id
    rows = []
    for i in range(count):
        label = i % 2
        act = "the lazy dog" if label else "the quick fox"
        reply = Message("assistant", f"{act} {act} {'over ' * (i % 5)}")
        messages = (Message("user", f"say {i}"), reply)
        rows.append(
            Example(
                id=str(i),
                source="s",
                kind="k",
                messages=messages,
                label=label,
                request_label=label,
                rule=rule if label else None,
            )
        )
    return rows


def test_a_guard_with_a_probe_is_built_calibrated_and_loaded(talking_llama, tmp_path, model):
    from custodes.constitution import read

    constitution = read("default")
    rows = examples(80, constitution)
    settings = {"model": "transformers", "settings": {"model": str(talking_llama), "threads": 1}}
    windows = Windows(input=4, output=4, exchange=4)
    stages = (
        GuardStage(
            name="probe",
            features="guarded",
            settings=settings,
            modes=(Mode.EXCHANGE,),
            windows=windows,
            epochs=20,
            learning_rate=0.02,
            weight=4.0,
        ),
        GuardStage(name="hashed", features="hashed", windows=windows, learning_rate=0.02),
    )
    config = GuardConfig(stages=stages)
    build_guard(rows, constitution, config, folder=tmp_path / "guard", card="a card")
    report = calibrate_guard(
        tmp_path / "guard",
        rows,
        CalibrationConfig(budget=0.2, escalate={"probe": 0.5}),
        folder=tmp_path / "ready",
        cache=tmp_path / "cache",
    )
    assert Mode.EXCHANGE in report.thresholds
    guard = load_guard(tmp_path / "ready")
    assert guard.guarded.config.identity == model.identity
    verdicts = guard.judge_many([row.messages for row in rows])
    stopped = [v.action is Action.STOP for v in verdicts]
    assert np.mean([s == bool(row.label) for s, row in zip(stopped, rows, strict=True)]) > 0.85
    _, last = said(guard, model)
    assert last.verdict.failure is None
    # the probe says nothing of prompts
    prompts = [dataclasses.replace(row, messages=row.messages[:1]) for row in rows]
    with pytest.raises(DataError, match="no benign rows of a mode that stage probe judges"):
        calibrate_guard(
            tmp_path / "guard",
            prompts,
            CalibrationConfig(budget=0.2, escalate={"probe": 0.5}),
            folder=tmp_path / "never",
        )
    assert guard.judge(prompts[0].messages).mode is Mode.INPUT
    strange = GuardedTarget.Config(guard=str(tmp_path / "ready"), model={"kind": "scripted"})
    with pytest.raises(ConfigError, match="the target's model, whose passes cannot be looked at"):
        GuardedTarget(strange)
