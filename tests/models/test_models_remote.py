"""Faults, retries and time-outs, over a real connection, by the OpenAI backend."""

import socket
import threading
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custodes.errors import (
    ConfigError,
    ModelRequestError,
    ModelServerError,
    ModelTimeoutError,
)
from custodes.models import Sampling
from custodes.models.openai import OpenAIModel
from custodes.models.remote import Timing, retry_after_seconds
from custodes.types import Message

HELLO = (Message("user", "Hello"),)
GOOD = {"choices": [{"message": {"content": "Hi."}, "finish_reason": "stop"}]}


def model(server, timing=None, **settings):
    settings = {"api_key_env": None, "base_url": server.url, "model": "m", **settings}
    return OpenAIModel(OpenAIModel.Config(**settings), timing=timing)


def ask(it):
    with it:
        return it.generate([HELLO], Sampling())[0].text


def test_retry_after_in_seconds_is_honored(server, answered, waits) -> None:
    server.answers = [answered(429, {}, {"retry-after": "7"}), answered(body=GOOD)]
    assert ask(model(server, waits.timing())) == "Hi."
    assert waits.slept == [7.0]


def test_retry_after_as_a_date_is_honored(server, answered, waits) -> None:
    date = formatdate(1_700_000_009, usegmt=True)
    server.answers = [answered(503, {}, {"retry-after": date}), answered(body=GOOD)]
    assert ask(model(server, waits.timing())) == "Hi."
    assert waits.slept == [9.0]


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 529])
def test_passing_failures_are_tried_again_with_growing_jittered_waits(
    server, answered, waits, status
) -> None:
    server.answers = [*[answered(status, {}, {"retry-after": "soon"})] * 3, answered(body=GOOD)]
    assert ask(model(server, waits.timing(), backoff=2, backoff_limit=5)) == "Hi."
    assert waits.slept == [1.0, 2.0, 2.5]


def test_after_the_last_attempt_the_failure_is_raised(server, answered, waits) -> None:
    server.answers = [answered(500, {"error": "out of\nsorts"})]
    with pytest.raises(ModelServerError, match=r"status 500, expected 200: .*out of"):
        ask(model(server, waits.timing(), attempts=3))
    assert len(server.asked) == 3


def test_a_wait_beyond_the_total_time_is_not_begun(server, answered, waits) -> None:
    server.answers = [answered(429, {}, {"retry-after": "1000"})]
    with pytest.raises(ModelRequestError, match="status 429"):
        ask(model(server, waits.timing()))
    assert waits.slept == []


def test_a_long_or_broken_refusal_is_cut_short(server, answered, waits) -> None:
    server.answers = [answered(400, b"no " * 10**6), answered(500, chunks=(b"half",), drop=True)]
    with pytest.raises(ModelRequestError, match="no no") as caught:
        ask(model(server, waits.timing()))
    assert len(str(caught.value)) < 500
    with pytest.raises(ModelServerError, match="status 500, expected 200: half"):
        ask(model(server, waits.timing(), attempts=1))


@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_a_refused_request_is_not_tried_again(server, answered, waits, status) -> None:
    server.answers = [answered(status, {"error": {"message": "no such model"}})]
    with pytest.raises(ModelRequestError, match="no such model"):
        ask(model(server, waits.timing()))
    assert len(server.asked) == 1


def test_a_redirect_is_not_followed(server, answered) -> None:
    server.answers = [answered(307, b"", {"location": "http://127.0.0.1:1/"})]
    with pytest.raises(ModelServerError, match="status 307"):
        ask(model(server))


@pytest.mark.parametrize("body", [b"<html>", b"", b"[1]", b"\xff\xfe", b'{"choices": []}', b"{}"])
def test_a_malformed_answer_is_the_servers_failure(server, answered, body) -> None:
    server.answers = [answered(body=body)]
    with pytest.raises(ModelServerError, match="expected"):
        ask(model(server))
    assert len(server.asked) == 1


def test_a_stalled_server_is_a_timeout(server, answered) -> None:
    release = threading.Event()
    server.answers = [answered(hold=release)]
    with pytest.raises(ModelTimeoutError, match=r"no answer in 0\.1 s"):
        ask(model(server, read_timeout=0.1))
    release.set()
    assert len(server.asked) == 1


def test_a_stream_that_stalls_is_a_timeout(server, answered, sse) -> None:
    piece = sse({"choices": [{"delta": {"content": "a"}}]})
    server.answers = [answered(chunks=(piece, piece), pause=0.3)]
    with model(server, read_timeout=0.35) as it:
        stream = it.stream(HELLO, Sampling())
        assert next(stream) == "a"
    server.answers = [answered(chunks=(piece, piece), pause=0.15)]
    with (
        model(server, read_timeout=0.05) as it,
        pytest.raises(ModelTimeoutError, match="read_timeout"),
    ):
        list(it.stream(HELLO, Sampling()))


def test_a_dripping_stream_ends_with_the_total_time(server, answered, sse) -> None:
    piece = sse({"choices": [{"delta": {"content": "a"}}]})
    server.answers = [answered(chunks=(piece,) * 50, pause=0.05)]
    with (
        model(server, total_timeout=0.3) as it,
        pytest.raises(ModelTimeoutError, match=r"in 0\.3 s"),
    ):
        list(it.stream(HELLO, Sampling()))


