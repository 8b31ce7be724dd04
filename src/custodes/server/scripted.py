"""The shipped double of an upstream: a real HTTP server that plays what the prompt tells it to.

For tests, demonstrations and the conformance suite. The last user's message carries a `Script`,
compressed and encoded so that a guard reads nothing in it (`Script.prompt`); so one server plays
every part, for any gateway that stands before it. A script without a prompt is told to the server
(`ScriptedUpstream.script`). It speaks OpenAI's and Anthropic's formats and breaks in every way that
an upstream can.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import threading
import zlib
from collections.abc import Iterator
from typing import Any, Literal, Self

from pydantic import Field, ValidationError

from custodes.config import Config
from custodes.errors import ConfigError
from custodes.server.speaker import Speaker

__all__ = ["Script", "ScriptedUpstream"]

_MARK = re.compile(r"script:([A-Za-z0-9_=-]+)")


Fault = Literal["drop", "end", "garbage", "error", "shape", "stall", "status", "json"]


class Script(Config):
    """What is played."""

    pieces: tuple[str, ...] = ("Hello", " there.")
    """The text, one event a piece; every choice says it."""
    channel: Literal["content", "reasoning", "tool"] = "content"
    """Where it is said."""
    before: tuple[str, ...] = ()
    """Pieces of content that are said first, where the channel is another."""
    chunk: int = Field(default=0, ge=0)
    """Bytes a network write; 0 writes event by event."""
    delay: float = Field(default=0.0, ge=0)
    """Seconds before each piece."""
    fault: Literal["drop", "end", "garbage", "error", "shape", "stall", "status", "json"] | None = (
        None
    )
    """drop: break the connection. end: end in order, too early. garbage: not JSON. error: an
    error event. shape: JSON of another shape. stall: silence. status: answer with `status`.
    json: a whole reply where a stream was asked for."""
    fault_at: int = Field(default=0, ge=0)
    """Pieces before the fault."""
    status: int = 500
    """The status where the fault is `status`; its error's message is the pieces' text."""
    stall_seconds: float = Field(default=30.0, ge=0)
    """How long a stall lasts."""

    def prompt(self) -> str:
        """The message that makes the server play this."""
        # Compressed: guards take base64 off.
        data = zlib.compress(self.model_dump_json(exclude_defaults=True).encode())
        return "script:" + base64.urlsafe_b64encode(data).decode("ascii")

    @classmethod
    def found(cls, body: Any) -> Script | None:
        """The script that a request carries last; None where it carries none."""
        marks = _MARK.findall(json.dumps(body))
        if not marks:
            return None
        try:
            return cls.model_validate_json(zlib.decompress(base64.urlsafe_b64decode(marks[-1])))
        except (ValidationError, ValueError, zlib.error):
            return cls()


class ScriptedUpstream:
    """The server, on a thread of its own: `with ScriptedUpstream() as upstream: upstream.url`.

    `script`: what is played to a request that carries none; may be set while it serves.
    `asked`: path and body of every request; `finished` and `abandoned`: how many replies went
    out whole, and how many times a client left before the end.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._host, self._port = host, port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="scripted-upstream", daemon=True)
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self.script: Script | None = None
        self._failed: OSError | None = None
        self.asked: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.finished = 0
        self.abandoned = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            raise ConfigError(
                f"cannot listen on {self._host} port {self._port}: {self._failed}; "
                "choose another port"
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @property
    def url(self) -> str:
        """Its address, with the version."""
        return f"http://{self._host}:{self._port}/v1"

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except OSError as error:
            self._failed = error
            self._ready.set()
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._client, self._host, self._port)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read_request(reader)) is not None:
                path, body, headers = request
                self.asked.append((path, body, headers))
                if not await self._answer(path, body, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            self.abandoned += 1
        finally:
            writer.close()

    async def _answer(
        self, path: str, body: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Play the script; whether the connection may be used again."""
        script = Script.found(body) or self.script or Script()
        if path.endswith("/models"):
            await _json(writer, 200, {"object": "list", "data": [{"id": "scripted"}]})
            return True
        speaker = Speaker(path, body)
        if script.fault == "status":
            error = {"message": "".join(script.pieces), "type": "scripted"}
            await _json(writer, script.status, {"type": "error", "error": error})
            return True
        if not body.get("stream") or script.fault == "json":
            if script.fault == "stall":
                await asyncio.sleep(script.stall_seconds)
            whole = speaker.whole(script.before, script.pieces, script.channel)
            await _json(writer, 200, {} if script.fault == "shape" else whole)
            self.finished += 1
            return True
        playing = asyncio.ensure_future(self._stream(script, speaker, writer))
        leaving = asyncio.ensure_future(reader.read(1))
        done, _ = await asyncio.wait({playing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if playing not in done:  # perhaps it read the last byte and left before we looked
            done, _ = await asyncio.wait({playing}, timeout=0.2)
        if playing not in done:
            playing.cancel()
            raise ConnectionResetError("the client left")
        self.finished += 1
        playing.result()
        return False

    async def _stream(self, script: Script, speaker: Speaker, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        )
        for data, seconds in _played(script, speaker):
            if seconds:
                await asyncio.sleep(seconds)
            step = script.chunk or max(len(data), 1)
            for start in range(0, len(data), step):
                part = data[start : start + step]
                writer.write(b"%x\r\n%s\r\n" % (len(part), part))
                await writer.drain()
                if script.chunk:
                    await asyncio.sleep(0)
        if script.fault == "drop":
            writer.transport.abort()
            return
        writer.write(b"0\r\n\r\n")
        await writer.drain()


def _played(script: Script, speaker: Speaker) -> Iterator[tuple[bytes, float]]:
    """Encoded events with the silence before each."""
    said = 0
    for data, piece in speaker.events(script.before, script.pieces, script.channel):
        if script.fault in ("drop", "end") and piece and said == script.fault_at:
            return
        if script.fault is not None and said == script.fault_at and piece:
            yield speaker.spoiled(script.fault), 0.0
            if script.fault == "stall":
                yield b": silence\n\n", script.stall_seconds
        said += piece
        yield data, script.delay if piece else 0.0


async def _read_request(
    reader: asyncio.StreamReader,
) -> tuple[str, dict[str, Any], dict[str, str]] | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.split("\r\n")
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines if line)
    }
    data = await reader.readexactly(int(headers.get("content-length", "0")))
    return first.split(" ")[1], json.loads(data) if data else {}, headers


async def _json(writer: asyncio.StreamWriter, status: int, value: Any) -> None:
    data = json.dumps(value).encode()
    writer.write(
        b"HTTP/1.1 %d Scripted\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        % (status, len(data))
    )
    writer.write(data)
    await writer.drain()
