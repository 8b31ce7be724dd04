"""Decode a stream of server-sent events: pure, byte by byte if need be.

Follows the WHATWG HTML standard, section 9.2.6. Any way of cutting the bytes gives the same events.
Knows nothing of HTTP or of what an event means; `id` and `retry` are passed over.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from custodes.errors import ModelServerError

__all__ = ["EventDecoder", "ServerEvent"]

_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event: its name (`message` where none was given), its data lines joined."""

    name: str
    data: str


class EventDecoder:
    """Bytes in, whole events out; an event that the end cuts short is dropped (the standard).

    `limit` bounds the characters of one event, so that a hostile server cannot fill the memory;
    beyond it `push` raises `ModelServerError`.
    """

    def __init__(self, *, limit: int = 16 * 2**20) -> None:
        self._limit = limit
        self._utf8 = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        self._after_return = False
        self._tail: list[str] = []
        self._name = ""
        self._data: list[str] = []
        self._size = 0

    def push(self, data: bytes) -> list[ServerEvent]:
        """The events that these bytes complete."""
        text = self._utf8.decode(data)
        if not text:
            return []
        if self._after_return:  # the second half of a \r\n that was cut in two
            text = text.removeprefix("\n")
        self._after_return = text.endswith("\r")
        *lines, tail = _LINE_END.split(text) if "\r" in text else text.split("\n")
        self._grow(len(text))
        if lines:
            lines[0] = "".join((*self._tail, lines[0]))
            self._tail.clear()
        self._tail.append(tail)
        return [event for line in lines if (event := self._line(line)) is not None]

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > self._limit:
            raise ModelServerError(
                f"a server-sent event of more than {self._limit} characters; "
                "expected a small JSON object: is this the right address?"
            )

    def _line(self, line: str) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        elif field == "event":
            self._name = value
        return None

    def _dispatch(self) -> ServerEvent | None:
        event = ServerEvent(self._name or "message", "\n".join(self._data)) if self._data else None
        self._name, self._data, self._size = "", [], 0
        return event
