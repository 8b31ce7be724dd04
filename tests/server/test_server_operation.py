"""Verdicts without a model, models, health, metrics, several upstreams, a model in process."""

import gzip
import json
import threading

import pytest
from server_doubles import CAKE, MARKER, gateway, make_guard, said

from custodes.classifiers.scripted import Fault
from custodes.server.scripted import Script
from custodes.types import RuleId


def ask(running, questions, text=MARKER):
    body = {"model": "custodes", "input": text, "questions": questions}
    response = running.post("/v1/decisions", body)
    assert response.status_code == 200, response.text
    return response.json()


def test_every_rule_is_a_predicate(running):
    questions = [
        {"type": "predicate", "name": "cake", "instructions": "Is it about cake?"},
        {"type": "predicate", "name": "q", "instructions": "pie"},
        {"type": "predicate", "instructions": "harmful"},
        {"type": "predicate", "name": "weather", "instructions": "Is it raining?"},
    ]
    reply = ask(running, questions)
    cake, pie, harmful, weather = reply["answers"]
    assert cake["name"] == "cake"
    assert cake["probability"] > 0.8 > 0.2 > pie["probability"]
    assert harmful == {"type": "predicate", "name": None, "probability": harmful["probability"]}
    assert harmful["probability"] > 0.95
    assert weather == {"type": "refusal", "name": "weather"}
    assert reply["usage"]["input_tokens"] == reply["usage"]["total_tokens"] == 4
    assert ask(running, questions, "hello")["answers"][0]["probability"] < 0.05


def test_a_choice_among_rules_gives_shares(running):
    choices = [{"value": "cake"}, {"value": "pie"}, {"value": "none"}]
    question = {"type": "choice", "name": "which", "instructions": "?", "choices": choices}
    (answer,) = ask(running, [question])["answers"]
    assert answer["choice"] == "cake"
    assert sum(each["probability"] for each in answer["probabilities"]) == pytest.approx(1)
    assert ask(running, [question], "hello")["answers"][0]["choice"] == "none"
    odd = {**question, "choices": [{"value": True}, {"value": "cake"}]}
    score = {"type": "score", "instructions": "how bad?", "levels": [{"label": "a"}]}
    answers = ask(running, [odd, score])["answers"]
    assert [answer["type"] for answer in answers] == ["refusal", "refusal"]


def test_a_conversation_can_be_asked_about(running):
    turns = [
        {"role": "user", "content": "what may I not bake?"},
        {"role": "assistant", "content": [{"type": "output_text", "text": MARKER}]},
    ]
    questions = [{"type": "predicate", "name": "cake", "instructions": "-"}]
    assert ask(running, questions, turns)["answers"][0]["probability"] > 0.8


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "questions"),
        ({"questions": [1]}, "questions[0]"),
        ({"questions": [{"type": "predicate"}]}, "instructions"),
        ({"questions": [{"type": "choice", "instructions": "a"}]}, "choices"),
        ({"questions": [{"type": "choice", "instructions": "a", "choices": [1]}]}, "questions[0]"),
        ({"questions": [{"type": "predicate", "instructions": "a", "name": 1}]}, "questions[0]"),
        ({"questions": [{"type": "predicate", "instructions": "a"}] * 2001}, "questions"),
        ({"questions": [{"type": "predicate", "instructions": "a"}]}, "input"),
        ({"questions": [{"type": "predicate", "instructions": "a"}], "input": [1]}, "input[0]"),
        (
            {
                "questions": [{"type": "predicate", "instructions": "a"}],
                "input": [{"role": "user", "content": 1}],
            },
            "input[0]",
        ),
        (
            {
                "questions": [{"type": "predicate", "instructions": "a"}],
                "input": [{"role": "user", "content": [{"type": "input_image"}]}],
            },
            "input[0].content[0]",
        ),
    ],
)
def test_decisions_that_cannot_be_made_name_the_field(running, body, param):
    response = running.post("/v1/decisions", body)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


