"""Pooled HTTP/1.1 connections to one server: requests out, replies in as they come.

Every token of a reply passes here, so a read costs one parser call (httptools, in C) and one
wake-up, and no timer of its own. Nothing is tried twice, no redirect is followed, no proxy is
asked. Knows no wire format.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import httptools

from custodes.errors import ModelError, ModelServerError, ModelTimeoutError

if TYPE_CHECKING:
    from ssl import SSLContext

__all__ = ["Connections", "HttpReply"]

_AHEAD = 2**18
"""Bytes that may wait to be read before the server is made to wait; and as many again that the
kernel may receive ahead on a connection: left alone, Linux lets each grow to 32 MiB."""
_HEAD = 2**16
"""The longest head of a reply."""
_IDLE = 4.0
"""Seconds after which an unused connection is not used again: servers close them after 5."""


class HttpReply(asyncio.Protocol):
    """One connection, and the reply that is being read from it.

    `status` and `headers` (names in lower case) hold once `head` has returned.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = self._until = 0.0
        self._paused = False
        self._error: ModelError | None = None
        self._spoiled = False
        self._begin()
        self.lost = False
        self.idle_since = 0.0

    def _begin(self) -> None:
        """Forget the last reply."""
        self.status = 0
        self.headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._size = self._head_size = 0
        self._headed = self._complete = self._asked = False
        self._keep = True

    # What callers do

    def send(self, data: bytes) -> None:
        """Send a whole request."""
        self._begin()
        self._asked = True
        if self._transport is None or self.lost or self._spoiled:
            self._fail(ModelServerError(f"upstream {self._name}: the connection broke"))
        else:
            self._transport.write(data)

    async def head(self, seconds: float) -> None:
        """Wait for status and headers."""
        while not self._headed:
            await self._more(seconds)
        encoding = self.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise ModelServerError(
                f"upstream {self._name}: a reply encoded as {encoding!r:.40}, expected identity"
            )

    async def read(self, seconds: float) -> bytes:
        """What has come of the body; waits for some; empty at its end."""
        while not self._body:
            if self._complete:
                return b""
            await self._more(seconds)
        data = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        self._size = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent: the last reply is complete and read."""
        broken = self.lost or self._spoiled or self._error is not None
        return self._complete and self._keep and not (self._body or broken)

    def close(self) -> None:
        """Break the connection off."""
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()

    async def _more(self, seconds: float) -> None:
        """Wait until something happens; raises what went wrong."""
        self._check()
        self._waiter = self._loop.create_future()
        self._until = self._loop.time() + seconds
        if self._timer is None or self._timer_at > self._until:
            self._watch()
        try:
            await self._waiter
        finally:
            self._waiter = None
        self._check()

    def _check(self) -> None:
        """What came before a break is read first."""
        if self._error is not None and not self._body:
            raise self._error

    # Time: one timer, which looks whether the latest wait has become too long

    def _watch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = self._until
        self._timer = self._loop.call_at(self._until, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        if self._loop.time() >= self._until:
            self._fail(ModelTimeoutError(f"upstream {self._name}: no answer in time"))
        else:
            self._watch()

    # What the transport does

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own is no subclass
        plain = transport.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _AHEAD)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if not self._headed:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ModelServerError(f"upstream {self._name}: not HTTP: {error}"))
            return
        if not self._headed and self._head_size > _HEAD:
            self._fail(
                ModelServerError(f"upstream {self._name}: a head of more than {_HEAD} bytes")
            )
            return
        if self._size > _AHEAD and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        """The server closed: the end of a body that only its end delimits, else a break."""
        self.lost = True
        unbounded = self._headed and not self.headers.keys() & {
            "content-length",
            "transfer-encoding",
        }
        if unbounded and error is None:
            self._complete = True
        if not self._complete:
            self._fail(ModelServerError(f"upstream {self._name}: the connection broke"))
        self._wake()

    def _fail(self, error: ModelError) -> None:
        self._error = self._error or error
        self.close()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What the parser finds

    def on_message_begin(self) -> None:
        """A reply that nothing asked for spoils the connection; what it says is not looked at."""
        self._spoiled = self._spoiled or self._complete or not self._asked

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        if not self._spoiled:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is complete; an interim reply (1xx) does not count."""
        if self._spoiled:
            return
        self.status = self._parser.get_status_code()
        if self.status >= 200:
            self._headed = True
        else:
            self.headers.clear()

    def on_body(self, body: bytes) -> None:
        """A part of the body, without the transfer's framing."""
        if not self._spoiled:
            self._body.append(body)
            self._size += len(body)

    def on_message_complete(self) -> None:
        """The reply is complete."""
        if self._headed and not self._spoiled:
            self._complete = True
            self._keep = bool(self._parser.should_keep_alive())


class Connections:
    """Connections to the server of `url`, at most `most` at once; safe in one event loop.

    `context` is used where the address begins with https.
    """

    def __init__(self, url: str, *, name: str, most: int, context: SSLContext) -> None:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        self._name = name
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if secure else 80)
        self._authority = parts.netloc.rpartition("@")[2]
        self._path = parts.path.rstrip("/")
        self._query = f"?{parts.query}" if parts.query else ""
        self._context = context if secure else None
        self._room = asyncio.Semaphore(most)
        self._idle: list[HttpReply] = []

    @asynccontextmanager
    async def ask(
        self, method: str, path: str, *, headers: Mapping[str, str], body: bytes, seconds: float
    ) -> AsyncIterator[HttpReply]:
        """Ask for `path` below the address, with its query; `seconds`: how long to wait for a
        connection.

        Leaving the context breaks the connection off unless the reply was read to its end.
        """
        reply = await self._take(seconds)
        try:
            reply.send(self._request(method, path, headers, body))
            yield reply
        finally:
            self._give_back(reply)

    async def close(self) -> None:
        """Close every connection that is not in use."""
        while self._idle:
            self._idle.pop().close()

    async def _take(self, seconds: float) -> HttpReply:
        try:
            async with asyncio.timeout(seconds):
                await self._room.acquire()
                try:
                    return self._unused() or await self._connect()
                except BaseException:
                    self._room.release()
                    raise
        except TimeoutError as error:
            raise ModelTimeoutError(f"upstream {self._name}: no connection in time") from error
        except OSError as error:
            raise ModelServerError(
                f"upstream {self._name}: no connection: {type(error).__name__}"
            ) from error

    def _unused(self) -> HttpReply | None:
        """The connection that was used last, if it is still good."""
        latest = asyncio.get_running_loop().time() - _IDLE
        while self._idle:
            reply = self._idle.pop()
            if reply.idle_since > latest and reply.reusable:
                return reply
            reply.close()
        return None

    async def _connect(self) -> HttpReply:
        _, reply = await asyncio.get_running_loop().create_connection(
            lambda: HttpReply(self._name),
            self._host,
            self._port,
            ssl=self._context,
            server_hostname=self._host if self._context is not None else None,
        )
        return reply

    def _give_back(self, reply: HttpReply) -> None:
        self._room.release()
        if reply.reusable:
            reply.idle_since = asyncio.get_running_loop().time()
            self._idle.append(reply)
        else:
            reply.close()

    def _request(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        lines = [
            f"{method} {self._path}{path}{self._query} HTTP/1.1",
            f"host: {self._authority}",
            "accept: */*",
            "accept-encoding: identity",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        if body:
            lines.append(f"content-length: {len(body)}")
        for line in lines:
            if "\r" in line or "\n" in line:
                raise ModelServerError(f"upstream {self._name}: a header holds a line end")
        return "\r\n".join([*lines, "", ""]).encode("latin-1", errors="replace") + body
