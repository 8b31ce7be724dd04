"""Models in this process: how many replies are written at once, and when they end."""

import json
import threading
import time

import httpx2
import pytest
from server_doubles import finishes, gateway, said

from custodes.config import Config
from custodes.errors import ModelRequestError
from custodes.models import Reply
from custodes.models.base import Ending
from custodes.models.scripted import ScriptedModel

SLOW = {"when": "slow", "reply": "word " * 100, "delay": 0.05}
QUICK = {"reply": "Yes, at once."}


class CountedModel(ScriptedModel):
    """Counts the replies that are being written, and those that were begun."""

    writing = most = begun = 0
    lock = threading.Lock()

    def stream(self, conversation, sampling):
        with self.lock:
            type(self).begun += 1
            type(self).writing += 1
            type(self).most = max(self.most, self.writing)
        try:
            yield from super().stream(conversation, sampling)
        finally:
            with self.lock:
                type(self).writing -= 1

    def generate(self, conversations, sampling):
        return [Reply(text="".join(self.stream(each, sampling))) for each in conversations]


class WholeModel:
    """Writes whole replies alone."""

    class Config(Config):
        """Nothing to set."""

    def __init__(self, config):
        self.config = config

    def generate(self, conversations, sampling):
        return [
            Reply(text="All of it.", finish="length", prompt_tokens=2, reply_tokens=3)
            for _ in conversations
        ]


@pytest.fixture
def counted():
    CountedModel.writing = CountedModel.most = CountedModel.begun = 0
    return CountedModel


def here(concurrency):
    settings = {"script": [SLOW, QUICK]}
    model = f"{__name__}:CountedModel"
    return {"here": {"model": model, "settings": settings, "concurrency": concurrency}}


def body(text, **more):
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


def leave(running, url, asked):
    """Ask, and go away before the reply is there."""
    until = time.monotonic() + 0.3
    try:
        with running.http.stream("POST", url, json=asked, timeout=0.3) as response:
            for _ in response.iter_bytes():
                if time.monotonic() > until:
                    return
    except httpx2.ReadTimeout:
        return
    raise AssertionError("the reply was there at once")


@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_ends_when_its_client_leaves(upstream, counted, stream):
    with gateway(upstream, upstreams=here(2)) as running:
        url = running.url + "/v1/chat/completions"
        for _ in range(5):
            leave(running, url, body("slow", stream=stream))
        running.wait_for(lambda: counted.writing == 0, seconds=2)
        assert counted.most <= 2
        reply = running.post("/v1/chat/completions", body("quick")).json()
        assert reply["choices"][0]["message"]["content"] == "Yes, at once."


@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_that_waits_for_its_turn_is_not_begun_for_a_client_that_left(
    upstream, counted, stream
):
    with gateway(upstream, upstreams=here(1)) as running:
        url = running.url + "/v1/chat/completions"
        with running.http.stream("POST", url, json=body("slow", stream=True)) as response:
            reading = response.iter_bytes()
            next(reading)
            for _ in range(3):
                leave(running, url, body("quick", stream=stream))
            assert counted.begun == 1
        assert said(running.chat("quick")) == "Yes, at once."
        assert (counted.begun, counted.most) == (2, 1)


