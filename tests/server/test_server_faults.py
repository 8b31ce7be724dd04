"""Whatever breaks, nothing leaks, the client is told, and the upstream is let go."""

import json
import socket
import threading
import time

import httpx2
import pytest
from server_doubles import MARKER, finishes, gateway, make_guard, said

from custodes.classifiers.scripted import Fault
from custodes.errors import ArtifactError
from custodes.guard import Policy, Response
from custodes.server.scripted import Script

BEFORE = "Here is the "


@pytest.mark.parametrize("fault", ["drop", "end", "garbage", "error", "shape"])
@pytest.mark.parametrize("at", [1, 2])
def test_an_upstream_that_breaks_leaks_nothing(running, fault, at):
    pieces = (BEFORE, MARKER[:-1], " " * 20)
    chunks = running.chat(Script(pieces=pieces, fault=fault, fault_at=at))
    assert chunks[-1]["error"]["code"] == "upstream_error"
    assert BEFORE.startswith(said(chunks))
    assert finishes(chunks) == []


def test_an_upstream_that_breaks_before_its_reply_gives_a_status(running):
    body = {"model": "m", "stream": True}
    for fault, status in (("json", 502), ("status", 502)):
        messages = [{"role": "user", "content": Script(fault=fault).prompt()}]
        response = running.post("/v1/chat/completions", {**body, "messages": messages})
        assert response.status_code == status
        assert response.json()["error"]["type"] == "server_error"


def test_a_refusal_of_the_upstream_is_passed_on_if_its_words_are_clean(running):
    for words, expected in (("too long", "too long"), (MARKER, "it gave no reason")):
        script = Script(fault="status", status=422, pieces=(words,))
        messages = [{"role": "user", "content": script.prompt()}]
        response = running.post("/v1/chat/completions", {"model": "m", "messages": messages})
        assert response.status_code == 422
        assert expected in response.json()["error"]["message"]
        assert MARKER not in response.text


def test_a_whole_reply_of_another_shape_is_an_error(running):
    messages = [{"role": "user", "content": Script(fault="shape").prompt()}]
    response = running.post("/v1/chat/completions", {"model": "m", "messages": messages})
    assert response.status_code == 502


def test_an_upstream_that_stalls_is_given_up(upstream):
    with gateway(
        upstream,
        upstreams={"main": {"url": upstream.url, "idle_seconds": 0.3, "first_seconds": 0.3}},
    ) as running:
        script = Script(pieces=(BEFORE + " " * 20, "b"), fault="stall", fault_at=1)
        chunks = running.chat(script)
        assert chunks[-1]["error"]["message"] == "the upstream did not answer in time"
        messages = [{"role": "user", "content": Script(fault="stall").prompt()}]
        response = running.post("/v1/chat/completions", {"model": "m", "messages": messages})
        assert response.status_code == 504


def test_an_upstream_that_drips_for_ever_is_ended_in_time(upstream):
    with gateway(upstream, request_seconds=2) as running:
        began = time.monotonic()
        chunks = running.chat(Script(pieces=("a ",) * 200, delay=0.1))
        assert time.monotonic() - began < 10
        assert "error" in chunks[-1]


def test_an_upstream_that_is_not_there_is_said_to_be_so(upstream):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        with gateway(upstream, upstreams={"gone": {"url": url}}) as running:
            body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
            assert running.post("/v1/chat/completions", body).status_code == 502
            assert running.http.get(running.url + "/v1/models").json()["data"] == []


def test_a_client_that_leaves_ends_the_upstreams_reply(running):
    left = running.upstream.abandoned
    script = Script(pieces=("word ",) * 500, delay=0.02)
    body = {
        "model": "m",
        "stream": True,
        "messages": [{"role": "user", "content": script.prompt()}],
    }
    url = running.url + "/v1/chat/completions"
    with running.http.stream("POST", url, json=body) as response:
        next(response.iter_bytes())
    running.wait_for(lambda: running.upstream.abandoned > left)


def test_a_client_that_leaves_before_the_first_byte_ends_it_too(running):
    left = running.upstream.abandoned
    script = Script(fault="stall", stall_seconds=20)
    body = {
        "model": "m",
        "stream": True,
        "messages": [{"role": "user", "content": script.prompt()}],
    }
    with pytest.raises(httpx2.ReadTimeout):
        running.http.post(running.url + "/v1/chat/completions", json=body, timeout=0.3).read()
    running.wait_for(lambda: running.upstream.abandoned > left)


def test_a_slow_client_slows_the_upstream_down(upstream):
    # More than the sockets on the way hold: a sender's may grow to 4 MiB on either side.
    script = Script(pieces=("y" * 10_000,) * 16)
    messages = [{"role": "user", "content": script.prompt()}]
    body = {"model": "m", "stream": True, "messages": messages, "n": 100}
    data = json.dumps(body).encode()
    with gateway(upstream, None) as running:
        finished = upstream.finished
        began = time.monotonic()
        running.drain("/v1/chat/completions", body)
        running.wait_for(lambda: upstream.finished == finished + 1)
        took = time.monotonic() - began
        left = upstream.abandoned
        with socket.socket() as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.connect(("127.0.0.1", int(running.url.rpartition(":")[2])))
            head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
            raw.sendall(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)
            time.sleep(2 * took)
            assert upstream.finished == finished + 1
        running.wait_for(lambda: upstream.abandoned == left + 1)


