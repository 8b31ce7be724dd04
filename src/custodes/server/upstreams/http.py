"""Servers that speak OpenAI's or Anthropic's format, over pooled connections.

The address and the key come from the operator's settings only. Nothing is tried twice: a request
that was sent may have cost something.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import httpx2
from pydantic import Field, HttpUrl

from custodes.config import Config
from custodes.errors import (
    ConfigError,
    ModelError,
    ModelRequestError,
    ModelServerError,
    ModelTimeoutError,
)
from custodes.models.sse import EventDecoder, ServerEvent
from custodes.server.upstreams.base import Answered, Call

__all__ = ["HttpUpstream", "HttpUpstreamConfig"]

_OPENAI = ("/v1/chat/completions", "/v1/completions")
_ANTHROPIC = ("/v1/messages",)
_LARGEST_BODY = 64 * 2**20
_FORWARDED = ("retry-after",)
_RECEIVED_AHEAD = 256 * 2**10
"""Bytes that the kernel may receive ahead on a connection: the rest waits at the upstream. Left
alone, Linux lets every connection grow to 32 MiB."""


class HttpUpstreamConfig(Config):
    """A server and how patient to be with it."""

    url: HttpUrl
    """The address up to and including the version, such as http://127.0.0.1:8000/v1."""
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
        self._base = str(config.url).rstrip("/")
        self._key = _key(config.api_key_env)
        limits = httpx2.Limits(
            max_connections=config.connections, max_keepalive_connections=config.connections
        )
        transport = httpx2.AsyncHTTPTransport(
            limits=limits,
            verify=config.verify,
            trust_env=False,
            socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVED_AHEAD)],
        )
        self._client = httpx2.AsyncClient(
            transport=transport, follow_redirects=False, trust_env=False
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
        request = self._client.build_request(
            "POST",
            self._address(call.route),
            content=json.dumps(dict(call.body)).encode("ascii"),
            headers={**self._headers(call), "content-type": "application/json"},
            timeout=self._timeout(self._config.first_seconds),
        )
        with _errors(self.name):
            response = await self._client.send(request, stream=True)
        try:
            headers = {
                name: response.headers[name] for name in _FORWARDED if name in response.headers
            }
            streamed = "text/event-stream" in response.headers.get("content-type", "")
            if response.status_code < 400 and call.asked.stream and streamed:
                self._patience(request, self._config.idle_seconds)
                events = self._events(response)
                yield Answered(status=response.status_code, events=events, headers=headers)
            else:
                body = await self._body(response)
                yield Answered(status=response.status_code, body=body, headers=headers)
        finally:
            await response.aclose()

    async def models(self) -> list[str]:
        """The names that the settings give, else what the server lists."""
        if self._config.models:
            return list(self._config.models)
        with _errors(self.name):
            response = await self._client.get(
                self._base + "/models",
                headers=self._authorization(_ANTHROPIC[0]),
                timeout=self._timeout(self._config.connect_seconds),
            )
        rows = _parsed(response.content, self.name).get("data")
        names = [row.get("id") for row in rows or [] if isinstance(row, dict)]
        return [name for name in names if isinstance(name, str)]

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    def _address(self, route: str) -> str:
        return self._base + route.removeprefix("/v1")

    def _authorization(self, route: str) -> dict[str, str]:
        if self._key is None:
            return {}
        if route in _ANTHROPIC and self._config.kind == "anthropic":
            return {"x-api-key": self._key}
        return {"authorization": f"Bearer {self._key}"}

    def _headers(self, call: Call) -> dict[str, str]:
        return {**call.headers, **self._authorization(call.route)}

    def _timeout(self, seconds: float) -> httpx2.Timeout:
        connect = self._config.connect_seconds
        return httpx2.Timeout(connect=connect, pool=connect, read=seconds, write=seconds)

    @staticmethod
    def _patience(request: httpx2.Request, seconds: float) -> None:
        """From now on this much silence is too much; the transport reads it at every wait."""
        timeout = request.extensions.get("timeout")
        if isinstance(timeout, dict):
            timeout["read"] = seconds

    async def _events(self, response: httpx2.Response) -> AsyncIterator[ServerEvent]:
        decoder = EventDecoder()
        with _errors(self.name):
            async for data in response.aiter_bytes():
                for event in decoder.push(data):
                    yield event

    async def _body(self, response: httpx2.Response) -> dict[str, Any]:
        read = bytearray()
        with _errors(self.name):
            async for data in response.aiter_bytes():
                read += data
                if len(read) > _LARGEST_BODY:
                    raise ModelServerError(
                        f"upstream {self.name}: a reply of more than {_LARGEST_BODY} bytes"
                    )
        if response.status_code >= 400:
            try:
                return _parsed(bytes(read), self.name)
            except ModelError:
                return {}
        return _parsed(bytes(read), self.name)


class _errors:  # noqa: N801 - reads as a statement
    """Turn the transport's errors into ours; the words of the upstream stay out of them."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, httpx2.TimeoutException):
            raise ModelTimeoutError(
                f"upstream {self._name}: {type(error).__name__}: no answer in time"
            ) from error
        if isinstance(error, httpx2.HTTPError | httpx2.StreamError):
            raise ModelServerError(f"upstream {self._name}: {type(error).__name__}") from error
        if isinstance(error, httpx2.InvalidURL):
            raise ModelRequestError(f"upstream {self._name}: bad address") from error


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
