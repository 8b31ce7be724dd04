"""Replies of a model: chat completions, messages, text completions."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from custodes.server.exchange import Exchange
from custodes.server.routes.body import expects, read_object, service_of
from custodes.server.wire.anthropic import Messages
from custodes.server.wire.base import Wire
from custodes.server.wire.completions import Completions
from custodes.server.wire.openai import Chat

__all__ = ["router"]

router = APIRouter(tags=["replies"])

_MODEL = {"type": "string", "required": True}
_TURNS: dict[str, Any] = {
    "type": "array",
    "required": True,
    "minItems": 1,
    "items": {"type": "object", "required": ["role"]},
}
_STREAM = {"type": "boolean"}
_COUNT = {"type": "integer", "minimum": 1}


async def _reply(request: Request, wire: Wire) -> Response:
    service = service_of(request)
    key = await service.admit(request.headers)
    body = await read_object(request)
    return Exchange(service, wire, body, key=key, headers=request.headers)


@router.post(
    Chat.route,
    openapi_extra=expects(
        model=_MODEL, messages=_TURNS, stream=_STREAM, n=_COUNT, max_tokens=_COUNT
    ),
)
async def chat(request: Request) -> Response:
    """A chat completion, streamed or whole, in OpenAI's format."""
    return await _reply(request, Chat())


@router.post(
    Messages.route,
    openapi_extra=expects(model=_MODEL, messages=_TURNS, stream=_STREAM, max_tokens=_COUNT),
)
async def messages(request: Request) -> Response:
    """A message, streamed or whole, in Anthropic's format."""
    return await _reply(request, Messages())


@router.post(
    Completions.route,
    openapi_extra=expects(
        model=_MODEL,
        prompt={"required": True, "anyOf": [{"type": "string"}, {"type": "array"}]},
        stream=_STREAM,
        n=_COUNT,
        max_tokens=_COUNT,
    ),
)
async def completions(request: Request) -> Response:
    """A text completion, streamed or whole, in OpenAI's older format."""
    return await _reply(request, Completions())