@pytest.mark.parametrize(
    "fault", [fault for fault in Fault if fault not in (Fault.STALL, Fault.RULES)]
)
def test_a_guard_that_fails_stops_everything(upstream, fault):
    with gateway(upstream, lambda: make_guard(fault=fault, fault_at=0)) as running:
        asked = len(upstream.asked)
        chunks = running.chat(Script(), headers={"custodes-explain": "1"})
        assert (said(chunks), finishes(chunks)) == ("", ["content_filter"])
        assert "scripted" in chunks[-1]["guard"]["failure"]
        assert len(upstream.asked) == asked
        running.wait_for(lambda: len(running.sink.events) == 1)
        assert running.sink.events[0].failure


def test_a_guard_that_fails_in_the_middle_of_a_reply_cuts_it(upstream):
    def late():
        return make_guard(fault=Fault.RAISE, fault_at=400)

    with gateway(upstream, late) as running:
        text = "benign words " * 60
        chunks = running.chat(Script(pieces=(text,)))
        assert finishes(chunks) == ["content_filter"]
        assert text.startswith(said(chunks))
        assert len(said(chunks)) < 400


def test_a_guard_that_may_fail_open_lets_through_and_records(upstream):
    policy = Policy(on_failure=Response.FLAG)
    with gateway(upstream, lambda: make_guard(fault=Fault.RAISE, policy=policy)) as running:
        assert said(running.chat(Script(pieces=("a", "b")))) == "ab"
        running.wait_for(lambda: len(running.sink.events) == 2)
        assert all(event.failure for event in running.sink.events)


def slow_guard(released, policy=None):
    return make_guard(
        fault=Fault.STALL,
        fault_at=300,
        stall_seconds=1,
        sleep=lambda _: released.wait(20),
        policy=policy,
    )


def test_a_guard_that_hangs_cuts_the_reply_and_the_gateway_lives_on(upstream):
    released = threading.Event()
    with gateway(upstream, lambda: slow_guard(released), judge_seconds=0.3) as running:
        long = Script(pieces=("benign words ",) * 40)
        for _ in range(4):
            chunks = running.chat(long, headers={"custodes-explain": "1"})
            assert finishes(chunks) == ["content_filter"]
            assert "given up" in chunks[-1]["guard"]["failure"]
        assert said(running.chat(Script(pieces=("a", "b")))) == "ab"
        assert running.http.get(running.url + "/readyz").json()["judging_threads_stuck"] == 4
        released.set()
        ready = running.url + "/readyz"
        running.wait_for(lambda: running.http.get(ready).json()["judging_threads_stuck"] == 0)


def test_a_guard_that_hangs_may_be_passed_over(upstream):
    released = threading.Event()
    policy = Policy(on_failure=Response.FLAG)
    pieces = ("benign words ",) * 40
    with gateway(upstream, lambda: slow_guard(released, policy), judge_seconds=0.3) as running:
        assert said(running.chat(Script(pieces=pieces))) == "".join(pieces)
        released.set()


def test_a_reload_leaves_running_streams_alone(upstream):
    version = ["1"]

    def guard():
        if version[0] == "broken":
            raise ArtifactError("the guard's folder is gone")
        return make_guard(version=version[0])

    with gateway(upstream, guard) as running:
        explain = {"custodes-explain": "1"}
        found = []
        script = Script(pieces=("a ", "b "), delay=0.4)
        old = threading.Thread(target=lambda: found.append(running.chat(script, headers=explain)))
        old.start()
        time.sleep(0.2)
        version[0] = "2"
        assert running.http.post(running.url + "/v1/admin/reload").status_code == 200
        assert running.chat(Script(), headers=explain)[-1]["guard"]["constitution"] == "bakery@2"
        old.join()
        assert found[0][-1]["guard"]["constitution"] == "bakery@1"
        assert said(found[0]) == "a b "
        version[0] = "broken"
        response = running.http.post(running.url + "/v1/admin/reload")
        assert response.status_code == 409
        assert "stays in office" in response.json()["error"]["message"]
        assert running.chat(Script(), headers=explain)[-1]["guard"]["constitution"] == "bakery@2"


def test_events_that_cannot_be_kept_make_the_gateway_unready(upstream):
    with gateway(upstream) as running:

        async def broken(event):
            raise OSError("disk full")

        running.sink.record = broken
        assert said(running.chat(Script())) == "Hello there."
        ready = running.url + "/readyz"
        running.wait_for(lambda: running.http.get(ready).status_code == 503)
        assert running.http.get(ready).json()["problems"] == ["events cannot be recorded"]
        assert "custodes_events_lost_total 2" in running.http.get(running.url + "/metrics").text
        del running.sink.record
        running.chat(Script())
        running.wait_for(lambda: running.http.get(ready).status_code == 200)


def test_requests_that_are_too_large_or_too_slow_are_refused(upstream):
    with gateway(upstream, max_body_bytes=1000, body_seconds=0.3) as running:
        body = {"model": "m", "messages": [{"role": "user", "content": "x" * 2000}]}
        assert running.post("/v1/chat/completions", body).status_code == 413
        response = running.post("/v1/messages", body)
        assert response.json()["error"]["type"] == "request_too_large"

        def dripping():
            for _ in range(100):
                yield b" " * 100

        response = running.http.post(running.url + "/v1/moderations", content=dripping())
        assert response.status_code == 413
        port = int(running.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
            raw.sendall(b"POST /v1/moderations HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{")
            assert b" 408 " in raw.recv(4096).splitlines()[0]
