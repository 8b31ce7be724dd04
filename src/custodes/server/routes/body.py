"""Read a request's JSON and say what a route expects of it."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from starlette.requests import ClientDisconnect, Request

from custodes.server.service import Service
from custodes.server.wire.base import RequestError

__all__ = ["expects", "read_object", "service_of"]


def service_of(request: Request) -> Service:
    """The gateway's service."""
    service: Service = request.app.state.service
    return service


async def read_object(request: Request) -> dict[str, Any]:
    """The body as a JSON object; `RequestError` where it is none."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise RequestError(
            f"content-encoding: got {encoding!r:.40}, expected identity: send the body as it is",
            status=415,
            param="content-encoding",
            code="unsupported_encoding",
        )
    try:
        data = await request.body()
    except ClientDisconnect:
        raise RequestError("the client left before its request was complete", status=499) from None
    try:
        value = json.loads(data, parse_constant=_not_json)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body is not JSON: {error}", code="invalid_json") from error
    if not isinstance(value, dict):
        raise RequestError(
            f"the body is a {type(value).__name__}, expected a JSON object", code="invalid_json"
        )
    return value


def _not_json(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def expects(**properties: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI words for a body with these fields; a field `required` must be there."""
    required = [name for name, schema in properties.items() if schema.get("required")]
    plain = {
        name: {key: value for key, value in schema.items() if key != "required"}
        for name, schema in properties.items()
    }
    schema = {"type": "object", "properties": plain, "required": required}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