def test_moderations_look_like_openais(running):
    reply = running.post("/v1/moderations", {"input": ["hello", MARKER]}).json()
    benign, harmful = reply["results"]
    assert (benign["flagged"], harmful["flagged"]) == (False, True)
    assert harmful["categories"]["cake"]
    assert not harmful["categories"]["hate"]
    assert harmful["category_scores"]["cake"] > 0.8
    assert set(harmful["categories"]) == set(harmful["category_applied_input_types"])
    parts = [{"type": "text", "text": "forbidden"}, {"type": "text", "text": "cake"}]
    assert len(running.post("/v1/moderations", {"input": parts}).json()["results"]) == 1
    assert len(running.post("/v1/moderations", {"input": "a"}).json()["results"]) == 1
    parts = [{"type": "image_url", "image_url": {"url": "x"}}, "a"]
    for body in ({"input": parts}, {"input": [1]}, {"input": []}, {"input": ["a"] * 2049}, {}):
        assert running.post("/v1/moderations", body).status_code == 400


def test_moderations_are_recorded(running):
    seen = len(running.sink.events)
    running.post("/v1/moderations", {"input": MARKER})
    running.wait_for(lambda: len(running.sink.events) > seen)
    event = running.sink.events[-1]
    assert (event.route, event.action, event.rule) == ("/v1/moderations", "stop", CAKE)


def test_verdicts_of_a_guard_that_fails_are_harmful(upstream):
    with gateway(upstream, lambda: make_guard(fault=Fault.RAISE)) as running:
        (result,) = running.post("/v1/moderations", {"input": "hello"}).json()["results"]
        assert result["flagged"]
        assert set(result["category_scores"].values()) == {0.0, 1.0}
    with gateway(upstream, None) as running:
        assert running.post("/v1/moderations", {"input": "hello"}).status_code == 503


def test_health_and_metrics(running):
    running.chat(Script())
    assert running.http.get(running.url + "/healthz").json() == {"status": "ok"}
    ready = running.http.get(running.url + "/readyz").json()
    assert ready["status"] == "ready"
    assert ready["guard"] == {"constitution": "bakery@1", "artifact": "artifact-1"}
    page = running.http.get(running.url + "/metrics").text
    for name in ("requests_total", "verdicts_total", "held_seconds", "judging_seconds"):
        assert f"custodes_{name}" in page
    assert MARKER not in page


def test_what_is_not_there_is_said_in_the_routes_own_form(running):
    response = running.http.get(running.url + "/v1/nothing")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")
    response = running.http.get(running.url + "/v1/messages")
    assert (response.status_code, response.json()["type"]) == (405, "error")


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b'{"a": NaN}', b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(running, data):
    for path in ("/v1/chat/completions", "/v1/messages", "/v1/completions", "/v1/moderations"):
        assert running.http.post(running.url + path, content=data).status_code == 400


def test_models_are_sent_to_the_upstream_that_has_them(upstream):
    settings = {
        "first": {"url": upstream.url},
        "second": {"url": upstream.url, "kind": "anthropic", "models": ["claude"]},
        "here": {"model": "scripted", "models": ["parrot"]},
    }
    with gateway(upstream, upstreams=settings) as running:
        listed = running.http.get(running.url + "/v1/models").json()
        assert [each["id"] for each in listed["data"]] == ["first/scripted", "claude", "parrot"]
        body = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}
        for model, path, status in (
            ("first/scripted", "/v1/chat/completions", 200),
            ("anything", "/v1/chat/completions", 200),
            ("claude", "/v1/messages", 200),
            ("claude", "/v1/chat/completions", 404),
            ("anything", "/v1/messages", 404),
            ("parrot", "/v1/messages", 200),
            ("here", "/v1/chat/completions", 200),
        ):
            response = running.post(path, {**body, "model": model})
            assert response.status_code == status, (model, path, response.text)
        running.post("/v1/chat/completions", {**body, "model": "first/scripted"})
        assert upstream.asked[-1][1]["model"] == "scripted"
    only = {"second": {"url": upstream.url, "models": ["claude"]}}
    with gateway(upstream, upstreams=only) as running:
        response = running.post("/v1/chat/completions", {**body, "model": "other"})
        assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")


def scripted_model(**line):
    settings = {"script": [{"when": "harm", "reply": f"It is a {MARKER} that you want."}, line]}
    return {"here": {"model": "scripted", "settings": settings}}