def test_a_stream_dropped_midway_is_never_asked_for_again(server, answered, sse, waits) -> None:
    piece = sse({"choices": [{"delta": {"content": "half"}}]})
    server.answers = [answered(chunks=(piece,), drop=True)]
    got = []
    with model(server, waits.timing()) as it, pytest.raises(ModelServerError, match="broke amid"):
        for text in it.stream(HELLO, Sampling()):
            got.append(text)
    assert got == ["half"]
    assert len(server.asked) == 1 and waits.slept == []


def test_a_stream_is_tried_again_before_it_begins(server, answered, sse, waits) -> None:
    good = (sse({"choices": [{"delta": {"content": "whole"}}]}), sse("[DONE]"))
    server.answers = [answered(500, {}), answered(chunks=good)]
    with model(server, waits.timing()) as it:
        assert list(it.stream(HELLO, Sampling())) == ["whole"]
    assert len(server.asked) == 2


def test_closing_a_stream_closes_the_connection(server, answered, sse) -> None:
    piece = sse({"choices": [{"delta": {"content": "a" * 65536}}]})
    server.answers = [answered(chunks=(piece,) * 400, pause=0.001)]
    with model(server) as it:
        stream = it.stream(HELLO, Sampling())
        next(stream)
        stream.close()
        assert server.closed_early.wait(5)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_an_unreachable_server_is_tried_again_then_named(server, waits) -> None:
    url = f"http://127.0.0.1:{_free_port()}/v1"
    with pytest.raises(ModelServerError, match="cannot be reached"):
        ask(model(server, waits.timing(), base_url=url, attempts=4))
    assert len(waits.slept) == 3


def test_a_server_that_is_no_http_server_is_named(server) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def babble() -> None:
        connection, _ = listener.accept()
        connection.recv(65536)
        connection.sendall(b"220 mail.example ESMTP\r\n")
        connection.close()

    thread = threading.Thread(target=babble)
    thread.start()
    with pytest.raises(ModelServerError, match="is this the address"):
        ask(model(server, base_url=f"http://127.0.0.1:{listener.getsockname()[1]}"))
    thread.join()
    listener.close()


def test_the_key_comes_from_the_environment_and_shows_in_no_error(
    server, answered, monkeypatch
) -> None:
    monkeypatch.setenv("A_KEY", "sk-secret")
    server.answers = [answered(401, {"error": "bad key sk-secret " + "x" * 267 + " sk-secret"})]
    with pytest.raises(ModelRequestError, match=r"bad key \[key\]") as caught:
        ask(model(server, api_key_env="A_KEY"))
    assert "sk-" not in str(caught.value)
    assert server.asked[0][1]["authorization"] == "Bearer sk-secret"


@pytest.mark.parametrize(("key", "said"), [(None, "not set"), ("", "not set"), ("a\nb", "odd")])
def test_a_missing_or_broken_key_is_named(server, monkeypatch, key, said) -> None:
    monkeypatch.delenv("A_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("A_KEY", key)
    with pytest.raises(ConfigError, match=f"A_KEY is .*{said}"):
        model(server, api_key_env="A_KEY")


def test_headers_that_cannot_be_sent_are_refused(server) -> None:
    with pytest.raises(ConfigError, match="headers"):
        model(server, headers={"x-name": "日本"})


def test_requests_run_side_by_side_up_to_the_limit_and_keep_their_order(server, answered) -> None:
    def echo(body):
        text = body["messages"][0]["content"]
        return {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}

    server.answers = [answered(body=echo, pause=0.02)]
    texts = [f"number {i}" for i in range(12)]
    with model(server, concurrency=3) as it:
        replies = it.generate([(Message("user", text),) for text in texts], Sampling())
        assert [reply.text for reply in replies] == texts
        assert it.generate([], Sampling()) == []
    assert server.busiest == 3


def test_the_first_error_cancels_what_has_not_begun(server, answered, waits) -> None:
    server.answers = [answered(400, {}), answered(body=GOOD, pause=0.02)]
    with (
        model(server, waits.timing(), concurrency=1) as it,
        pytest.raises(ModelRequestError, match="400"),
    ):
        it.generate([HELLO] * 50, Sampling())
    assert len(server.asked) < 10


def test_further_fields_and_headers_are_sent(server, answered) -> None:
    server.answers = [answered(body=GOOD)]
    ask(model(server, body={"top_k": 5, "temperature": None}, headers={"x-tag": "t"}))
    _, headers, body = server.asked[0]
    assert body["top_k"] == 5 and "temperature" not in body
    assert headers["x-tag"] == "t"


@given(st.text(max_size=40))
def test_any_retry_after_is_seconds_or_nothing(value: str) -> None:
    seconds = retry_after_seconds(value, now=0.0)
    assert seconds is None or seconds >= 0


def test_no_retry_after_asks_for_nothing() -> None:
    assert retry_after_seconds(None, now=Timing().now()) is None
    assert retry_after_seconds("Wed, 21 Oct 2015 07:28:00 GMT", now=Timing().now()) == 0.0
    assert retry_after_seconds("1.5", now=0) == 1.5
