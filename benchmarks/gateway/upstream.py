"""A fast upstream in OpenAI's format: says a scripted reply at a set pace, notes when.

    python upstream.py      prints its port; ends when its input does

`GET /log` gives request -> the times (monotonic clock) at which each token was written, once.
Faster than the shipped double (`custodes.server.scripted`), whose own work would be measured.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from functools import lru_cache
from typing import Any

import uvloop
from script import MARK, reply

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_LOG: dict[int, list[float]] = {}


def _chunk(value: Any) -> bytes:
    data = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    event = f"data: {data}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(event), event)


def _choice(delta: dict[str, str], finish: str | None = None) -> bytes:
    return _chunk(
        {
            "id": "chatcmpl-benchmark",
            "object": "chat.completion.chunk",
            "created": 1700000000,
            "model": "benchmark",
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
        }
    )


_FIRST = _choice({"role": "assistant", "content": ""})
_LAST = _choice({}, "stop") + _chunk("[DONE]") + b"0\r\n\r\n"


@lru_cache(maxsize=100_000)
def _token(text: str) -> bytes:
    return _choice({"content": text})


class _Connection(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._read = b""
        self._open = True

    def connection_lost(self, error: Exception | None) -> None:
        self._open = False

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, end, body = self._read.partition(b"\r\n\r\n")
        if not end:
            return
        length = next(
            (
                int(line.split(b":")[1])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            ),
            0,
        )
        if len(body) < length:
            return
        self._read = body[length:]
        if head.startswith(b"GET"):
            self._json(_LOG if b"/log" in head else {"object": "list", "data": []})
            if b"/log" in head:
                _LOG.clear()
            return
        orders = MARK.search(body)
        number, tokens, pace = (int(each) for each in orders.groups()) if orders else (0, 8, 0)
        self._say(number, [_token(text) for text in reply(number, tokens)], pace / 1e6)

    def _json(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n%s" % (len(data), data)
        )

    def _say(self, number: int, events: list[bytes], pace: float) -> None:
        loop = asyncio.get_running_loop()
        times = _LOG[number] = []
        self._transport.write(_HEAD + _FIRST)
        begun = loop.time()

        def step(place: int) -> None:
            if not self._open:
                return
            if place == len(events):
                self._transport.write(_LAST)
                return
            times.append(time.monotonic())
            self._transport.write(events[place])
            if pace and place + 1 < len(events):
                loop.call_at(begun + (place + 1) * pace, step, place + 1)
            else:
                loop.call_soon(step, place + 1)

        loop.call_soon(step, 0)


async def _main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    uvloop.run(_main())
