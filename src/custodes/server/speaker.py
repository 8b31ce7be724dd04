"""Say a script in a wire format, as a server of that format would: text, reasoning, tool calls.

For the scripted upstream alone. Knows no network.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from custodes.server.wire.sse import encode, encode_json

__all__ = ["Speaker"]

Event = tuple[bytes, bool]
"""An encoded event, and whether it carries a piece of text."""

_TOOL = {"id": "call_1", "type": "function"}


class Speaker:
    """One reply to a request."""

    def __init__(self, path: str, body: Any) -> None:
        self._messages = path.endswith("/messages")
        self._completions = path.endswith("/completions") and not path.endswith("/chat/completions")
        self._model = body.get("model", "scripted")
        prompts = body.get("prompt") if self._completions else None
        self._choices = (body.get("n") or 1) * (len(prompts) if isinstance(prompts, list) else 1)
        options = body.get("stream_options")
        self._usage = isinstance(options, dict) and options.get("include_usage") is True

    def events(self, before: Sequence[str], pieces: Sequence[str], channel: str) -> Iterator[Event]:
        """The whole stream."""
        if self._messages:
            yield from self._message_events(before, pieces, channel)
        else:
            yield from self._chunks(before, pieces, channel)

    def spoiled(self, fault: str) -> bytes:
        """An event that an upstream should not send; nothing for faults of another kind."""
        if fault == "garbage":
            return encode('{"choices": [{"delta": {"content": "unfinished')
        if fault == "shape":
            return encode_json({"choices": "none", "type": "content_block_delta", "delta": 7})
        if fault == "error":
            error = {"type": "overloaded_error", "message": "overloaded"}
            return encode_json({"type": "error", "error": error}, "error")
        return b""

    # OpenAI

    def _chunks(
        self, before: Sequence[str], pieces: Sequence[str], channel: str
    ) -> Iterator[Event]:
        lanes = range(self._choices)
        if not self._completions:
            for lane in lanes:
                yield self._chunk(lane, {"delta": {"role": "assistant", "content": ""}}), False
        for text in before:
            for lane in lanes:
                yield self._chunk(lane, self._said(text, "content")), True
        if channel == "tool":
            for lane in lanes:
                call = {"index": 0, **_TOOL, "function": {"name": "note", "arguments": ""}}
                yield self._chunk(lane, {"delta": {"tool_calls": [call]}}), False
        for text in pieces:
            for lane in lanes:
                yield self._chunk(lane, self._said(text, channel)), True
        finish = "tool_calls" if channel == "tool" else "stop"
        empty: dict[str, Any] = {"text": ""} if self._completions else {"delta": {}}
        for lane in lanes:
            yield self._chunk(lane, empty, finish), False
        if self._usage:
            yield encode_json({**self._top(), "choices": [], "usage": _usage(len(pieces))}), False
        yield encode("[DONE]"), False

    def _said(self, text: str, channel: str) -> dict[str, Any]:
        if self._completions:
            return {"text": text}
        if channel == "tool":
            call = {"index": 0, "function": {"arguments": text}}
            return {"delta": {"tool_calls": [call]}}
        return {"delta": {"reasoning_content" if channel == "reasoning" else "content": text}}

    def _top(self) -> dict[str, Any]:
        kind = "text_completion" if self._completions else "chat.completion.chunk"
        return {
            "id": "scripted-1",
            "object": kind,
            "created": 1,
            "model": self._model,
            "unknown_number": 7,
        }

    def _chunk(self, lane: int, part: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": lane, **part, "finish_reason": finish, "unknown_flag": True}
        return encode_json({**self._top(), "choices": [choice]})

    # Anthropic

    def _message_events(
        self, before: Sequence[str], pieces: Sequence[str], channel: str
    ) -> Iterator[Event]:
        start = {"type": "message_start", "message": self._message([], None)}
        yield encode_json(start, "message_start"), False
        yield encode_json({"type": "ping"}, "ping"), False
        index = 0
        if before:
            yield from _block(0, before, "content")
            index = 1
        yield from _block(index, pieces, channel)
        reason = "tool_use" if channel == "tool" else "end_turn"
        delta = {
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": None},
            "usage": {"output_tokens": len(pieces)},
        }
        yield encode_json(delta, "message_delta"), False
        yield encode_json({"type": "message_stop"}, "message_stop"), False

    def _message(self, content: list[Any], reason: str | None) -> dict[str, Any]:
        return {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": {"input_tokens": 5, "output_tokens": 1},
        }

    # Whole

    def whole(self, before: Sequence[str], pieces: Sequence[str], channel: str) -> dict[str, Any]:
        """The reply in one body."""
        first, text = "".join(before), "".join(pieces)
        if self._messages:
            blocks = [{"type": "text", "text": first}] if first else []
            blocks.append(_whole_block(text, channel))
            return self._message(blocks, "tool_use" if channel == "tool" else "end_turn")
        choices = [
            {"index": lane, **self._whole_choice(first, text, channel), "unknown_flag": True}
            for lane in range(self._choices)
        ]
        kind = "text_completion" if self._completions else "chat.completion"
        usage = _usage(len(pieces))
        return {**self._top(), "object": kind, "choices": choices, "usage": usage}

    def _whole_choice(self, first: str, text: str, channel: str) -> dict[str, Any]:
        if self._completions:
            return {"text": first + text, "finish_reason": "stop", "logprobs": None}
        message: dict[str, Any] = {"role": "assistant", "content": first or None}
        if channel == "tool":
            call = {**_TOOL, "function": {"name": "note", "arguments": text}}
            return {"message": {**message, "tool_calls": [call]}, "finish_reason": "tool_calls"}
        name = "reasoning_content" if channel == "reasoning" else "content"
        message[name] = (first if name == "content" else "") + text
        return {"message": message, "finish_reason": "stop"}


def _block(index: int, pieces: Sequence[str], channel: str) -> Iterator[Event]:
    block: dict[str, Any] = {"type": "text", "text": ""}
    kind, field = "text_delta", "text"
    if channel == "reasoning":
        block, kind, field = {"type": "thinking", "thinking": ""}, "thinking_delta", "thinking"
    elif channel == "tool":
        block = {"type": "tool_use", "id": "toolu_1", "name": "note", "input": {}}
        kind, field = "input_json_delta", "partial_json"
    start = {"type": "content_block_start", "index": index, "content_block": block}
    yield encode_json(start, "content_block_start"), False
    for text in pieces:
        delta = {"type": kind, field: text}
        value = {"type": "content_block_delta", "index": index, "delta": delta}
        yield encode_json(value, "content_block_delta"), True
    yield encode_json({"type": "content_block_stop", "index": index}, "content_block_stop"), False


def _whole_block(text: str, channel: str) -> dict[str, Any]:
    if channel == "tool":
        try:
            arguments = json.loads(text)
        except ValueError:
            arguments = {"text": text}
        return {"type": "tool_use", "id": "toolu_1", "name": "note", "input": arguments}
    if channel == "reasoning":
        return {"type": "thinking", "thinking": text, "signature": ""}
    return {"type": "text", "text": text}


def _usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": 5, "completion_tokens": tokens, "total_tokens": 5 + tokens}
