"""Servers that speak OpenAI's or Anthropic's format, over pooled connections.

The address and the key come from the operator's settings only. Nothing is tried twice: a request
that was sent may have cost something.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

import httpx2
from pydantic import Field, HttpUrl

from custodes.config import Config
from custodes.errors import (
    ConfigError,
    ModelError,
    ModelServerError,
)
from custodes.models.sse import EventDecoder, ServerEvent
from custodes.server.upstreams.base import Answered, Call
from custodes.server.upstreams.connections import Connections, HttpReply
from custodes.server.wire.base import RequestError

__all__ = ["HttpUpstream", "HttpUpstreamConfig"]

_OPENAI = ("/v1/chat/completions", "/v1/completions")
_ANTHROPIC = ("/v1/messages",)
_LARGEST_BODY = 64 * 2**20
_FORWARDED = ("retry-after",)
_VERSION = {"anthropic-version": "2023-06-01"}
"""Asked for by Anthropic's servers on every path; clients send their own with a request."""


class HttpUpstreamConfig(Config):
    """A server and how patient to be with it."""

    url: HttpUrl
    """The address up to and including the version, such as http://127.0.0.1:8000/v1; what stands
    behind a `?` (Azure's api-version) goes with every request."""
    kind: Literal["openai", "anthropic", "both"] = "openai"
    """Which formats it speaks."""
    api_key_env: str | None = None
    """The environment variable that holds its key; null sends none."""
    models: tuple[str, ...] = ()
    """Model names that are sent here; empty: those that no other upstream names."""
    connect_seconds: float = Field(default=5.0, gt=0)
    """How long to wait for a connection, a free one of the pool included."""
    first_seconds: float = Field(default=120.0, gt=0)
    """How long to wait for the reply to begin."""
    idle_seconds: float = Field(default=60.0, gt=0)
    """How long a stream may be silent."""
    connections: int = Field(default=256, ge=1)
    """At most so many at once."""
    verify: bool = True
    """Whether the server's certificate is checked."""


class HttpUpstream:
    """One server; safe in one event loop."""

    Config = HttpUpstreamConfig

    def __init__(self, config: HttpUpstreamConfig, *, name: str) -> None:
        self.name = name
        self._config = config
        self._key = _key(config.api_key_env)
        if config.url.username or config.url.password:
            raise ConfigError(f"upstream {name}: a password in the url; give api_key_env instead")
        self._connections = Connections(
            str(config.url),
            name=name,
            most=config.connections,
            context=httpx2.create_ssl_context(verify=config.verify, trust_env=False),
        )

    def serves(self, route: str) -> bool:
        """Whether it speaks this format."""
        kind = self._config.kind
        return (route in _OPENAI and kind != "anthropic") or (
            route in _ANTHROPIC and kind != "openai"
        )

    @asynccontextmanager
    async def ask(self, call: Call) -> AsyncIterator[Answered]:
        """Ask; leaving the context closes the connection if the reply is not read to its end."""
        async with self._connections.ask(
            "POST",
            call.route.removeprefix("/v1"),
            headers={**self._headers(call), "content-type": "application/json"},
            body=_written(call.body),
            seconds=self._config.connect_seconds,
        ) as reply:
            await reply.head(self._config.first_seconds)
            headers = {name: reply.headers[name] for name in _FORWARDED if name in reply.headers}
            streamed = "text/event-stream" in reply.headers.get("content-type", "")
            if reply.status < 400 and call.asked.stream and streamed:
                events = self._events(reply)
                yield Answered(status=reply.status, events=events, headers=headers)
            else:
                body = await self._body(reply, self._config.first_seconds)
                yield Answered(status=reply.status, body=body, headers=headers)

    async def models(self) -> list[str]:
        """The names that the settings give, else what the server lists."""
        if self._config.models:
            return list(self._config.models)
        seconds = self._config.connect_seconds
        headers = self._authorization(_ANTHROPIC[0])
        if self._config.kind == "anthropic":
            headers |= _VERSION
        async with self._connections.ask(
            "GET", "/models", headers=headers, body=b"", seconds=seconds
        ) as reply:
            await reply.head(seconds)
            if reply.status >= 400:
                raise ModelServerError(
                    f"upstream {self.name}: /models answers with status {reply.status}; expected a "
                    "list: name its models in the settings (models) where it has none"
                )
            rows = (await self._body(reply, seconds)).get("data")
        rows = rows if isinstance(rows, list) else []
        names = [row.get("id") for row in rows if isinstance(row, dict)]
        return [name for name in names if isinstance(name, str)]

    async def close(self) -> None:
        """Close every connection."""
        await self._connections.close()

    def _authorization(self, route: str) -> dict[str, str]:
        if self._key is None:
            return {}
        if route in _ANTHROPIC and self._config.kind == "anthropic":
            return {"x-api-key": self._key}
        return {"authorization": f"Bearer {self._key}"}

    def _headers(self, call: Call) -> dict[str, str]:
        return {**call.headers, **self._authorization(call.route)}

    async def _events(self, reply: HttpReply) -> AsyncIterator[ServerEvent]:
        decoder = EventDecoder()
        while data := await reply.read(self._config.idle_seconds):
            for event in decoder.push(data):
                yield event

    async def _body(self, reply: HttpReply, seconds: float) -> dict[str, Any]:
        read = bytearray()
        while data := await reply.read(seconds):
            read += data
            if len(read) > _LARGEST_BODY:
                raise ModelServerError(
                    f"upstream {self.name}: a reply of more than {_LARGEST_BODY} bytes"
                )
        if reply.status >= 400:
            try:
                return _parsed(bytes(read), self.name)
            except ModelError:
                return {}
        return _parsed(bytes(read), self.name)


def _written(body: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(dict(body), allow_nan=False).encode("ascii")
    except ValueError as error:
        raise RequestError(
            "the body holds a number that JSON cannot carry on (1e999 is infinite to most who read "
            "it); expected finite numbers",
            code="invalid_json",
        ) from error


def _parsed(data: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ModelServerError(f"upstream {name}: the reply is not JSON") from error
    if not isinstance(value, dict):
        raise ModelServerError(f"upstream {name}: the reply is not a JSON object")
    return value


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise ConfigError(f"api_key_env: the environment variable {variable} is not set")
    return key
