"""Verdicts without a model: moderations and decisions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from custodes.server.assess import Assessment, assess
from custodes.server.auth import Key
from custodes.server.judging import JudgingError
from custodes.server.routes.body import expects, read_object, service_of
from custodes.server.service import Chair, Service
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
    found = await _assess(request, service, key, [(Message("user", text),) for text in texts])
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
    (found,) = await _assess(request, service, key, [conversation])
    known = _chair(service).names
    answers = [
        wire_decisions.answer(question, harm=found.harm, rules=_by_name(found), known=known)
        for question in questions
    ]
    letters = sum(len(turn.content) for turn in conversation)
    return JSONResponse(wire_decisions.response(answers, model=model, letters=letters))


def _chair(service: Service) -> Chair:
    if service.chair is None:
        raise RequestError("this gateway runs without a guard", status=503, code="no_guard")
    return service.chair


async def _assess(
    request: Request, service: Service, key: Key, conversations: Sequence[Conversation]
) -> list[Assessment]:
    """Judge on a judging thread and record every verdict."""
    guard = _chair(service).guard
    route = request.url.path
    trace = service.tracing.begin(route, request.headers, key=key)
    began = service.clock.monotonic()
    try:
        found = await service.pool.run(lambda: assess(guard, conversations))
    except JudgingError as error:
        service.metrics.failures.inc()
        trace.ended(503)
        raise RequestError(f"the guard failed: {error}", status=503, code="guard_failed") from error
    latency = service.clock.monotonic() - began
    service.metrics.judging.labels("text").observe(latency)
    for each, conversation in zip(found, conversations, strict=True):
        if each.decision.verdict is None:
            raise AssertionError("a decision without a verdict")
        text = "\n".join(turn.content for turn in conversation)
        ruling = Ruling(verdict=each.decision.verdict, logits=each.decision.logits)
        trace.ruled(ruling, None)
        service.report(
            ruling,
            key=key,
            route=route,
            latency=latency,
            text=text if service.config.keep_text else None,
            said=conversation if service.config.keep_text else (),
        )
    trace.ended(200)
    return found


def _by_name(found: Assessment) -> dict[str, float]:
    return {str(rule): probability for rule, probability in found.rules.items()}


def _flagged(found: Assessment) -> bool:
    verdict = found.decision.verdict
    return found.decision.action is Action.STOP or bool(verdict and verdict.flags)


def _rule(found: Assessment) -> Any:
    verdict = found.decision.verdict
    return verdict.rule if verdict is not None else None
