"""A light client: streams as many replies at once as it is told to, and says when what came.

    python client.py      reads one JSON job a line, answers each with one line of JSON

While replies come only the time and the bytes of every read are kept; they are decoded afterwards.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
import urllib.request
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import uvloop
from script import prompt, reply

_END = b"0\r\n\r\n"
_PATIENCE = 120.0


class _Stream(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._done: Any = None
        self.closed = False
        self.reads: list[tuple[float, bytes]] = []

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.reads.append((time.monotonic(), data))
        if data.endswith(_END) and not self._done.done():
            self._done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        if self._done is not None and not self._done.done():
            self._done.set_result(error)

    async def ask(self, request: bytes) -> tuple[float, list[tuple[float, bytes]]]:
        self.reads = []
        self._done = asyncio.get_running_loop().create_future()
        sent = time.monotonic()
        self._transport.write(request)
        async with asyncio.timeout(_PATIENCE):
            await self._done
        return sent, self.reads


def _request(job: dict[str, Any], number: int) -> bytes:
    body = {
        "model": job["model"],
        "stream": True,
        "messages": [
            {"role": "user", "content": prompt(number, job["tokens"], job["pace"])},
        ],
    }
    data = json.dumps(body).encode()
    headers = "".join(f"{name}: {value}\r\n" for name, value in job["headers"].items())
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: benchmark\r\n"
        f"content-type: application/json\r\ncontent-length: {len(data)}\r\n{headers}\r\n"
    ).encode() + data


async def _run(job: dict[str, Any]) -> tuple[float, list[tuple[int, float, Any]]]:
    """Every request of a job: `concurrency` at once, their beginnings spread over `spread` s."""
    loop = asyncio.get_running_loop()
    numbers = iter(range(job["first"], job["first"] + job["requests"]))
    rng = random.Random(job["first"])
    found: list[tuple[int, float, Any]] = []

    async def one() -> None:
        await asyncio.sleep(rng.random() * job["spread"])
        stream: Any = None
        for number in numbers:
            try:
                if stream is None or stream.closed:
                    _, stream = await loop.create_connection(_Stream, "127.0.0.1", job["port"])
                found.append((number, *await stream.ask(_request(job, number))))
            except (OSError, TimeoutError) as error:
                found.append((number, 0.0, f"{type(error).__name__}: {error}"))
                stream = None

    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(job["concurrency"]):
            group.create_task(one())
    return time.monotonic() - began, found


def _events(reads: list[tuple[float, bytes]]) -> Iterator[tuple[float, dict[str, Any] | None]]:
    """When each event was whole, and what it says (None: the end)."""
    raw, body, headed = b"", b"", False
    for at, data in reads:
        raw += data
        if not headed:
            head, end, rest = raw.partition(b"\r\n\r\n")
            if not end:
                continue
            if b" 200 " not in head.split(b"\r\n")[0]:
                raise ValueError(head.split(b"\r\n")[0].decode())
            raw, headed = rest, True
        while b"\r\n" in raw:
            size, _, rest = raw.partition(b"\r\n")
            length = int(size, 16)
            if len(rest) < length + 2:
                break
            body, raw = body + rest[:length], rest[length + 2 :]
        *lines, body = body.replace(b"\r\n", b"\n").split(b"\n\n")
        for line in lines:
            data_ = line.removeprefix(b"data: ")
            if data_ != line:
                yield at, None if data_ == b"[DONE]" else json.loads(data_)


def _timed(
    number: int, sent: float, reads: Any, written: list[float], job: dict[str, Any]
) -> dict[str, Any]:
    """What one request came to; raises `ValueError` where anything is missing."""
    if isinstance(reads, str):
        raise ValueError(reads)
    arrivals: list[tuple[float, int]] = []
    text, finish, done = "", None, False
    for at, value in _events(reads):
        if value is None:
            done = True
            continue
        for choice in value.get("choices", ()):
            if content := choice["delta"].get("content"):
                text += content
                arrivals.append((at, len(text)))
            finish = choice.get("finish_reason") or finish
    pieces = reply(number, job["tokens"])
    if text != "".join(pieces) or finish != "stop" or not done:
        raise ValueError(f"got {len(text)} characters, finish {finish}, done {done}")
    if len(written) != len(pieces):
        raise ValueError(f"the upstream wrote {len(written)} tokens of {len(pieces)}")
    delays, place, length = [], 0, 0
    for piece, when in zip(pieces, written, strict=True):
        length += len(piece)
        while arrivals[place][1] < length:
            place += 1
        delays.append(arrivals[place][0] - when)
    times = sorted({at for at, _ in arrivals})
    return {
        "first": arrivals[0][0] - sent,
        "start": written[0]
        - sent
        + arrivals[0][0]
        - max(w for w in written if w <= arrivals[0][0]),
        "whole": reads[-1][0] - sent,
        "delays": delays,
        "reactions": [at - max(w for w in written if w <= at) for at in times],
        "gaps": [second[0] - first[0] for first, second in pairwise(arrivals)],
    }


def _report(job: dict[str, Any]) -> dict[str, Any]:
    seconds, found = uvloop.run(_run(job))
    with urllib.request.urlopen(f"http://127.0.0.1:{job['upstream']}/log") as response:
        log = json.load(response)
    streams, errors = [], []
    for number, sent, reads in found:
        try:
            streams.append(_timed(number, sent, reads, log.get(str(number), []), job))
        except (ValueError, KeyError, IndexError) as error:
            errors.append(f"{type(error).__name__}: {error}")
    return {"seconds": seconds, "streams": streams, "errors": errors}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(_report(json.loads(line))), flush=True)
