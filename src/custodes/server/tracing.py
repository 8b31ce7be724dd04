"""Spans for OpenTelemetry, by its conventions for generative AI (semantic-conventions-genai 0.1).

One span a request (SERVER), one for the call of the model within it (CLIENT, or INTERNAL where
the model runs in this process), and an event `gen_ai.evaluation.result` for every verdict. No span
ever holds a prompt or a reply. Where they go is for the SDK's own variables to say
(OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SERVICE_NAME ...). Without `traces` nothing of it is loaded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Protocol

from custodes.errors import MissingExtraError
from custodes.models.sse import ServerEvent
from custodes.server.upstreams.http import HttpUpstreamConfig
from custodes.server.wire.base import Asked, Ruling, Told

if TYPE_CHECKING:
    from opentelemetry.trace import Span, TracerProvider

    from custodes.server.auth import Key
    from custodes.server.config import UpstreamConfig

__all__ = ["NoTracing", "OtelTracing", "Trace", "Tracing", "export_spans"]

_SCHEMA = "https://opentelemetry.io/schemas/gen-ai/0.1.0"
_OPERATIONS = {"/v1/completions": "text_completion"}
_LONGEST = 128
"""Characters of what a client or an upstream calls something."""


class Trace:
    """One request, as far as nobody wants to know of it; the base of those that somebody does."""

    def asks(self, name: str, settings: UpstreamConfig) -> Mapping[str, str]:
        """The model is asked now; gives the headers that carry the trace on to it."""
        return {}

    def watches(self, events: AsyncIterator[ServerEvent]) -> AsyncIterator[ServerEvent]:
        """The reply's events; how long the first one takes is of interest."""
        return events

    def answered(self, told: Told, error: str | None = None) -> None:
        """The model's reply is over; `error`: what went wrong, in a word."""

    def ruled(self, ruling: Ruling, lane: int | None) -> None:
        """A verdict, on a choice or on the input."""

    def ended(self, status: int) -> None:
        """The request is over, with this HTTP status."""


class Tracing(Protocol):
    """Begins traces."""

    def begin(
        self, route: str, headers: Mapping[str, str], *, key: Key, asked: Asked | None = None
    ) -> Trace:
        """A request of this key has come; `asked` where it is one to a model."""
        ...


class NoTracing:
    """Nobody wants to know."""

    def begin(
        self, route: str, headers: Mapping[str, str], *, key: Key, asked: Asked | None = None
    ) -> Trace:
        """A trace that forgets everything."""
        return Trace()


class OtelTracing:
    """Spans by `provider`, or by the one that the process has set."""

    def __init__(self, provider: TracerProvider | None = None) -> None:
        try:
            from opentelemetry import trace
        except ModuleNotFoundError as error:
            raise MissingExtraError("opentelemetry", "otel") from error
        self._tracer = trace.get_tracer("custodes", tracer_provider=provider, schema_url=_SCHEMA)

    def begin(
        self, route: str, headers: Mapping[str, str], *, key: Key, asked: Asked | None = None
    ) -> Trace:
        """A span for the request, within the trace that its headers name."""
        from opentelemetry import propagate
        from opentelemetry.trace import SpanKind

        span = self._tracer.start_span(
            f"POST {route}",
            context=propagate.extract(headers),
            kind=SpanKind.SERVER,
            attributes={
                "http.request.method": "POST",
                "http.route": route,
                "custodes.key": key.id,
                "custodes.mode": key.mode,
            },
        )
        return _Spans(self._tracer, span, route, asked)


