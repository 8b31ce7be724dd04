"""OpenAI's chat completions, as its users' clients speak them.

Whatever text a chunk carries, in fields known or unknown, is judged before the chunk leaves.
A chunk that carries one known text alone may leave bit by bit, any other leaves whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from custodes.errors import ModelServerError
from custodes.server.wire import fields
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
from custodes.server.wire.labels import Repeated, unlabelled
from custodes.server.wire.openai_texts import (
    CHOICE,
    DELTA,
    TEXTS,
    beside_logs,
    logged,
    mute,
    spoken,
    unknown,
)
from custodes.server.wire.openai_turns import message_of
from custodes.server.wire.sse import encode, encode_json

__all__ = ["Chat", "ChatReply"]

_OUTSIDE = frozenset(
    (
        "messages",
        "model",
        "stream",
        "stream_options",
        "n",
        "stop",
        "user",
        "safety_identifier",
        "prompt_cache_key",
        "service_tier",
        "reasoning_effort",
        "verbosity",
        "modalities",
        "metadata",
        "tool_choice",
        "seed",
        "function_call",
    )
)
"""Request fields that are judged as messages or that no model reads as text."""
_RATED = ("content_filter_results", "prompt_filter_results", "usage")
"""Fields of labels and numbers, as Azure fills them for every chunk."""
_CHUNK = frozenset(
    (
        "id",
        "object",
        "model",
        "created",
        "choices",
        "usage",
        "system_fingerprint",
        "service_tier",
        "obfuscation",
        "provider",
        "prompt_filter_results",
    )
)


_LABELS = _CHUNK - {*_RATED, "choices"}
_REASONS = ("finish_reason", "stop_reason")


class Chat:
    """`POST /v1/chat/completions`."""

    route = "/v1/chat/completions"

    def ask(self, body: fields.Body, *, allow_unjudged: bool) -> Asked:
        """Translate a request."""
        turns = [
            message_of(turn, f"messages[{place}]", allow_unjudged=allow_unjudged)
            for place, turn in enumerate(fields.items(body, "messages"))
        ]
        fields.no_token_numbers(body, allowed=allow_unjudged)
        options = body.get("stream_options")
        return Asked(
            conversations=(tuple(turns),),
            model=fields.string(body, "model"),
            stream=fields.flag(body, "stream"),
            choices_each=fields.choices(body),
            extras=fields.extras(body, _OUTSIDE),
            max_tokens=fields.integer(body, "max_completion_tokens")
            or fields.integer(body, "max_tokens"),
            stop=fields.stops(body, "stop"),
            temperature=fields.number(body, "temperature"),
            include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        )

    def reply(self, asked: Asked, *, id_: str, created: int) -> ChatReply:
        """Begin to translate a reply."""
        return ChatReply(asked, id_=f"chatcmpl-{id_}", created=created)

    def error(self, status: int, message: str, *, code: str, param: str | None) -> fields.Body:
        """An error's body."""
        kind = "invalid_request_error" if status < 500 else "server_error"
        return {"error": {"message": message, "type": kind, "param": param, "code": code}}


