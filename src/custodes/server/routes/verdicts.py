"""Verdicts without a model: moderations and decisions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from custodes.guard import Decision, mode_of
from custodes.server.assess import Assessment, assess
from custodes.server.auth import Key
from custodes.server.hearing import failure
from custodes.server.judging import JudgingError
from custodes.server.routes.body import expects, read_object, service_of
from custodes.server.service import Chair, Service
from custodes.server.tracing import Trace
from custodes.server.wire import decisions as wire_decisions
from custodes.server.wire import moderations as wire_moderations
from custodes.server.wire.base import RequestError, Ruling
from custodes.types import Action, Conversation, Message

__all__ = ["router"]

router = APIRouter(tags=["verdicts"])

_TEXT = {"required": True, "anyOf": [{"type": "string"}, {"type": "array", "minItems": 1}]}


@router.post("/v1/moderations", openapi_extra=expects(input=_TEXT, model={"type": "string"}))
async def moderations(request: Request) -> Response:
    """Whether texts are harmful, by category: a drop-in for OpenAI's."""
    service = service_of(request)
    key = await service.admit(request.headers)
    body = await read_object(request)
    allowed = service.config.allow_unjudged_parts
    texts, model = wire_moderations.ask(body, allow_unjudged=allowed)
    asked = [(Message("user", text),) for text in texts]
    found = await _assess(request, _chair(service), key, asked)
    results = [
        wire_moderations.result(flagged=_flagged(each), rule=_rule(each), rules=_by_name(each))
        for each in found
    ]
    return JSONResponse(wire_moderations.response(results, id_=service.new_id(), model=model))


@router.post(
    "/v1/decisions",
    openapi_extra=expects(
        input=_TEXT,
        questions={
            "required": True,
            "type": "array",
            "minItems": 1,
            "items": {"type": "object", "required": ["type", "instructions"]},
        },
        model={"type": "string"},
    ),
)
async def decisions(request: Request) -> Response:
    """Typed questions about an input, probabilities out: every rule is a predicate."""
    service = service_of(request)
    key = await service.admit(request.headers)
    body = await read_object(request)
    allowed = service.config.allow_unjudged_parts
    conversation, questions, model = wire_decisions.ask(body, allow_unjudged=allowed)
    chair = _chair(service)  # of the whole request, whatever is reloaded meanwhile
    (found,) = await _assess(request, chair, key, [conversation])
    answers = [
        wire_decisions.answer(question, harm=found.harm, rules=_by_name(found), known=chair.names)
        for question in questions
    ]
    letters = sum(len(turn.content) for turn in conversation)
    return JSONResponse(wire_decisions.response(answers, model=model, letters=letters))


def _chair(service: Service) -> Chair:
    if service.chair is None:
        raise RequestError("this gateway runs without a guard", status=503, code="no_guard")
    return service.chair


async def _assess(
    request: Request, chair: Chair, key: Key, conversations: Sequence[Conversation]
) -> list[Assessment]:
    """Judge each on a judging thread and record every verdict, one that could not be had, too."""
    service, route = service_of(request), request.url.path
    trace = service.tracing.begin(route, request.headers, key=key)
    status = 500
    try:
        async with asyncio.timeout(service.config.request_seconds):
            found = [
                await _judge(request, chair, conversation, key=key, trace=trace)
                for conversation in conversations
            ]
        status = 200
        return found
    except TimeoutError:
        status = 504
        raise RequestError(
            f"{route}: the request took too long; send fewer texts in one", status=status
        ) from None
    except RequestError as error:
        status = error.status
        raise
    finally:
        trace.ended(status)


async def _judge(
    request: Request, chair: Chair, conversation: Conversation, *, key: Key, trace: Trace
) -> Assessment:
    service, began = service_of(request), service_of(request).clock.monotonic()
    failed: JudgingError | None = None
    try:
        found = await service.pool.run(lambda: assess(chair.guard, conversation))
        decision = found.decision
    except JudgingError as error:
        failed = error
        verdict = failure(chair.guard, mode_of(conversation), str(error))
        decision = Decision(action=verdict.action, verdict=verdict)
    latency = service.clock.monotonic() - began
    service.metrics.judging.labels("text").observe(latency)
    if decision.verdict is None:
        raise AssertionError("a decision without a verdict")
    ruling = Ruling(verdict=decision.verdict, logits=decision.logits)
    trace.ruled(ruling, None)
    kept = service.config.keep_text
    service.report(
        ruling,
        key=key,
        route=request.url.path,
        latency=latency,
        text="\n".join(turn.content for turn in conversation) if kept else None,
        said=conversation if kept else (),
    )
    if failed is not None:
        raise RequestError(
            f"the guard failed: {failed}", status=503, code="guard_failed"
        ) from failed
    return found


def _by_name(found: Assessment) -> dict[str, float]:
    return {str(rule): probability for rule, probability in found.rules.items()}


def _flagged(found: Assessment) -> bool:
    verdict = found.decision.verdict
    return found.decision.action is Action.STOP or bool(verdict and verdict.flags)


def _rule(found: Assessment) -> Any:
    verdict = found.decision.verdict
    return verdict.rule if verdict is not None else None
