"""Replies that end early, late or never: what was judged is recorded, and the upstream let go."""

import json
import socket
import threading
import time

import pytest
from raw_upstream import chunk, raw_upstream
from server_doubles import MARKER, finishes, gateway, make_guard, said

from custodes.classifiers.scripted import Fault
from custodes.guard import Policy, Response
from custodes.server.scripted import Script

WORDS = ("some plain words ",) * 30


def body(script, **more):
    messages = [{"role": "user", "content": script.prompt()}]
    return {"model": "m", "stream": True, "messages": messages, **more}


def replies(running):
    """What is recorded of replies."""
    return [event for event in running.sink.events if event.judged != "input"]


def test_a_client_that_does_not_read_is_left_when_its_time_is_over(upstream):
    script = Script(pieces=("y" * 10_000,) * 16)
    data = json.dumps(body(script, n=100)).encode()
    with gateway(upstream, None, request_seconds=1) as running:
        left = upstream.abandoned
        with socket.socket() as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.connect(("127.0.0.1", int(running.url.rpartition(":")[2])))
            head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
            raw.sendall(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)
            running.wait_for(lambda: upstream.abandoned == left + 1, seconds=10)
            page = running.http.get(running.url + "/metrics").text
            assert "custodes_requests_open 0.0" in page


@pytest.mark.parametrize("keep_text", [False, True])
def test_a_reply_whose_client_left_is_recorded(upstream, keep_text):
    with gateway(upstream, keep_text=keep_text) as running:
        url = running.url + "/v1/chat/completions"
        script = Script(pieces=WORDS, delay=0.05)
        with running.http.stream("POST", url, json=body(script)) as response:
            read = ""
            for part in response.iter_text():
                read += part
                if read.count("plain") > 3:
                    break
        running.wait_for(lambda: len(replies(running)) == 1)
        time.sleep(0.3)
        (event,) = replies(running)
        assert (event.action, event.failure) == ("release", None)
        if keep_text:
            assert event.text.count("plain") >= 3


def test_a_reply_whose_client_left_before_anything_of_it_was_out_is_not(upstream):
    with gateway(upstream, lambda: make_guard(step=1000)) as running:
        url = running.url + "/v1/chat/completions"
        script = Script(pieces=WORDS, delay=0.05)
        with running.http.stream("POST", url, json=body(script)) as response:
            next(response.iter_bytes())
        running.wait_for(lambda: upstream.abandoned > 0)
        time.sleep(0.3)
        assert replies(running) == []


def test_harm_that_was_read_and_held_when_the_client_left_is_recorded_as_a_stop(upstream):
    # The guard looks at the end alone: the marker is held when the client leaves.
    policy = Policy(hold_back=40)
    pieces = ("plain words " * 10, MARKER + " and", " more words" * 30, " " * 40)
    script = Script(pieces=pieces, fault="stall", fault_at=2, stall_seconds=3)
    late = {"step": 1, "lag": 30, "policy": policy}
    with gateway(upstream, lambda: make_guard(**late)) as running:
        url = running.url + "/v1/chat/completions"
        with running.http.stream("POST", url, json=body(script)) as response:
            parts, read = response.iter_text(), ""  # which leaves when it is let go
            while "plain" not in read:
                read += next(parts)
            time.sleep(0.2)
        running.wait_for(lambda: len(replies(running)) == 1)
        (event,) = replies(running)
        assert (event.action, event.rule) == ("stop", "cake")
        lines = [line[6:] for line in read.splitlines() if line.startswith("data: {")]
        # More may have left than this client had read when it went, but none of the harm.
        got = len(said([json.loads(line) for line in lines]))
        assert got <= event.stop_at <= len(pieces[0])
        assert MARKER not in read


@pytest.mark.parametrize("fault", ["drop", "end", "garbage", "error"])
def test_a_reply_whose_upstream_broke_is_recorded(upstream, fault):
    with gateway(upstream) as running:
        chunks = running.chat(Script(pieces=WORDS, fault=fault, fault_at=20, delay=0.01))
        assert chunks[-1]["error"]["code"] == "upstream_error"
        assert said(chunks)
        running.wait_for(lambda: len(replies(running)) == 1)
        assert replies(running)[0].action == "release"


