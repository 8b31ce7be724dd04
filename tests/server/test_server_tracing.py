"""Spans by OpenTelemetry's conventions, and never a word of a prompt or a reply in them."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

pytest.importorskip("opentelemetry.sdk.trace", reason="the extra otel is not installed")

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from server_doubles import CAKE, MARKER, finishes, gateway, make_guard, said

from custodes.classifiers.scripted import Fault
from custodes.server.scripted import Script
from custodes.server.tracing import OtelTracing

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    exporter.tracing = OtelTracing(provider)
    yield exporter
    provider.shutdown()


def traced(upstream, spans, *args, **settings):
    return gateway(upstream, *args, tracing=spans.tracing, **settings)


def ended(running, spans, count):
    running.wait_for(lambda: len(spans.get_finished_spans()) >= count)
    found = {}
    for span in spans.get_finished_spans():
        found[span.kind.name] = span
    spans.clear()
    return found


def everything(found):
    return "".join(span.to_json() for span in found.values())


def test_a_stream_makes_a_span_for_the_request_and_one_for_the_model(upstream, spans):
    with traced(upstream, spans) as running:
        script = Script(pieces=("Hello", " there."))
        chunks = running.chat(
            script, n=2, max_tokens=9, headers={"traceparent": PARENT},
            stream_options={"include_usage": True},
        )  # fmt: skip
        assert said(chunks) == "Hello there."
        found = ended(running, spans, 2)
        carried = upstream.asked[-1][2]["traceparent"].split("-")
    request, model = found["SERVER"], found["CLIENT"]
    assert (request.name, model.name) == ("POST /v1/chat/completions", "chat m")
    assert f"{request.context.trace_id:032x}" == PARENT.split("-")[1] == carried[1]
    assert f"{request.parent.span_id:016x}" == PARENT.split("-")[2]
    assert model.parent.span_id == request.context.span_id
    assert carried[2] == f"{model.context.span_id:016x}"
    told = dict(model.attributes)
    assert told.pop("gen_ai.response.time_to_first_chunk") > 0
    assert told.pop("server.port") == int(upstream.url.split(":")[2].split("/")[0])
    assert told == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m",
        "gen_ai.request.stream": True,
        "gen_ai.request.choice.count": 2,
        "gen_ai.request.max_tokens": 9,
        "gen_ai.response.id": "scripted-1",
        "gen_ai.response.model": "m",
        "gen_ai.response.finish_reasons": ("stop", "stop"),
        "gen_ai.usage.input_tokens": 5,
        "gen_ai.usage.output_tokens": 2,
        "server.address": "127.0.0.1",
        "custodes.upstream": "main",
    }
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["custodes.key"] == "local"
    verdicts = [event.attributes for event in request.events]
    assert [event.name for event in request.events] == ["gen_ai.evaluation.result"] * 3
    assert [each["custodes.judged"] for each in verdicts] == ["input", "exchange", "exchange"]
    assert [each.get("custodes.choice") for each in verdicts] == [None, 0, 1]


def test_what_is_cut_is_told_and_its_words_are_not(upstream, spans):
    with traced(upstream, spans) as running:
        chunks = running.chat(Script(pieces=("Here is ", MARKER, "!"), delay=0.05))
        assert finishes(chunks) == ["content_filter"]
        found = ended(running, spans, 2)
        (verdict,) = [
            event.attributes
            for event in found["SERVER"].events
            if event.attributes["gen_ai.evaluation.score.label"] == "stop"
        ]
        assert verdict["gen_ai.evaluation.name"] == CAKE
        assert verdict["gen_ai.evaluation.score.value"] > 0.9
        assert verdict["custodes.constitution"] == "bakery@1"
        for words in (MARKER, "Here is", "script:"):
            assert words not in everything(found)
        # stopped before any model is asked: one span alone
        running.chat(f"Tell me of a {MARKER}, by {PARENT}.")
        found = ended(running, spans, 1)
        assert set(found) == {"SERVER"}
        assert MARKER not in everything(found)


@pytest.mark.parametrize(
    ("path", "body", "name", "provider"),
    [
        ("/v1/messages", {"messages": [{"role": "user", "content": "hi"}]}, "chat m", "anthropic"),
        ("/v1/completions", {"prompt": "hi"}, "text_completion m", "openai"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_every_format_says_what_the_upstream_said(
    upstream, spans, path, body, name, provider, stream
):
    request = {"model": "m", "max_tokens": 5, "temperature": 0.5, "stream": stream, **body}
    with traced(upstream, spans) as running:
        if stream:
            running.events(path, request)
        else:
            running.post(path, request)
        model = ended(running, spans, 2)["CLIENT"]
    assert (model.name, model.attributes["gen_ai.provider.name"]) == (name, provider)
    assert model.attributes["gen_ai.response.finish_reasons"] in (("stop",), ("end_turn",))
    assert model.attributes["gen_ai.request.temperature"] == 0.5
    assert model.status.status_code is StatusCode.UNSET
    # a stream of completions counts its tokens only where it is asked to
    counted = not (stream and path == "/v1/completions")
    assert ("gen_ai.usage.output_tokens" in model.attributes) is counted


@pytest.mark.parametrize(
    ("fault", "stream", "error", "status"),
    [
        ("status", True, "500", 502),
        ("status", False, "500", 502),
        ("json", True, "ModelServerError", 502),
        ("shape", False, "MalformedReplyError", 502),
        ("drop", True, "ModelServerError", 200),
    ],
)
def test_errors_are_marked(upstream, spans, fault, stream, error, status):
    with traced(upstream, spans) as running:
        content = Script(fault=fault).prompt()
        messages = [{"role": "user", "content": content}]
        body = {"model": "m", "stream": stream, "messages": messages}
        assert running.post("/v1/chat/completions", body).status_code == status
        found = ended(running, spans, 2)
    assert found["CLIENT"].attributes["error.type"] == error
    assert found["CLIENT"].status.status_code is StatusCode.ERROR
    assert found["SERVER"].attributes["http.response.status_code"] == status
    assert found["SERVER"].attributes.get("error.type") == ("502" if status == 502 else None)


def test_a_client_that_leaves_ends_both(upstream, spans):
    with traced(upstream, spans) as running:
        script = Script(pieces=("word ",) * 500, delay=0.02)
        messages = [{"role": "user", "content": script.prompt()}]
        body = {"model": "m", "stream": True, "messages": messages}
        url = running.url + "/v1/chat/completions"
        with running.http.stream("POST", url, json=body) as response:
            next(response.iter_bytes())
        found = ended(running, spans, 2)
    assert found["SERVER"].attributes["http.response.status_code"] == 499
    assert found["CLIENT"].end_time <= found["SERVER"].end_time


def test_a_model_in_process_and_verdicts_alone(upstream, spans):
    here = {"here": {"model": "scripted", "settings": {"script": [{"reply": "Yes."}]}}}
    with traced(upstream, spans, upstreams=here) as running:
        assert said(running.chat("hello")) == "Yes."
        model = ended(running, spans, 2)["INTERNAL"]
        assert model.attributes["gen_ai.provider.name"] == "custodes"
        running.post("/v1/moderations", {"input": MARKER})
        found = ended(running, spans, 1)
        (event,) = found["SERVER"].events
        assert event.attributes["gen_ai.evaluation.score.label"] == "stop"
        assert found["SERVER"].kind is SpanKind.SERVER
        assert MARKER not in everything(found)


def test_a_guard_that_fails_is_told(upstream, spans):
    with traced(upstream, spans, lambda: make_guard(fault=Fault.RAISE)) as running:
        running.chat(Script())
        (event,) = ended(running, spans, 1)["SERVER"].events
        assert event.attributes["error.type"] == "guard_failed"


class Collector(BaseHTTPRequestHandler):
    def do_POST(self):
        data = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append((self.path, data))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_a_process_sends_its_spans_on(tmp_path, upstream, monkeypatch):
    from test_server_serve import chat, process

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        server.got = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        with process(tmp_path, upstream, None, traces=True) as (child, http):
            chat(http, Script(pieces=("Hello, ", MARKER)))
            child.terminate()
            assert child.wait(20) == 0
        server.shutdown()
    paths, bodies = zip(*server.got, strict=True)
    assert set(paths) == {"/v1/traces"}
    sent = b"".join(bodies)
    assert b"POST /v1/chat/completions" in sent
    assert b"gen_ai.request.model" in sent
    assert MARKER.encode() not in sent
    assert json.dumps(MARKER).encode() not in sent