class _Spans(Trace):
    """The spans of one request."""

    def __init__(self, tracer: Any, span: Span, route: str, asked: Asked | None) -> None:
        self._tracer = tracer
        self._request = span
        self._route = route
        self._asked = asked
        self._model: Span | None = None

    def asks(self, name: str, settings: UpstreamConfig) -> Mapping[str, str]:
        """Begins the model's span."""
        from opentelemetry import propagate, trace

        if self._asked is None:
            raise AssertionError("no model is asked in this request")
        remote = isinstance(settings, HttpUpstreamConfig)
        kind = trace.SpanKind.CLIENT if remote else trace.SpanKind.INTERNAL
        operation = _OPERATIONS.get(self._route, "chat")
        within = trace.set_span_in_context(self._request)
        self._model = self._tracer.start_span(
            f"{operation} {self._asked.model[:_LONGEST]}",
            context=within,
            kind=kind,
            attributes={
                "gen_ai.operation.name": operation,
                "custodes.upstream": name,
                **_settings(self._asked),
                **_server(self._route, settings),
            },
        )
        carried: dict[str, str] = {}
        propagate.inject(carried, context=trace.set_span_in_context(self._model))
        return carried

    async def watches(self, events: AsyncIterator[ServerEvent]) -> AsyncIterator[ServerEvent]:
        """Notes how long the first one takes."""
        began: int | None = monotonic_ns()
        async for event in events:
            if began is not None and self._model is not None:
                seconds = (monotonic_ns() - began) / 1e9
                self._model.set_attribute("gen_ai.response.time_to_first_chunk", seconds)
                began = None
            yield event

    def answered(self, told: Told, error: str | None = None) -> None:
        """Ends the model's span."""
        from opentelemetry.trace import Status, StatusCode

        if self._model is None:
            return
        for name, value in _said(told).items():
            self._model.set_attribute(name, value)
        if error is not None:
            self._model.set_attribute("error.type", error)
            self._model.set_status(Status(StatusCode.ERROR))
        self._model.end()
        self._model = None

    def ruled(self, ruling: Ruling, lane: int | None) -> None:
        """An event of the request's span."""
        verdict = ruling.verdict
        found = {
            "gen_ai.evaluation.name": verdict.rule or "harmful",
            "gen_ai.evaluation.score.value": verdict.score,
            "gen_ai.evaluation.score.label": verdict.action.value,
            "custodes.judged": verdict.mode.value,
            "custodes.constitution": verdict.constitution,
            "custodes.artifact": verdict.artifact,
        }
        if lane is not None:
            found["custodes.choice"] = lane
        if verdict.failure is not None:
            found["error.type"] = "guard_failed"
        if self._request.is_recording():  # a verdict of a shadow may come after the request
            self._request.add_event("gen_ai.evaluation.result", found)

    def ended(self, status: int) -> None:
        """Ends whatever is still open."""
        from opentelemetry.trace import Status, StatusCode

        self.answered(Told(), "cancelled")
        self._request.set_attribute("http.response.status_code", status)
        if status >= 500:
            self._request.set_attribute("error.type", str(status))
            self._request.set_status(Status(StatusCode.ERROR))
        self._request.end()


def _settings(asked: Asked) -> dict[str, Any]:
    """What was asked for, without a word of the prompt; stop sequences are the client's words."""
    found: dict[str, Any] = {
        "gen_ai.request.model": asked.model[:_LONGEST],
        "gen_ai.request.stream": asked.stream,
    }
    if asked.choices_each != 1:
        found["gen_ai.request.choice.count"] = asked.choices_each
    if asked.max_tokens is not None:
        found["gen_ai.request.max_tokens"] = asked.max_tokens
    if asked.temperature:
        found["gen_ai.request.temperature"] = asked.temperature
    return found


def _server(route: str, settings: UpstreamConfig) -> dict[str, Any]:
    if not isinstance(settings, HttpUpstreamConfig):
        return {"gen_ai.provider.name": "custodes"}
    return {
        "gen_ai.provider.name": "anthropic" if route == "/v1/messages" else "openai",
        "server.address": settings.url.host or "",
        "server.port": settings.url.port or 0,
    }


def _said(told: Told) -> dict[str, Any]:
    names = {
        "gen_ai.response.id": told.id,
        "gen_ai.response.model": told.model,
        "gen_ai.usage.input_tokens": told.input_tokens,
        "gen_ai.usage.output_tokens": told.output_tokens,
        "gen_ai.response.finish_reasons": list(told.finishes) or None,
    }
    return {name: value for name, value in names.items() if value is not None}


def export_spans() -> None:
    """Send this process's spans by OTLP over HTTP, in batches, the last ones at its end."""
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise MissingExtraError("opentelemetry", "otel") from error
    named = Resource({SERVICE_NAME: "custodes"}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=named)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