def test_a_verdict_that_cannot_be_had_after_the_end_is_recorded_as_a_failure(upstream):
    released = threading.Event()

    def guard():
        return make_guard(
            fault=Fault.STALL, fault_at=200, stall_seconds=1, sleep=lambda _: released.wait(20)
        )

    script = Script(pieces=("plain words " * 10, "more of them " * 20), delay=0.2)
    with gateway(upstream, guard, judge_seconds=1) as running:
        url = running.url + "/v1/chat/completions"
        with running.http.stream("POST", url, json=body(script)) as response:
            parts = response.iter_text()  # which leaves when it is let go
            while "plain" not in next(parts):
                pass
            time.sleep(0.4)
        running.wait_for(lambda: len(replies(running)) == 1)
        assert "given up" in replies(running)[0].failure
        ready = running.url + "/readyz"
        running.wait_for(lambda: running.http.get(ready).json()["judging_threads_stuck"] == 1)
        released.set()


@pytest.mark.parametrize("release", ["checked", "immediate"])
def test_a_guard_that_failed_and_was_passed_over_is_recorded_though_the_client_left(
    upstream, release
):
    released = threading.Event()

    def guard():
        return make_guard(
            fault=Fault.STALL,
            fault_at=200,
            stall_seconds=1,
            sleep=lambda _: released.wait(20),
            policy=Policy(on_failure=Response.FLAG),
        )

    script = Script(pieces=("plain words " * 30, *["later words "] * 200), delay=0.05)
    with gateway(upstream, guard, judge_seconds=0.3, release=release) as running:
        url = running.url + "/v1/chat/completions"
        with running.http.stream("POST", url, json=body(script)) as response:
            parts = response.iter_text()
            began = time.monotonic()
            while "later" not in next(parts) or time.monotonic() < began + 1:
                pass
        running.wait_for(lambda: len(replies(running)) == 1)
        assert "given up" in replies(running)[0].failure
        released.set()


def test_every_choice_of_which_something_left_is_recorded_once(upstream):
    with gateway(upstream) as running:
        chunks = running.chat(Script(pieces=WORDS, fault="drop", fault_at=20, delay=0.01), n=3)
        assert all(said(chunks, lane) for lane in range(3))
        running.wait_for(lambda: len(replies(running)) == 3)
        time.sleep(0.2)
        assert len(replies(running)) == 3


# A reply is over where its format says so


@pytest.mark.parametrize("guard", [None, make_guard])
@pytest.mark.parametrize("end", ["hang", "close"])
def test_what_is_said_to_be_complete_is_wherever_the_body_ends(guard, end):
    events = [chunk("Hello"), chunk("", "stop"), "[DONE]", chunk("and more")]
    with raw_upstream(events=events, end=end) as upstream, gateway(upstream, guard) as running:
        began = time.monotonic()
        chunks = running.chat("hello")
        assert time.monotonic() - began < 1.5  # idle_seconds is 2
        assert (said(chunks), finishes(chunks)) == ("Hello", ["stop"])
        assert "error" not in chunks[-1]
        if end == "hang":
            running.wait_for(lambda: upstream.gone == 1)


def test_a_connection_whose_reply_ends_in_order_is_used_again():
    events = [chunk("Hello"), chunk("", "stop"), "[DONE]"]
    with raw_upstream(events=events) as upstream, gateway(upstream, None) as running:
        for _ in range(5):
            assert said(running.chat("hello")) == "Hello"
        assert upstream.connections == 1


def test_a_message_is_complete_at_its_last_event():
    events = [
        {"type": "message_start", "message": {"id": "m", "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "Hello"},
        },
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop"},
    ]
    asked = {"model": "m", "max_tokens": 5, "stream": True}
    asked["messages"] = [{"role": "user", "content": "hello"}]
    with raw_upstream(events=events, end="hang") as upstream, gateway(upstream) as running:
        got = running.events("/v1/messages", asked)
        assert [event.name for event in got][-1] == "message_stop"
        assert "error" not in {event.name for event in got}