def test_replies_at_once_are_as_many_as_the_settings_say(upstream, counted):
    with gateway(upstream, upstreams=here(2)) as running:
        threads = [
            threading.Thread(target=lambda: running.chat("slow", max_tokens=5)) for _ in range(5)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (counted.most, counted.begun) == (2, 5)


def test_the_shutdown_ends_what_is_being_written(upstream, counted):
    with gateway(upstream, upstreams=here(1)) as running:
        url = running.url + "/v1/chat/completions"
        leave(running, url, body("slow"))
        began = time.monotonic()
    assert time.monotonic() - began < 4
    assert counted.writing == 0


def test_a_model_that_cannot_stream_writes_whole_replies(upstream):
    whole = {"here": {"model": f"{__name__}:WholeModel"}}
    with gateway(upstream, upstreams=whole) as running:
        reply = running.post("/v1/chat/completions", body("hello", n=2)).json()
        assert [each["message"]["content"] for each in reply["choices"]] == ["All of it."] * 2
        assert reply["choices"][0]["finish_reason"] == "length"
        assert reply["usage"]["total_tokens"] == 10
        response = running.post("/v1/chat/completions", body("hello", stream=True))
        assert response.status_code == 502
        assert response.json()["error"]["code"] == "upstream_error"


class EmojiModel:
    """Two tokens a character, as of text that is not ASCII; takes short prompts alone."""

    class Config(Config):
        """Nothing to set."""

    def __init__(self, config):
        self.config = config

    def prompt_ids(self, conversation):
        text = conversation[-1].content
        if len(text) > 20:
            raise ModelRequestError(f"a conversation of {len(text)} tokens; expected 1 to 20")
        return list(range(len(text)))

    def stream(self, conversation, sampling):
        left = min(sampling.max_tokens, 16) // 2
        for _ in range(left):
            yield "🎂"
        return Ending(finish="length" if left < 8 else "stop", reply_tokens=2 * left)


class SilentModel(EmojiModel):
    """Tells nothing but its text, and takes no prompt with `bad` in it."""

    prompt_ids = None

    def stream(self, conversation, sampling):
        if "bad" in conversation[-1].content:
            raise ModelRequestError("no such prompts")
        return iter(["a", "b"])


def in_process(kind):
    return {"here": {"model": f"{__name__}:{kind.__name__}"}}


@pytest.mark.parametrize(("limit", "finish"), [(12, "length"), (16, "stop"), (200, "stop")])
def test_tokens_and_endings_are_what_the_model_tells(upstream, limit, finish):
    tokens = min(limit, 16)
    usage = {"prompt_tokens": 10, "completion_tokens": 2 * tokens, "total_tokens": 10 + 2 * tokens}
    with gateway(upstream, None, upstreams=in_process(EmojiModel)) as running:
        asked = body("hello", max_tokens=limit, n=2)
        whole = running.post("/v1/chat/completions", asked).json()
        assert [each["finish_reason"] for each in whole["choices"]] == [finish] * 2
        assert whole["usage"] == usage
        options = {"stream_options": {"include_usage": True}, "n": 2}
        chunks = running.chat("hello", max_tokens=limit, **options)
        assert finishes(chunks, 0) == finishes(chunks, 1) == [finish]
        assert chunks[-1]["usage"] == usage


@pytest.mark.parametrize("stream", [False, True])
def test_a_message_tells_its_tokens(upstream, stream):
    asked = body("hello", max_tokens=12, stream=stream)
    with gateway(upstream, None, upstreams=in_process(EmojiModel)) as running:
        if not stream:
            reply = running.post("/v1/messages", asked).json()
            assert (reply["stop_reason"], reply["usage"]["input_tokens"]) == ("max_tokens", 5)
            assert reply["usage"]["output_tokens"] == 12
            return
        events = [json.loads(event.data) for event in running.events("/v1/messages", asked)]
        (start,) = (each for each in events if each["type"] == "message_start")
        (end,) = (each for each in events if each["type"] == "message_delta")
        assert start["message"]["usage"]["input_tokens"] == 5
        assert (end["delta"]["stop_reason"], end["usage"]["output_tokens"]) == ("max_tokens", 12)


def test_a_scripted_model_tells_its_limit(upstream):
    script = {"script": [{"reply": "One two three."}]}
    models = {"here": {"model": "scripted", "settings": script}}
    with gateway(upstream, None, upstreams=models) as running:
        for limit, finish in ((3, "length"), (4, "stop")):
            for stream in (False, True):
                if stream:
                    assert finishes(running.chat("hello", max_tokens=limit)) == [finish]
                else:
                    asked = body("hello", max_tokens=limit)
                    (only,) = running.post("/v1/chat/completions", asked).json()["choices"]
                    assert only["finish_reason"] == finish


@pytest.mark.parametrize("stream", [False, True])
def test_what_a_model_does_not_take_is_the_clients_mistake(upstream, stream):
    with gateway(upstream, upstreams=in_process(EmojiModel)) as running:
        response = running.post("/v1/chat/completions", body("hello " * 9, stream=stream))
        assert response.status_code == 400
        assert (
            "a conversation of 54 tokens; expected 1 to 20" in response.json()["error"]["message"]
        )
    with gateway(upstream, upstreams=in_process(SilentModel)) as running:
        response = running.post("/v1/chat/completions", body("bad", stream=stream))
        assert response.status_code == 400
        assert "no such prompts" in response.json()["error"]["message"]
        assert said(running.chat("good")) == "ab"
        assert finishes(running.chat("good", max_tokens=2)) == ["stop"]
        reply = running.post("/v1/chat/completions", body("good", stream=False)).json()
        assert reply["usage"]["completion_tokens"] == 2
