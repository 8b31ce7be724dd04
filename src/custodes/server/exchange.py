"""One request to a model, from the verdict on its input to the last byte of its reply.

A response of its own: it watches for the client's leaving from the first moment, and whatever
happens the upstream is let go.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from custodes.errors import ModelError, ModelServerError
from custodes.guard import Decision
from custodes.server.auth import Key
from custodes.server.flow import Bench, Flow, Terms, status_of
from custodes.server.hearing import Hearing, failure, judge_text
from custodes.server.judging import JudgingError
from custodes.server.service import Chair, Service
from custodes.server.upstreams.base import Answered, Call, Upstream
from custodes.server.wire.base import RequestError, Ruling, Wire, WireReply, guard_object
from custodes.types import Action, Conversation, Message, Mode

__all__ = ["Exchange"]

_log = logging.getLogger("custodes.server")
_FORWARDED = ("anthropic-version", "anthropic-beta")
_PASSED_STATUS = frozenset({400, 404, 413, 422, 429})
_GRACE = 2.0
"""Seconds that a client has for the last words of a request whose time is over."""


class Exchange(Response):
    """Serves one request; `headers`: the client's."""

    def __init__(
        self,
        service: Service,
        wire: Wire,
        body: dict[str, Any],
        *,
        key: Key,
        headers: Mapping[str, str],
    ) -> None:
        self.background = None  # what FastAPI looks for in a response
        self._service = service
        self._wire = wire
        self._key = key
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._id = service.new_id()
        self._chair: Chair | None = service.chair
        allowed = service.config.allow_unjudged_parts
        self._asked = wire.ask(body, allow_unjudged=allowed)
        self._upstream, name = service.pick(self._asked.model, wire.route)
        watching = self._chair.guard.guarded if self._chair else None
        choices = range(self._asked.choices)
        records = tuple(watching.record() for _ in choices) if watching else ()
        self._call = Call(
            route=wire.route,
            body={**body, "model": name},
            asked=self._asked,
            headers={each: headers[each] for each in _FORWARDED if each in headers},
            records=records,
        )
        self._trace = service.tracing.begin(wire.route, headers, key=key, asked=self._asked)
        explain = service.explains(key, headers) or key.mode == "flag"
        self._terms = Terms(
            enforce=key.mode == "enforce",
            checked=service.checked(self._chair),
            patient=key.mode != "shadow",
            explain=explain and key.mode != "shadow",
            until=self._began + service.config.request_seconds,
        )
        self._hearing = (
            Hearing(self._chair.guard, self._asked, records=records) if self._chair else None
        )
        self._started = False
        self._broken: str | None = None
        self._status = 500

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve until the reply is out or the client has left, or does not read in time.

        A client that reads no more keeps `send` waiting, whatever the request's own clock says: it
        must not keep a connection to the upstream with it.
        """
        metrics = self._service.metrics
        metrics.open.inc()
        serving = self._loop.create_task(self._serve(send))
        watching = self._loop.create_task(_gone(receive))
        try:
            await asyncio.wait(
                [serving, watching],
                timeout=self._terms.until + _GRACE - self._loop.time(),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not serving.done():
                metrics.disconnects.inc()
                self._status = 499
        finally:
            watching.cancel()
            serving.cancel()
            with suppress(asyncio.CancelledError):
                await serving
            metrics.open.dec()
            self._trace.ended(self._status)
            metrics.requests.labels(self._wire.route, self._status).inc()
            metrics.seconds.labels(self._wire.route).observe(self._loop.time() - self._began)

    async def _serve(self, send: Send) -> None:
        reply = self._wire.reply(self._asked, id_=self._id, created=int(self._service.clock.now()))
        try:
            async with asyncio.timeout_at(self._terms.until):
                ruling = await self._judge_input()
                if ruling is not None and self._stops(ruling):
                    await self._refuse(reply, ruling, send)
                    return
            await self._ask(reply, send, ruling)
        except ModelError as error:
            self._count(error)
            status, message = status_of(error)
            await self._fail(send, RequestError(message, status=status, code="upstream_error"))
        except TimeoutError:
            await self._fail(send, RequestError("the request took too long", status=504))
        except RequestError as error:
            await self._fail(send, error)

    def _stops(self, ruling: Ruling) -> bool:
        return self._terms.enforce and ruling.verdict.action is Action.STOP

    async def _fail(self, send: Send, error: RequestError) -> None:
        if self._started:
            return
        body = self._wire.error(error.status, str(error), code=error.code, param=error.param)
        await self._send_json(send, error.status, body, error.headers)

    # The input

    async def _judge_input(self) -> Ruling | None:
        """The ruling that stops or flags the input, or None."""
        if self._chair is None:
            return None
        if self._key.mode == "shadow":
            self._service.background(self._weigh(self._chair))
            return None
        return await self._weigh(self._chair)

    async def _weigh(self, chair: Chair) -> Ruling | None:
        began = self._loop.time()
        said: Conversation = ()
        try:
            heard = await self._service.pool.run(lambda: chair.intake.judge(self._asked))
            decision, said = heard.decision, heard.said
        except JudgingError as error:
            verdict = failure(chair.guard, Mode.INPUT, str(error))
            decision = Decision(action=verdict.action, verdict=verdict)
        self._service.metrics.judging.labels("input").observe(self._loop.time() - began)
        if decision.verdict is None:
            raise AssertionError("a decision without a verdict")
        stopped = decision.action is Action.STOP
        ruling = Ruling(
            verdict=decision.verdict,
            stop_at=0 if stopped and self._terms.enforce else None,
            logits=decision.logits,
            explain=self._terms.explain,
        )
        self._report(ruling, None, said)
        return ruling if stopped or decision.verdict.flags else None

    def _report(self, ruling: Ruling, lane: int | None, said: Conversation = ()) -> None:
        """`said`: what a ruling on the input is of; of a reply the hearing knows it."""
        self._trace.ruled(ruling, lane)
        text = None
        if self._service.config.keep_text:
            text = "\n".join(turn.content for each in self._asked.conversations for turn in each)
            if lane is not None and self._hearing is not None:
                text = self._hearing.text(lane)
                said = self._hearing.said(lane, ruling.verdict)
        self._service.report(
            ruling,
            key=self._key,
            route=self._wire.route,
            latency=self._loop.time() - self._began,
            text=text,
            said=said if self._service.config.keep_text else (),
        )

    async def _refuse(self, reply: WireReply, ruling: Ruling, send: Send) -> None:
        """Answer in the place of the upstream: a reply that was cut before it began."""
        if not self._asked.stream:
            await self._send_json(send, 200, reply.refusal(ruling))
            return
        await self._start(send)
        lanes = b"".join(reply.cut(lane, ruling) for lane in range(self._asked.choices))
        await _send(send, lanes + reply.close(), more=False)

    # The reply

    async def _ask(self, reply: WireReply, send: Send, ruling: Ruling | None) -> None:
        upstream = self._upstream.name
        carried = self._trace.asks(upstream, self._service.config.upstreams[upstream])
        call = replace(self._call, headers={**self._call.headers, **carried})
        try:
            await self._converse(call, reply, send, ruling)
        except (ModelError, TimeoutError, RequestError) as error:
            self._broken = self._broken or type(error).__name__
            raise
        finally:
            self._trace.answered(reply.told, self._broken)

    async def _converse(
        self, call: Call, reply: WireReply, send: Send, ruling: Ruling | None
    ) -> None:
        async with asyncio.timeout_at(self._terms.until):
            context = self._upstream.ask(call)
            answered = await context.__aenter__()
        try:
            if answered.status >= 400:
                async with asyncio.timeout_at(self._terms.until):
                    raise await self._refusal_of(self._upstream, answered)
            if self._asked.stream:
                await self._stream(reply, answered, send, ruling)
            else:
                await self._whole(reply, answered, send, ruling)
        finally:
            await context.__aexit__(None, None, None)

    def _flow(self, reply: WireReply, ruling: Ruling | None) -> Flow:
        bench = None
        if self._chair is not None and self._hearing is not None:
            bench = Bench(guard=self._chair.guard, hearing=self._hearing, pool=self._service.pool)
        return Flow(
            reply,
            self._asked.choices,
            bench=bench,
            terms=self._terms,
            metrics=self._service.metrics,
            report=self._report,
            noted=ruling,
        )

    async def _stream(
        self, reply: WireReply, answered: Answered, send: Send, ruling: Ruling | None
    ) -> None:
        if answered.events is None:
            raise ModelServerError("asked for a stream, the upstream sent none")
        flow = self._flow(reply, ruling)
        await self._start(send)
        output = flow.stream(self._trace.watches(answered.events))
        try:
            async for data in output:
                await _send(send, data, more=True)
        finally:
            await output.aclose()  # type: ignore[attr-defined]
            self._linger(flow)
        if flow.fault is not None:
            self._count(flow.fault)
        await _send(send, b"", more=False)

    async def _whole(
        self, reply: WireReply, answered: Answered, send: Send, ruling: Ruling | None
    ) -> None:
        if answered.body is None:
            raise ModelServerError("asked for a whole reply, the upstream sent a stream")
        flow = self._flow(reply, ruling)
        async with asyncio.timeout_at(self._terms.until):
            outcome = await flow.whole(answered.body)
        body = answered.body
        if outcome.cuts:
            body = reply.rebuild(body, outcome.kept, outcome.cuts)
        elif self._terms.explain and (worst := outcome.worst) is not None:
            body = {**body, "guard": guard_object(worst)}
        self._linger(flow)
        await self._send_json(send, 200, body)

    def _linger(self, flow: Flow) -> None:
        """Whatever became of the client: what it has got is judged and recorded."""
        if flow.owing:
            self._service.background(flow.linger())

    async def _refusal_of(self, upstream: Upstream, answered: Answered) -> RequestError:
        """An upstream's error for the client; its words only where they were judged and clean."""
        self._broken = str(answered.status)
        self._service.metrics.upstream_errors.labels(upstream.name, self._broken).inc()
        if answered.status not in _PASSED_STATUS:
            status = 503 if answered.status in (503, 529) else 502
            return RequestError("the upstream failed", status=status, code="upstream_error")
        error = (answered.body or {}).get("error")
        said = error.get("message") if isinstance(error, dict) else None
        words = said if isinstance(said, str) and await self._clean(said) else "it gave no reason"
        return RequestError(
            f"the upstream refused the request: {words}",
            status=answered.status,
            code="upstream_refused",
            headers=answered.headers,
        )

    async def _clean(self, text: str) -> bool:
        chair = self._chair
        if chair is None or not self._terms.enforce:
            return True
        conversation = (*self._asked.conversations[0], Message("assistant", text))
        try:
            decision = await self._service.pool.run(lambda: judge_text(chair.guard, conversation))
        except JudgingError:
            return False
        return decision.action is not Action.STOP and not (
            decision.verdict is not None and decision.verdict.failure
        )

    def _count(self, error: ModelError) -> None:
        kind = self._broken = type(error).__name__
        self._service.metrics.upstream_errors.labels(self._upstream.name, kind).inc()
        _log.warning(
            "the upstream failed",
            extra={"fields": {"id": self._id, "upstream": self._upstream.name, "kind": kind}},
        )

    # Sending

    def _head(self, kind: bytes) -> list[tuple[bytes, bytes]]:
        return [(b"content-type", kind), (b"x-request-id", self._id.encode("ascii"))]

    async def _start(self, send: Send) -> None:
        self._started, self._status = True, 200
        headers = self._head(b"text/event-stream; charset=utf-8")
        headers += [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _send_json(
        self, send: Send, status: int, body: Any, headers: Mapping[str, str] | None = None
    ) -> None:
        self._started, self._status = True, status
        data = json.dumps(body, separators=(",", ":")).encode("ascii")
        all_headers = self._head(b"application/json")
        all_headers.append((b"content-length", str(len(data)).encode("ascii")))
        all_headers += [
            (n.encode("latin-1"), v.encode("latin-1")) for n, v in (headers or {}).items()
        ]
        await send({"type": "http.response.start", "status": status, "headers": all_headers})
        await _send(send, data, more=False)


async def _send(send: Send, data: bytes, *, more: bool) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def _gone(receive: Receive) -> None:
    """Returns when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
