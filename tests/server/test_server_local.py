"""Models in this process: how many replies are written at once, and when they end."""

import threading
import time

import httpx2
import pytest
from server_doubles import gateway, said

from custodes.config import Config
from custodes.models import Reply
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
        assert running.chat("hello")[-1]["error"]["code"] == "upstream_error"
