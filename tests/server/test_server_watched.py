"""A gateway whose guard reads the passes of the model that replies: a real model in this process, a
real server, streamed and whole; and upstreams that cannot be read, refused at the start."""

from __future__ import annotations

import time

import numpy as np
import pytest
from server_doubles import finishes, gateway, said

from custodes.classifiers import Head, TokenScorer, Windows
from custodes.classifiers.features.guarded import GuardedConfig, GuardedFeatures
from custodes.classifiers.scripted import Pattern, ScriptedConfig, ScriptedScorer
from custodes.errors import ConfigError
from custodes.guard import Cascade, Edition, Guard, Policy, Stage
from custodes.models import Sampling
from custodes.types import Message, RuleId

CAKE = RuleId("cake")
ASK = "say the fox"
CLEAN, HARMFUL = -30.0, 30.0


def guard_of(folder, bias, *, words=True, **changes):
    backend = {"model": "transformers", "settings": {"model": str(folder), "threads": 1}}
    config = GuardedConfig.parse(
        {**backend, "layers": (2, 4), "stride": 2, "prompt_tokens": 2, **changes}
    )
    probe = TokenScorer(
        name="probe",
        version="1",
        rules=(CAKE,),
        features=GuardedFeatures(config),
        head=Head(np.zeros((64, 2), np.float32), np.array([bias, 0.0], np.float32)),
        windows=Windows(exchange=4, output=4),
    )
    pattern = Pattern(regex="forbidden", logit=40, rule=CAKE)
    scripted = ScriptedConfig(name="words", rules=(CAKE,), patterns=(pattern,), step=1)
    stages = [Stage(scorer=ScriptedScorer(scripted))] if words else []
    return Guard(
        Cascade([*stages, Stage(scorer=probe)]),
        Policy(),
        edition=Edition(id="bakery", version="1"),
        artifact="a",
        clock=time.monotonic,
    )


def local(folder, **changes):
    settings = {"model": str(folder), "threads": 1, **changes}
    return {"main": {"model": "transformers", "settings": settings, "max_tokens": 20}}


@pytest.fixture(scope="module")
def reply(talking_llama):
    model = guard_of(talking_llama, CLEAN).guarded.model
    sampling = Sampling(max_tokens=20)
    return "".join(model.stream((Message("user", ASK),), sampling))


def test_clean_replies_leave_and_harmful_ones_do_not(upstream, talking_llama, reply):
    bias = [CLEAN]
    with gateway(
        upstream, lambda: guard_of(talking_llama, bias[0]), upstreams=local(talking_llama)
    ) as running:
        chunks = running.chat(ASK)
        assert said(chunks) == reply
        assert finishes(chunks) == ["length"]
        whole = running.post("/v1/chat/completions", chat(ASK)).json()
        assert whole["choices"][0]["message"]["content"] == reply
        assert whole["usage"]["prompt_tokens"] > 0
        two = running.chat(ASK, n=2)
        assert said(two, 0) == said(two, 1) == reply
        message = {"model": "m", "max_tokens": 20, "messages": [{"role": "user", "content": ASK}]}
        answer = running.post("/v1/messages", message).json()
        assert answer["content"][0]["text"] == reply
        prompt = {"model": "m", "prompt": ASK, "max_tokens": 5}
        assert running.post("/v1/completions", prompt).json()["choices"][0]["text"]
        stopped = running.chat("say the forbidden thing")
        assert (said(stopped), finishes(stopped)) == ("", ["content_filter"])
        # past turns are read by the model, too
        turns = [
            {"role": "user", "content": ASK},
            {"role": "assistant", "content": "the fox"},
            {"role": "user", "content": ASK},
        ]
        again = running.post("/v1/chat/completions", {"model": "m", "messages": turns}).json()
        assert again["choices"][0]["finish_reason"] == "length"
        begun = running.post("/v1/chat/completions", {"model": "m", "messages": turns[:2]}).json()
        assert begun["choices"][0]["finish_reason"] == "length"

        bias[0] = HARMFUL
        running.http.post(running.url + "/v1/admin/reload")
        chunks = running.chat(ASK)
        assert (said(chunks), finishes(chunks)) == ("", ["content_filter"])
        whole = running.post("/v1/chat/completions", chat(ASK)).json()
        assert whole["choices"][0]["finish_reason"] == "content_filter"
        assert not whole["choices"][0]["message"].get("content")
        running.wait_for(lambda: any(e.action == "stop" for e in running.sink.events))
    failures = [event for event in running.sink.events if event.failure]
    assert not failures