def test_a_model_in_process_speaks_every_format(upstream):
    with gateway(upstream, upstreams=scripted_model(reply="One two three.")) as running:
        options = {"stream_options": {"include_usage": True}}
        chunks = running.chat("hello", n=2, **options)
        assert [said(chunks, lane) for lane in range(2)] == ["One two three."] * 2
        assert chunks[-1]["usage"]["completion_tokens"] == 8
        assert said(running.chat("harm")) == "It is a "
        assert said(running.chat("hello", max_tokens=1)) == "One "
        messages = [{"role": "user", "content": "hello"}]
        for path, extra in (
            ("/v1/chat/completions", {"messages": messages}),
            ("/v1/messages", {"messages": messages, "max_tokens": 9}),
            ("/v1/completions", {"prompt": "hello"}),
        ):
            reply = running.post(path, {"model": "m", **extra}).json()
            assert "One two three." in json.dumps(reply)
            events = running.events(path, {"model": "m", "stream": True, **extra})
            pieces = [event.data for event in events if '"One ' in event.data]
            assert len(pieces) == 1


def test_a_model_in_process_that_fails_is_an_upstream_that_fails(upstream):
    failing = scripted_model(reply="One two three.", error="server", at=2)
    with gateway(upstream, upstreams=failing) as running:
        chunks = running.chat("hello")
        assert "error" in chunks[-1]
    with gateway(upstream, upstreams={"x": {"model": "nothing-like-it"}}) as running:
        body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
        for stream in (False, True):
            response = running.post("/v1/chat/completions", {**body, "stream": stream})
            assert response.status_code == 502


def test_every_text_of_a_moderation_has_the_time_of_a_verdict(upstream):
    def slow():
        return make_guard(fault=Fault.STALL, stall_seconds=0.05, step=500)

    with gateway(upstream, slow, judge_seconds=0.5) as running:
        reply = running.post("/v1/moderations", {"input": ["hello"] * 10})
        assert reply.status_code == 200
        running.wait_for(lambda: len(running.sink.events) == 10)
    with gateway(upstream, slow, request_seconds=0.5) as running:
        response = running.post("/v1/moderations", {"input": ["hello"] * 50})
        assert response.status_code == 504
        assert "send fewer texts" in response.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/moderations", "/v1/decisions"])
def test_a_verdict_that_cannot_be_had_is_recorded(upstream, path):
    released = threading.Event()

    def hanging():
        return make_guard(fault=Fault.STALL, stall_seconds=1, sleep=lambda _: released.wait(20))

    asked = {"input": "hello", "questions": [{"type": "predicate", "instructions": "harmful"}]}
    with gateway(upstream, hanging, judge_seconds=0.2) as running:
        response = running.post(path, asked)
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "guard_failed"
        running.wait_for(lambda: len(running.sink.events) == 1)
        (event,) = running.sink.events
        assert (event.route, event.judged, event.action) == (path, "input", "stop")
        assert "given up" in event.failure
        assert (
            "custodes_guard_failures_total 1.0" in running.http.get(running.url + "/metrics").text
        )
        released.set()


def test_a_decision_is_of_the_guard_that_judged_it(upstream):
    held, judging = threading.Event(), threading.Event()

    def hold(_):
        judging.set()
        held.wait(10)

    editions = iter([("1", {"fault": Fault.STALL, "stall_seconds": 1, "sleep": hold}), ("2", {})])

    def guard():
        version, settings = next(editions)
        rules = (CAKE, RuleId(f"rule-{version}"))
        return make_guard(version=version, rules=rules, **settings)

    questions = [{"type": "predicate", "instructions": "rule-1"}]
    with gateway(upstream, guard) as running:
        found = []
        asking = threading.Thread(target=lambda: found.append(ask(running, questions, "hello")))
        asking.start()
        assert judging.wait(5)
        assert running.http.post(running.url + "/v1/admin/reload").status_code == 200
        held.set()
        asking.join()
        assert found[0]["answers"][0]["type"] == "predicate"


def test_a_body_that_is_encoded_is_refused_by_name(running):
    data = gzip.compress(json.dumps({"input": "hello"}).encode())
    for encoding in ("gzip", "br"):
        response = running.http.post(
            running.url + "/v1/moderations", content=data, headers={"content-encoding": encoding}
        )
        assert response.status_code == 415
        assert f"content-encoding: got '{encoding}'" in response.json()["error"]["message"]
    plain = {"content-encoding": "identity"}
    assert running.post("/v1/moderations", {"input": "hello"}, headers=plain).status_code == 200


@pytest.mark.slow
def test_the_embedded_model_speaks_behind_the_gateway(upstream):
    settings = {"embedded": {"model": "embedded", "settings": {"threads": 1}}}
    with gateway(upstream, upstreams=settings) as running:
        chunks = running.chat("Say hello.", max_tokens=6)
        assert said(chunks)
