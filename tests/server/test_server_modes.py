"""flag, shadow and immediate release; keys and what they may do."""

import hashlib

import pytest
from server_doubles import CAKE, MARKER, finishes, gateway, make_guard, said

from custodes.classifiers.scripted import Fault
from custodes.guard import Policy
from custodes.server.scripted import Script

HARM = Script(pieces=("Here is the ", MARKER, " recipe"))
TEXT = "".join(HARM.pieces)


def key(name, **settings):
    return {"id": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), **settings}


@pytest.fixture(scope="module")
def keyed(upstream):
    keys = [
        key("enforcing"),
        key("flagging", mode="flag"),
        key("shadowing", mode="shadow"),
        key("explaining", explain=True),
        key("slow", per_minute=60),
        key("boss", role="admin"),
    ]
    with gateway(upstream, keys=keys, burst=2, keep_text=True, metrics_public=False) as found:
        yield found


def bearer(name):
    return {"authorization": f"Bearer {name}"}


def test_flag_lets_through_and_tells(keyed):
    chunks = keyed.chat(HARM, headers=bearer("flagging"))
    assert said(chunks) == TEXT
    assert finishes(chunks) == ["stop"]
    assert chunks[-1]["guard"]["rule"] == CAKE
    body = {"model": "m", "messages": [{"role": "user", "content": MARKER}]}
    reply = keyed.post("/v1/chat/completions", body, headers=bearer("flagging")).json()
    assert reply["guard"]["judged"] == "input"
    assert reply["choices"][0]["message"]["content"] == "Hello there."


def events_of(keyed, name):
    """Those of one key: an earlier test's may still come."""
    return [event for event in keyed.sink.events if event.key == name]


def test_shadow_lets_through_says_nothing_and_records(keyed):
    seen = len(events_of(keyed, "shadowing"))
    chunks = keyed.chat(HARM, headers=bearer("shadowing"))
    assert said(chunks) == TEXT
    assert not any("guard" in chunk for chunk in chunks)
    body = {"model": "m", "messages": [{"role": "user", "content": HARM.prompt()}]}
    reply = keyed.post("/v1/chat/completions", body, headers=bearer("shadowing")).json()
    assert reply["choices"][0]["message"]["content"] == TEXT
    keyed.wait_for(lambda: len(events_of(keyed, "shadowing")) >= seen + 4)
    new = events_of(keyed, "shadowing")[seen:]
    found = {(event.judged, event.action, event.mode) for event in new}
    assert found == {("input", "release", "shadow"), ("exchange", "stop", "shadow")}


def test_events_keep_the_text_where_the_operator_wants_it(keyed):
    seen = len(events_of(keyed, "enforcing"))
    keyed.chat(HARM, headers=bearer("enforcing"))
    keyed.wait_for(lambda: len(events_of(keyed, "enforcing")) >= seen + 2)
    first, second = events_of(keyed, "enforcing")[seen:]
    assert first.text == HARM.prompt()
    assert second.text.startswith("Here is the " + MARKER)
    assert second.key == "enforcing"


def test_only_keys_that_may_ask_are_told_why(keyed):
    asks = {"custodes-explain": "1"}
    assert "guard" not in keyed.chat(HARM, headers=asks | bearer("enforcing"))[-1]
    assert "guard" in keyed.chat(HARM, headers=asks | bearer("explaining"))[-1]
    assert "guard" not in keyed.chat(HARM, headers=bearer("explaining"))[-1]


def test_immediate_release_cuts_late(upstream):
    with gateway(upstream, release="immediate") as running:
        chunks = running.chat(Script(pieces=("Here is the ", MARKER, " a", " b"), delay=0.2))
        assert said(chunks).startswith("Here is the " + MARKER)
        assert finishes(chunks) == ["content_filter"]
        assert not said(chunks).endswith(" b")


def slow_guard():
    """Its first verdict comes with the end of a reply."""
    return make_guard(step=200, policy=Policy())


LATE = [
    ("flagging", {}),
    ("shadowing", {}),
    ("enforcing", {"release": "immediate"}),
]


