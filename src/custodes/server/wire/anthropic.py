"""Anthropic's messages: content blocks in order, streamed as named events.

All blocks of text are one channel, so are all of thinking; every tool call is one of its own.
What is opaque by the format (signatures, redacted thinking) is passed on unjudged, as long as it
is in no language.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from custodes.errors import ModelServerError
from custodes.server.wire import fields
from custodes.server.wire.anthropic_turns import messages_of, texts_of
from custodes.server.wire.base import (
    Asked,
    Kept,
    MalformedReplyError,
    Part,
    Piece,
    Ruling,
    Told,
    guard_object,
    parse_object,
    strings,
)
from custodes.server.wire.labels import Repeated, texts, unlabelled
from custodes.server.wire.sse import encode, encode_json
from custodes.types import Message

__all__ = ["Messages", "MessagesReply"]

_OUTSIDE = frozenset(
    (
        "messages",
        "system",
        "model",
        "stream",
        "stop_sequences",
        "metadata",
        "service_tier",
        "tool_choice",
        "thinking",
        "container",
    )
)
_LABELS = frozenset(("type", "index", "cache_control", "role", "stop_reason"))
_IDS = frozenset(["id", "tool_use_id"])
_SEALED = frozenset(["signature", "encrypted_content", "encrypted_index"])
_APART = frozenset(("content", "model", "stop_sequence", "usage"))
"""Fields of a message, and of its end, that are read apart."""
_DELTAS = {"text_delta": ("text", "text"), "thinking_delta": ("thinking", "thinking")}
_CATEGORY = {
    "malware": "cyber",
    "intrusion": "cyber",
    "phishing": "cyber",
    "biological_weapons": "bio",
    "chemical_weapons": "bio",
}
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class Messages:
    """`POST /v1/messages`."""

    route = "/v1/messages"

    def ask(self, body: fields.Body, *, allow_unjudged: bool) -> Asked:
        """Translate a request."""
        system = "\n".join(texts_of(body.get("system"), "system", allow_unjudged))
        turns = [Message("system", system)] if system else []
        for place, turn in enumerate(fields.items(body, "messages")):
            turns += messages_of(turn, f"messages[{place}]", allow_unjudged=allow_unjudged)
        return Asked(
            conversations=(tuple(turns),),
            model=fields.string(body, "model"),
            stream=fields.flag(body, "stream"),
            extras=fields.extras(body, _OUTSIDE),
            max_tokens=fields.integer(body, "max_tokens"),
            stop=fields.stops(body, "stop_sequences"),
            temperature=fields.number(body, "temperature"),
        )

    def reply(self, asked: Asked, *, id_: str, created: int) -> MessagesReply:
        """Begin to translate a reply; the format has no time in it."""
        return MessagesReply(asked, id_=f"msg_{id_}")

    def error(self, status: int, message: str, *, code: str, param: str | None) -> fields.Body:
        """An error's body; `param` stands in the message."""
        kind = _KINDS.get(status, "invalid_request_error" if status < 500 else "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}}


class MessagesReply:
    """One reply, streamed or whole."""

    def __init__(self, asked: Asked, *, id_: str) -> None:
        self._head: fields.Body = {
            "id": id_,
            "type": "message",
            "role": "assistant",
            "model": asked.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
        }
        self._begun = False
        self._open: Any = None
        self._counted: fields.Body = {}
        self._deltas = 0
        self._said: fields.Body = {}
        self._finish: Any = None
        said = (asked.model, asked.model.partition("/")[2], *asked.stop)
        self._labels = Repeated(said, ids=_IDS)
        self.done = False

    @property
    def told(self) -> Told:
        """What the upstream has said of the reply."""
        used = (self._counted.get("input_tokens"), self._counted.get("output_tokens"))
        return Told.of(self._said, used, [self._finish])

    def read(self, name: str, data: str) -> list[Piece]:
        """The piece of one event; none for the last one, which `close` writes."""
        value = parse_object(data)
        kind = value.get("type", name)
        if (
            not isinstance(kind, str)
            or not kind.replace("_", "").isalnum()
            or (self._labels.more("type", kind))
        ):
            raise MalformedReplyError(f"type: got {kind!r:.40}, expected an event's name")
        if kind == "error":
            raise ModelServerError("the upstream reports an error in the stream")
        if kind == "message_stop":
            self.done = True
            return []
        if kind in ("message_start", "message_delta"):
            self._count(value, kind)
        parts = tuple(self._parts(kind, value))
        delta = value.get("delta")
        self._deltas += kind == "content_block_delta"
        plain = len(parts) == 1 and isinstance(delta, dict) and _spoken(delta) is not None
        ends = kind == "message_delta" and isinstance(delta, dict) and "stop_reason" in delta
        if ends and isinstance(delta, dict):
            self._stopped(delta["stop_reason"])
        return [Piece(0, parts, whole=not plain, ends=ends, data=(kind, data, value))]

    def _count(self, value: fields.Body, kind: str) -> None:
        message = value.get("message") if kind == "message_start" else value
        if not isinstance(message, dict):
            raise MalformedReplyError(f"message: got {message!r:.40}, expected an object")
        if kind == "message_start":
            self._name(message)
        self._use(message.get("usage"))

    def _use(self, usage: Any) -> None:
        if isinstance(usage, dict) and not unlabelled(usage):
            self._counted.update(usage)

    def _name(self, message: fields.Body) -> None:
        """What the gateway's own events and the traces say: never what may be a text."""
        named = {key: message[key] for key in ("id", "model") if key in message}
        self._said = {key: each for key, each in named.items() if not self._labels.more(key, each)}
        self._head.update(self._said)

    def _stopped(self, reason: Any) -> None:
        self._finish = None if self._labels.more("stop_reason", reason) else reason

    def _parts(self, kind: str, value: fields.Body) -> Iterator[Part]:
        index = value.get("index")
        if index is not None and not isinstance(index, int):
            raise MalformedReplyError(f"index: got {index!r:.40}, expected a whole number")
        if kind == "content_block_delta":
            yield from _delta(value.get("delta"), index)
            if not value.keys() <= {"type", "index", "delta"}:
                yield from self._beside(_without(value, ("type", "delta")))
            return
        apart: tuple[str, ...] = ()
        if kind == "message_start":
            message, apart = value["message"], ("message",)
            if message.get("content") is not None:
                yield from _blocks(message["content"])
            yield from self._beside(_without(message, ("content",)))
        elif kind == "content_block_start":
            apart = ("content_block",)
            yield from _block(value.get("content_block"), index)
        elif kind == "message_delta" and isinstance(value.get("delta"), dict):
            apart = ("delta",)
            yield from self._beside(value["delta"])
        yield from self._beside(_without(value, apart))

    def _beside(self, value: fields.Body) -> Iterator[Part]:
        """The text of a message or of an event outside its content."""
        yield from (("other", text) for text in _told(_without(value, _APART)))
        for name in sorted(_APART & value.keys()):
            found = value[name]
            told = strings(found) if name == "content" else self._labels.more(name, found)
            yield from (("other", text) for text in told)

    def emit(self, piece: Piece, text: str | None) -> bytes:
        """The event that carries `text`; remembers which block the client has open."""
        kind, data, value = piece.data
        if kind == "message_start":
            self._begun = True
        elif kind == "content_block_start":
            self._open = value.get("index")
        elif kind == "content_block_stop":
            self._open = None
        if text is None:
            return encode(data, kind)
        delta = {**value["delta"], piece.parts[0][0]: text}
        return encode_json({**value, "delta": delta}, kind)

    def cut(self, lane: int, ruling: Ruling) -> bytes:
        """The events that end a message which was stopped, begun or not."""
        sent = b"" if self._begun else self._start()
        if self._open is not None:
            stop = {"type": "content_block_stop", "index": self._open}
            sent += encode_json(stop, "content_block_stop")
        delta = {
            "type": "message_delta",
            "delta": {"stop_reason": "refusal", "stop_sequence": None, **_details(ruling)},
            "usage": {"output_tokens": self._output_tokens()},
            **_explained(ruling),
        }
        return sent + encode_json(delta, "message_delta")

    def _start(self) -> bytes:
        self._begun = True
        return encode_json({"type": "message_start", "message": self._head}, "message_start")

    def _output_tokens(self) -> int:
        counted = self._counted.get("output_tokens")
        return max(self._deltas, counted if isinstance(counted, int) else 0)

    def note(self, ruling: Ruling) -> bytes:
        """A ping that carries the guard's object: clients pass over pings."""
        return encode_json({"type": "ping", **_explained(ruling)}, "ping")

    def close(self) -> bytes:
        """The message's last event."""
        return encode_json({"type": "message_stop"}, "message_stop")

    def fail(self, status: int, message: str) -> bytes:
        """An error event."""
        body = Messages().error(status, message, code="upstream_error", param=None)
        return encode_json(body, "error")

    def pieces(self, body: fields.Body) -> list[Piece]:
        """The pieces of a whole reply."""
        if not isinstance(body.get("content"), list):
            raise MalformedReplyError(f"content: got {body.get('content')!r:.60}, expected a list")
        self._use(body.get("usage"))
        self._name(body)
        self._stopped(body.get("stop_reason"))
        parts = (*_blocks(body["content"]), *self._beside(_without(body, ("content",))))
        found = [Piece(0, (part,), whole=part[0] not in ("text", "thinking")) for part in parts]
        return [*found, Piece(0, ends=True)]

    def rebuild(
        self, body: fields.Body, kept: Mapping[int, Kept], cuts: Mapping[int, Ruling]
    ) -> fields.Body:
        """The message with what may leave of its text, as one block."""
        text = kept.get(0, {}).get("text", "")
        usage = {**self._head["usage"], **self._counted}
        content = [{"type": "text", "text": text}] if text else []
        return {**self._refused(cuts[0]), "content": content, "usage": usage}

    def refusal(self, ruling: Ruling) -> fields.Body:
        """A whole message that was cut before it began."""
        return self._refused(ruling)

    def _refused(self, ruling: Ruling) -> fields.Body:
        return {**self._head, "stop_reason": "refusal", **_details(ruling), **_explained(ruling)}


def _details(ruling: Ruling) -> fields.Body:
    category = _CATEGORY.get(ruling.verdict.rule or "", "general_harms")
    return {
        "stop_details": {
            "type": "refusal",
            "category": None if ruling.verdict.failure else category,
            "explanation": "Stopped by the safety policy of this gateway.",
        }
    }


def _explained(ruling: Ruling) -> fields.Body:
    return {"guard": guard_object(ruling)} if ruling.explain else {}


def _told(value: Any, *, sealed: frozenset[str] = _SEALED) -> Iterator[str]:
    """Every text in a part of a reply, labels and what is in no language left out."""
    return texts(value, labels=_LABELS, drawn=_IDS, sealed=sealed, names=False)


def _without(value: fields.Body, names: Collection[str]) -> fields.Body:
    return {name: each for name, each in value.items() if name not in names}


def _blocks(content: Any) -> Iterator[Part]:
    if not isinstance(content, list):
        raise MalformedReplyError(f"content: got {content!r:.60}, expected a list")
    for place, block in enumerate(content):
        yield from _block(block, place)


def _block(block: Any, index: Any) -> Iterator[Part]:
    """Every text in a content block."""
    if not isinstance(block, dict):
        raise MalformedReplyError(f"a content block is {block!r:.40}, expected an object")
    kind = block.get("type")
    if kind in ("text", "thinking"):
        yield from ((kind, each) for each in strings(block.get(kind)))
        yield from (("other", text) for text in _told(_without(block, (kind,))))
    else:
        channel = f"tool:{index}" if isinstance(kind, str) and kind.endswith("_use") else "other"
        yield from ((channel, text) for text in _plain(block))


def _plain(block: fields.Body) -> Iterator[str]:
    """The text of a tool call or a tool's result, arguments as JSON."""
    arguments = block.get("input")
    redacted = block.get("type") == "redacted_thinking"
    yield from _told(
        _without(block, ("input",)), sealed=_SEALED | {"data"} if redacted else _SEALED
    )
    if arguments:
        yield json.dumps(arguments, ensure_ascii=False)


def _spoken(delta: fields.Body) -> tuple[str, str] | None:
    """Channel and field of a delta that holds plain text."""
    kind = delta.get("type")
    return _DELTAS.get(kind) if isinstance(kind, str) else None


def _delta(delta: Any, index: Any) -> Iterator[Part]:
    if not isinstance(delta, dict):
        raise MalformedReplyError(f"delta: got {delta!r:.40}, expected an object")
    kind = delta.get("type")
    if (spoken := _spoken(delta)) is not None:
        channel, field = spoken
        yield from ((channel, text) for text in strings(delta.get(field)))
        if len(delta) > 2:
            yield from (("other", text) for text in _told(_without(delta, ("type", field))))
    else:
        channel = f"tool:{index}" if kind == "input_json_delta" else "other"
        yield from ((channel, text) for text in _told(delta))
