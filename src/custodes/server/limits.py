"""How much may be asked: a token bucket a key, here or shared through Redis; size and time of
requests.

A bucket holds `burst` requests and fills at `per_minute`.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

from custodes.errors import MissingExtraError
from custodes.server.wire.base import RequestError

__all__ = ["BodyLimit", "Limiter", "MemoryLimiter", "RedisLimiter", "retry_after"]


class Limiter(Protocol):
    """Counts requests."""

    async def take(self, key: str, *, per_minute: float, burst: int) -> float:
        """Take one request: 0.0, or the seconds until there is room for it."""
        ...


class MemoryLimiter:
    """Buckets of this process; the longest unused are forgotten beyond `remember`.

    `clock` gives seconds and may never go back (time.monotonic).
    """

    def __init__(self, clock: Callable[[], float], *, remember: int = 100_000) -> None:
        self._clock = clock
        self._remember = remember
        self._full_at: OrderedDict[str, float] = OrderedDict()

    async def take(self, key: str, *, per_minute: float, burst: int) -> float:
        """Take one request; GCRA: a bucket is the time at which it will be full again."""
        now = self._clock()
        cost = 60.0 / per_minute
        full_at = max(self._full_at.get(key, now), now) + cost
        wait = full_at - now - burst * cost
        if wait > 1e-9:
            return wait
        self._full_at[key] = full_at
        self._full_at.move_to_end(key)
        while len(self._full_at) > self._remember:
            self._full_at.popitem(last=False)
        return 0.0


_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local cost = tonumber(ARGV[1])
local burst = tonumber(ARGV[2])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + cost
local wait = full - now - burst * cost
if wait > 0.000001 then return tostring(wait) end
redis.call('SET', KEYS[1], string.format('%.6f', full), 'EX', math.ceil(full - now) + 1)
return '0'
"""


class RedisLimiter:
    """The same buckets, shared by every gateway that has the same Redis, by Redis' clock.

    Where Redis does not answer the request goes through: a limit protects capacity, not safety;
    `on_failure` is told.
    """

    def __init__(
        self, url: str, *, on_failure: Callable[[], None], prefix: str = "custodes"
    ) -> None:
        try:
            from redis import asyncio as redis
        except ModuleNotFoundError as error:
            raise MissingExtraError("redis", "server") from error
        self._client: Any = redis.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0)
        self._script = self._client.register_script(_SCRIPT)
        self._prefix = prefix
        self._on_failure = on_failure

    async def take(self, key: str, *, per_minute: float, burst: int) -> float:
        """Take one request in one round trip."""
        from redis.exceptions import RedisError

        try:
            wait = await self._script(
                keys=[f"{self._prefix}:limit:{key}"], args=[60.0 / per_minute, burst]
            )
        except (RedisError, OSError):
            self._on_failure()
            return 0.0
        return max(0.0, float(wait))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class BodyLimit:
    """Pure ASGI middleware: a request that is too large or comes too slowly raises
    `RequestError` where its body is read.

    What is within the limits passes through untouched, nothing is buffered.
    """

    def __init__(self, app: ASGIApp, *, largest: int, seconds: float) -> None:
        self._app = app
        self._largest = largest
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            receive = self._counted(receive, _announced(scope))
        await self._app(scope, receive, send)

    def _counted(self, receive: Receive, announced: int) -> Receive:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._seconds
        seen = 0
        more = True

        async def counted() -> Message:
            nonlocal seen, more
            if not more:
                return await receive()
            if announced > self._largest:
                raise self._too_large()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                raise RequestError(
                    f"the request did not arrive within {self._seconds:g} s",
                    status=408,
                    code="request_timeout",
                ) from None
            more = message["type"] == "http.request" and message.get("more_body", False)
            seen += len(message.get("body", b""))
            if seen > self._largest:
                raise self._too_large()
            return message

        return counted

    def _too_large(self) -> RequestError:
        return RequestError(
            f"the request is too large: expected at most {self._largest} bytes",
            status=413,
            code="request_too_large",
        )


def _announced(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


def retry_after(seconds: float) -> str:
    """The header's value: whole seconds, rounded up."""
    return str(max(1, math.ceil(seconds)))