class ChatReply:
    """One reply, streamed or whole."""

    kind = "chat.completion"

    def __init__(self, asked: Asked, *, id_: str, created: int) -> None:
        self._asked = asked
        self._head: fields.Body = {"id": id_, "created": created, "model": asked.model}
        self._usage: Any = None
        self._usage_sent = False
        self._deltas = 0
        self._said: fields.Body = {}
        self._finishes: dict[int, Any] = {}
        said = (asked.model, asked.model.partition("/")[2], *asked.stop)
        self._labels = Repeated(said, ids=frozenset(["id"]), sealed=frozenset(["obfuscation"]))
        self.done = False

    @property
    def told(self) -> Told:
        """What the upstream has said of the reply."""
        usage = self._usage if isinstance(self._usage, dict) else {}
        used = (usage.get("prompt_tokens"), usage.get("completion_tokens"))
        return Told.of(self._said, used, [self._finishes[lane] for lane in sorted(self._finishes)])

    def read(self, name: str, data: str) -> list[Piece]:
        """The pieces of one chunk; none for the closing [DONE]."""
        if data.strip() == "[DONE]":
            self.done = True
            return []
        chunk = parse_object(data)
        if name == "error" or chunk.get("error"):
            raise ModelServerError("the upstream reports an error in the stream")
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            raise MalformedReplyError(f"choices: got {choices!r:.60}, expected a list")
        self._remember(chunk)
        if not choices:
            return [Piece(-1, self._around(chunk, -1), data=chunk)]
        if len(choices) == 1:
            return [self._piece(data, chunk, choices[0])]
        rest = {key: value for key, value in chunk.items() if key != "choices"}
        return [self._piece(None, {**rest, "choices": [choice]}, choice) for choice in choices]

    def _remember(self, chunk: fields.Body) -> None:
        """What the gateway's own chunks and the traces say: never what may be a text."""
        for key in self._head:
            if key in chunk and not self._labels.more(key, chunk[key]):
                self._head[key] = self._said[key] = chunk[key]
        usage = chunk.get("usage")
        if usage and not unlabelled(usage):
            self._usage = usage
        self._deltas += len(chunk["choices"])

    def _around(self, chunk: fields.Body, lane: int) -> tuple[Part, ...]:
        """The text of a chunk outside its choices, as one."""
        found = list(strings(chunk, passed=_CHUNK))
        for name, value in chunk.items():
            if name in _LABELS:
                found += self._labels.fresh(name, value, lane)
            elif name in _RATED:
                found += unlabelled(value)
        return (("other", "\n".join(found)),) if found else ()

    def _ended(self, choice: fields.Body, lane: int) -> list[Part]:
        """What is said of a choice: why it ended, where that is more than a label."""
        found: list[Part] = beside_logs(choice)
        for name in _REASONS:
            reason = choice.get(name)
            if reason is not None:
                found += [("other", text) for text in self._labels.fresh(name, reason, lane)]
                if name == "finish_reason":
                    self._finishes[lane] = reason if not self._labels.more(name, reason) else None
        return found

    def _piece(self, data: str | None, chunk: fields.Body, choice: Any) -> Piece:
        """The piece of a chunk with one choice; `data`: the bytes it came in."""
        lane = _lane(choice, self._asked)
        parts = (*self.parts(choice), *self._ended(choice, lane), *self._around(chunk, lane))
        plain = len(parts) == 1 and parts[0][0] in self.texts and self.bare(choice)
        ends = choice.get("finish_reason") is not None
        return Piece(lane, parts, whole=ends or not plain, ends=ends, data=(data, chunk))

    texts: tuple[str, ...] = TEXTS
    bare_choice: frozenset[str] = CHOICE | {"delta"}
    """Fields of a choice in a stream that says nothing beside its text."""

    def bare(self, choice: fields.Body) -> bool:
        """Whether a choice says nothing beside its text, so that it may leave with less of it."""
        delta = choice.get("delta")
        if choice.get("logprobs") or (delta and not mute(delta, DELTA)):
            return False
        return mute(choice, self.bare_choice)

    def parts(self, choice: fields.Body) -> tuple[Part, ...]:
        """Every text in a choice, with its channel."""
        delta = choice.get("delta") or {}
        if not isinstance(delta, dict):
            raise MalformedReplyError(f"delta: got {delta!r:.60}, expected an object")
        return (*spoken(delta), *unknown(choice, "delta")) or logged(choice)

    def emit(self, piece: Piece, text: str | None) -> bytes:
        """The chunk that carries `text`."""
        if piece.lane < 0:
            self._usage_sent = self._usage_sent or bool(piece.data.get("usage"))
            return encode_json(piece.data)
        data, chunk = piece.data
        if text is None:
            return encode_json(chunk) if data is None else encode(data)
        return encode_json({**chunk, "choices": [self.with_text(chunk, piece.parts[0][0], text)]})

    def with_text(self, chunk: fields.Body, channel: str, text: str) -> fields.Body:
        """The chunk's choice, carrying another text."""
        choice: fields.Body = chunk["choices"][0]
        return {**choice, "delta": {**choice["delta"], channel: text}}

    def cut(self, lane: int, ruling: Ruling) -> bytes:
        """The chunk that ends a choice which was stopped."""
        return self._chunk(
            [{"index": lane, **self.empty, "finish_reason": "content_filter"}], ruling
        )

    empty: Mapping[str, Any] = {"delta": {}}

    def note(self, ruling: Ruling) -> bytes:
        """A chunk without choices that carries the guard's object."""
        return self._chunk([], ruling)

    def close(self) -> bytes:
        """The usage, where it was asked for and has not been sent, and [DONE]."""
        missing = self._asked.include_usage and not self._usage_sent
        usage = b""
        if missing:
            usage = encode_json({**self._top("chunk"), "choices": [], "usage": self._used()})
        return usage + encode("[DONE]")

    def fail(self, status: int, message: str) -> bytes:
        """An error event; no [DONE] follows."""
        return encode_json(Chat().error(status, message, code="upstream_error", param=None))

    def pieces(self, body: fields.Body) -> list[Piece]:
        """The pieces of a whole reply."""
        choices = body.get("choices")
        if not isinstance(choices, list) or body.get("error"):
            raise MalformedReplyError(f"choices: got {choices!r:.60}, expected a list")
        self._remember(body)
        if not choices and self._around(body, -1):
            raise MalformedReplyError("choices: got none, and text beside them; expected some")
        found = []
        for choice in choices:
            lane = _lane(choice, self._asked)
            ended = self._ended(choice, lane)
            parts = (*self.whole_parts(choice), *ended, *self._around(body, lane))
            found += [Piece(lane, (part,), whole=part[0] not in self.texts) for part in parts]
            found.append(Piece(lane, ends=True))
        return found

    def whole_parts(self, choice: fields.Body) -> tuple[Part, ...]:
        """Every text in a choice of a whole reply."""
        message = choice.get("message")
        if not isinstance(message, dict):
            raise MalformedReplyError(f"message: got {message!r:.60}, expected an object")
        return (*spoken(message), *unknown(choice, "message")) or logged(choice)

    def rebuild(
        self, body: fields.Body, kept: Mapping[int, Kept], cuts: Mapping[int, Ruling]
    ) -> fields.Body:
        """The reply, of each cut choice only the text that may leave."""
        choices = [
            self._cut_choice(choice["index"], kept.get(choice["index"], {}))
            if choice["index"] in cuts
            else choice
            for choice in body["choices"]
        ]
        known = {key: body[key] for key in body if self._bare(key, body[key])}
        worst = max(cuts.values(), key=lambda each: each.verdict.score)
        return {**self._top(""), **known, "choices": choices, **_explained(worst)}

    def _bare(self, name: str, value: Any) -> bool:
        """Whether a field of a reply that was cut may stay: it says nothing."""
        if name == "choices" or name not in _CHUNK:
            return name == "choices"
        return not (self._labels.more(name, value) if name in _LABELS else unlabelled(value))

    def _cut_choice(self, lane: int, kept: Kept) -> fields.Body:
        texts = {name: kept[name] for name in self.texts if kept.get(name)}
        return {"index": lane, **self.saying(texts), "finish_reason": "content_filter"}

    def saying(self, texts: Kept) -> fields.Body:
        """The part of a whole choice that holds its text."""
        return {"message": {"role": "assistant", "content": "", "refusal": None, **texts}}

    def refusal(self, ruling: Ruling) -> fields.Body:
        """A whole reply whose every choice was cut before it began."""
        return {
            **self._top(""),
            "choices": [self._cut_choice(lane, {}) for lane in range(self._asked.choices)],
            "usage": self._used(),
            **_explained(ruling),
        }

    def _top(self, suffix: str) -> fields.Body:
        kind = f"{self.kind}.{suffix}" if suffix and self.kind == "chat.completion" else self.kind
        return {"object": kind, **self._head}

    def _chunk(self, choices: list[fields.Body], ruling: Ruling) -> bytes:
        return encode_json({**self._top("chunk"), "choices": choices, **_explained(ruling)})

    def _used(self) -> Any:
        """What the upstream counted last; else a count of deltas, marked as an estimate."""
        if self._usage is not None:
            return self._usage
        letters = sum(len(turn.content) for each in self._asked.conversations for turn in each)
        prompt = (letters + 3) // 4 if self._deltas else 0
        return {
            "prompt_tokens": prompt,
            "completion_tokens": self._deltas,
            "total_tokens": prompt + self._deltas,
            "estimated": True,
        }


def _explained(ruling: Ruling) -> fields.Body:
    return {"guard": guard_object(ruling)} if ruling.explain else {}


def _lane(choice: Any, asked: Asked) -> int:
    lane = choice.get("index") if isinstance(choice, dict) else None
    if isinstance(lane, bool) or not isinstance(lane, int) or not 0 <= lane < asked.choices:
        raise MalformedReplyError(f"a choice of index {lane!r:.40}, {asked.choices} were asked for")
    return lane
