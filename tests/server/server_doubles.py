"""A real gateway on a free port, a real scripted upstream behind it, a scripted guard within."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from custodes.classifiers.scripted import Pattern, ScriptedConfig, ScriptedScorer
from custodes.guard import Cascade, Edition, Guard, Policy, Stage
from custodes.models.sse import EventDecoder, ServerEvent
from custodes.server.demonstration import serve_in_thread
from custodes.server.events import MemorySink
from custodes.server.scripted import Script, ScriptedUpstream
from custodes.types import RuleId

MARKER = "forbidden cake"
CAKE = RuleId("cake")
PIE = RuleId("pie")


def make_guard(*, version: str = "1", policy: Policy | None = None, **scorer: Any) -> Guard:
    values = {
        "rules": (CAKE, PIE),
        "patterns": (Pattern(regex=MARKER, logit=4, rule=CAKE),),
        "step": 1,
        **scorer,
    }
    sleep = values.pop("sleep", time.sleep)
    stage = Stage(scorer=ScriptedScorer(ScriptedConfig(**values), sleep=sleep))
    return Guard(
        Cascade([stage]),
        policy or Policy(hold_back=len(MARKER) - 1),
        edition=Edition(id="bakery", version=version),
        artifact=f"artifact-{version}",
        clock=time.monotonic,
    )


@dataclass
class Running:
    """A gateway at work."""

    url: str
    sink: MemorySink
    upstream: ScriptedUpstream
    app: Any
    http: httpx2.Client = field(repr=False)

    def post(self, path: str, body: Any, **options: Any) -> httpx2.Response:
        return self.http.post(self.url + path, json=body, **options)

    def events(self, path: str, body: Any, **options: Any) -> list[ServerEvent]:
        decoder = EventDecoder()
        found = []
        with self.http.stream("POST", self.url + path, json=body, **options) as response:
            assert response.status_code == 200, response.read()
            for data in response.iter_bytes():
                found += decoder.push(data)
        return found

    def drain(self, path: str, body: Any) -> int:
        """Read a stream to its end without looking at it; how many bytes came."""
        with self.http.stream("POST", self.url + path, json=body) as response:
            return sum(map(len, response.iter_bytes()))

    def chat(self, script: Script | str, **body: Any) -> list[dict[str, Any]]:
        """The chunks of a streamed chat completion."""
        headers = body.pop("headers", {})
        text = script if isinstance(script, str) else script.prompt()
        messages = [{"role": "user", "content": text}]
        request = {"model": "m", "messages": messages, "stream": True, **body}
        events = self.events("/v1/chat/completions", request, headers=headers)
        return [json.loads(event.data) for event in events if event.data != "[DONE]"]

    def wait_for(self, condition: Callable[[], bool], seconds: float = 5) -> None:
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, "waited in vain"
            time.sleep(0.01)


def said(chunks: list[dict[str, Any]], lane: int = 0) -> str:
    return "".join(
        choice["delta"].get("content") or ""
        for chunk in chunks
        for choice in chunk.get("choices", [])
        if choice["index"] == lane
    )


def finishes(chunks: list[dict[str, Any]], lane: int = 0) -> list[str]:
    return [
        choice["finish_reason"]
        for chunk in chunks
        for choice in chunk.get("choices", [])
        if choice["index"] == lane and choice["finish_reason"]
    ]


@contextmanager
def gateway(
    upstream: ScriptedUpstream,
    guard: Callable[[], Guard] | None = make_guard,
    *,
    tracing: Any = None,
    **settings: Any,
) -> Iterator[Running]:
    from custodes.server.app import build_app, build_parts
    from custodes.server.config import GatewayConfig

    values = {
        "guard": None if guard is None else "scripted",
        "upstreams": {"main": {"url": upstream.url, "kind": "both", "idle_seconds": 2}},
        "no_auth": "keys" not in settings,
        **settings,
    }
    config = GatewayConfig.parse(values)
    sink = MemorySink()
    parts = build_parts(config, sink=sink, tracing=tracing, loader=lambda name: guard())
    app = build_app(config, parts)
    with serve_in_thread(app) as url, httpx2.Client(timeout=20, trust_env=False) as http:
        yield Running(url, sink, upstream, app, http)


@pytest.fixture(scope="session")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as running:
        yield running


@pytest.fixture(scope="module")
def running(upstream: ScriptedUpstream) -> Iterator[Running]:
    with gateway(upstream) as found:
        yield found