@pytest.mark.parametrize(("name", "settings"), LATE)
@pytest.mark.parametrize("fault", [None, "drop"])
def test_what_left_unjudged_is_judged_and_recorded_when_the_reply_breaks_off(
    upstream, name, settings, fault
):
    keys = [key("flagging", mode="flag"), key("shadowing", mode="shadow"), key("enforcing")]
    script = Script(
        pieces=("Here is the ", MARKER, " recipe", *(" and",) * 100),
        delay=0.05,  # a connection that is dropped at once may take along what it was given
        fault=fault,
        fault_at=3,
    )
    messages = [{"role": "user", "content": script.prompt()}]
    body = {"model": "m", "stream": True, "messages": messages}
    with gateway(upstream, slow_guard, keys=keys, **settings) as running:
        read = ""
        url = running.url + "/v1/chat/completions"
        with running.http.stream("POST", url, json=body, headers=bearer(name)) as response:
            for line in response.iter_lines():
                read += line
                if "recipe" in line:
                    break  # the client leaves
        assert MARKER in read
        running.wait_for(lambda: len(running.sink.events) == 2)
        found = [(event.judged, event.action) for event in running.sink.events]
        assert found == [("input", "release"), ("exchange", "stop")]


def test_what_was_never_sent_is_not_judged(upstream):
    keys = [key("flagging", mode="flag")]
    script = Script(pieces=("Here", *(" and",) * 40, MARKER), delay=0.05)
    messages = [{"role": "user", "content": script.prompt()}]
    body = {"model": "m", "stream": True, "messages": messages}
    with gateway(upstream, slow_guard, keys=keys) as running:
        url = running.url + "/v1/chat/completions"
        with running.http.stream("POST", url, json=body, headers=bearer("flagging")) as response:
            for line in response.iter_lines():
                if "Here" in line:
                    break
        running.wait_for(lambda: len(running.sink.events) == 2)
        assert running.sink.events[-1].action == "release"


def test_the_shutdown_waits_for_verdicts_on_what_was_sent(upstream):
    def slow():
        return make_guard(step=200, policy=Policy(), fault=Fault.STALL, stall_seconds=0.5)

    keys = [key("shadowing", mode="shadow")]
    with gateway(upstream, slow, keys=keys) as running:
        assert said(running.chat(HARM, headers=bearer("shadowing"))) == TEXT
        sink = running.sink
    assert ("exchange", "stop") in [(event.judged, event.action) for event in sink.events]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "missing_api_key"),
        ({"authorization": "Bearer wrong"}, 401, "invalid_api_key"),
        ({"authorization": "Basic enforcing"}, 401, "missing_api_key"),
        ({"x-api-key": "wrong"}, 401, "invalid_api_key"),
    ],
)
def test_who_has_no_key_is_refused(keyed, headers, status, code):
    for path in ("/v1/chat/completions", "/v1/moderations", "/v1/decisions", "/v1/completions"):
        response = keyed.post(path, {}, headers=headers)
        assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    response = keyed.post("/v1/messages", {}, headers=headers)
    assert response.status_code == status
    assert response.json()["error"]["type"] == "authentication_error"
    assert keyed.http.get(keyed.url + "/v1/models", headers=headers).status_code == status


def test_roles_bound_what_a_key_may_do(keyed):
    url = keyed.url + "/v1/admin/reload"
    assert keyed.http.post(url, headers=bearer("enforcing")).status_code == 403
    assert keyed.http.post(url, headers=bearer("boss")).json()["status"] == "reloaded"
    assert keyed.http.get(keyed.url + "/metrics", headers=bearer("enforcing")).status_code == 403
    assert keyed.http.get(keyed.url + "/metrics", headers=bearer("boss")).status_code == 200


def test_a_key_beyond_its_limit_must_wait(keyed):
    body = {"input": "hello"}
    statuses = [
        keyed.post("/v1/moderations", body, headers=bearer("slow")).status_code for _ in range(4)
    ]
    assert statuses[:2] == [200, 200]
    assert 429 in statuses[2:]
    response = keyed.post("/v1/moderations", body, headers=bearer("slow"))
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) >= 1