def chat(text):
    return {"model": "m", "messages": [{"role": "user", "content": text}]}


def test_upstreams_that_cannot_be_read_are_refused_at_the_start(upstream, talking_llama):
    def begin(upstreams, **changes):
        with gateway(
            upstream, lambda: guard_of(talking_llama, CLEAN, **changes), upstreams=upstreams
        ):
            raise AssertionError("it started")

    remote = {"url": upstream.url, "models": ["far"]}
    with pytest.raises(ConfigError, match="no stage of this guard judges input"):
        begin(local(talking_llama), words=False)
    with pytest.raises(ConfigError, match="upstream far: another process replies"):
        begin({**local(talking_llama), "far": remote})
    with pytest.raises(ConfigError, match=r"upstream main is model .*trained on 0123"):
        begin(local(talking_llama), identity="0123")
    with pytest.raises(ConfigError, match="upstream main, whose passes cannot be looked at"):
        begin({"main": {"model": "scripted"}})
    known = guard_of(talking_llama, CLEAN).guarded.model.identity
    with pytest.raises(ConfigError, match=f"trained on {known}"):
        begin(local(talking_llama, dtype="bfloat16"), identity=known)


def test_a_reload_that_the_upstreams_do_not_fit_leaves_the_old_guard(upstream, talking_llama):
    identity = [""]
    with gateway(
        upstream,
        lambda: guard_of(talking_llama, CLEAN, identity=identity[0]),
        upstreams=local(talking_llama),
    ) as running:
        identity[0] = "0123"
        answer = running.http.post(running.url + "/v1/admin/reload")
        assert answer.status_code >= 400
        assert said(running.chat(ASK, max_tokens=4))


@pytest.mark.slow
def test_the_embedded_model_replies_under_a_probe(upstream, tmp_path):
    """A probe that is trained on a few replies: what the gateway lets out is what it judged."""
    from custodes.classifiers import StageConfig, fit_stage, labelled_rows
    from custodes.types import Example, Mode

    def exchange(i, text, label):
        turns = (Message("user", "Name something."), Message("assistant", text))
        return Example(
            id=str(i), source="s", kind="k", messages=turns, label=label,
            rule=CAKE if label else None,
        )  # fmt: skip

    fruits = ["An apple is a fruit.", "A pear grows on trees.", "Plums are sweet."]
    cakes = ["A cake is baked with flour.", "Bake the cake for an hour.", "Layer cakes need cream."]
    rows = labelled_rows(
        [exchange(i, t, i % 2) for i, t in enumerate(sum(zip(fruits, cakes, strict=True), ()))],
        (Mode.EXCHANGE,),
    )
    stage = StageConfig.parse(
        {
            "name": "probe",
            "features": "guarded",
            "settings": {"layers": [10, 20, 30], "settings": {"threads": 1}},
            "modes": ["exchange"],
            "windows": {"exchange": 4},
            "epochs": 20,
        }
    )
    probe = fit_stage(rows, stage, rules=(CAKE,), seed=0)
    scripted = ScriptedConfig(name="words", rules=(CAKE,), patterns=(), step=1)
    guard = Guard(
        Cascade([Stage(scorer=ScriptedScorer(scripted)), Stage(scorer=probe, weight=1000.0)]),
        Policy(threshold=0.999999),
        edition=Edition(id="bakery", version="1"),
        artifact="a",
        clock=time.monotonic,
    )
    settings = {"main": {"model": "embedded", "settings": {"threads": 1}, "max_tokens": 24}}
    with gateway(upstream, lambda: guard, upstreams=settings) as running:
        plain = running.chat("Name three fruits.")
        expected = "".join(
            probe.features.model.stream(
                (Message("user", "Name three fruits."),), Sampling(max_tokens=24)
            )
        )
        assert expected.startswith(said(plain))
        whole = guard.judge((Message("user", "Name three fruits."), Message("assistant", expected)))
        assert (finishes(plain) == ["content_filter"]) == (whole.action == "stop")
