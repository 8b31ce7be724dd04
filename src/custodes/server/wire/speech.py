"""Put plain text into a wire format: how a model in this process speaks to the gateway.

The same events and bodies that a server of that format would send.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from custodes.server.wire.base import Asked

__all__ = ["Speech"]

Named = tuple[str, str]
"""An event's name and its data."""


class Speech:
    """One reply in the format of `route`; `lanes` are its choices."""

    def __init__(self, route: str, asked: Asked, *, id_: str, created: int) -> None:
        self._route = route
        self._asked = asked
        self._id = id_
        self._created = created

    @property
    def _messages(self) -> bool:
        return self._route == "/v1/messages"

    def begin(self, lane: int, prompt_tokens: int) -> list[Named]:
        """The events before a choice's first text."""
        if self._messages:
            block, used = {"type": "text", "text": ""}, (prompt_tokens, 0)
            return [
                _named({"type": "message_start", "message": self._message([], None, used)}),
                _named({"type": "content_block_start", "index": 0, "content_block": block}),
            ]
        if self._route == "/v1/completions":
            return []
        return [self._chunk({"index": lane, "delta": {"role": "assistant", "content": ""}})]

    def say(self, lane: int, text: str) -> Named:
        """One piece of text."""
        if self._messages:
            delta = {"type": "text_delta", "text": text}
            return _named({"type": "content_block_delta", "index": 0, "delta": delta})
        if self._route == "/v1/completions":
            return self._chunk({"index": lane, "text": text})
        return self._chunk({"index": lane, "delta": {"content": text}})

    def end(self, lane: int, *, cut_short: bool, tokens: int) -> list[Named]:
        """The events after a choice's last text; `tokens`: how many it has."""
        if self._messages:
            reason = "max_tokens" if cut_short else "end_turn"
            return [
                _named({"type": "content_block_stop", "index": 0}),
                _named(
                    {
                        "type": "message_delta",
                        "delta": {"stop_reason": reason, "stop_sequence": None},
                        "usage": {"output_tokens": tokens},
                    }
                ),
                _named({"type": "message_stop"}),
            ]
        finish = "length" if cut_short else "stop"
        empty: dict[str, Any] = {"text": ""} if self._route == "/v1/completions" else {"delta": {}}
        return [self._chunk({"index": lane, **empty}, finish)]

    def close(self, tokens: tuple[int, int]) -> list[Named]:
        """The events after all choices; `tokens`: of the prompts and of the replies."""
        if self._messages:
            return []
        done = ("message", "[DONE]")
        if not self._asked.include_usage:
            return [done]
        usage = json.dumps({**self._top(True), "choices": [], "usage": _usage(*tokens)})
        return [("message", usage), done]

    def whole(
        self, texts: Sequence[str], *, cut_short: Sequence[bool], tokens: tuple[int, int]
    ) -> dict[str, Any]:
        """A whole reply; `tokens`: of the prompts and of the replies."""
        if self._messages:
            content = [{"type": "text", "text": texts[0]}]
            return self._message(content, "max_tokens" if cut_short[0] else "end_turn", tokens)
        choices = []
        for lane, text in enumerate(texts):
            said: dict[str, Any] = {"message": {"role": "assistant", "content": text}}
            if self._route == "/v1/completions":
                said = {"text": text}
            finish = "length" if cut_short[lane] else "stop"
            choices.append({"index": lane, **said, "logprobs": None, "finish_reason": finish})
        return {**self._top(False), "choices": choices, "usage": _usage(*tokens)}

    def _top(self, streamed: bool) -> dict[str, Any]:
        if self._route == "/v1/completions":
            prefix, kind = "cmpl", "text_completion"
        else:
            prefix = "chatcmpl"
            kind = "chat.completion.chunk" if streamed else "chat.completion"
        head = {"id": f"{prefix}-{self._id}", "object": kind, "created": self._created}
        return {**head, "model": self._asked.model}

    def _chunk(self, choice: dict[str, Any], finish: str | None = None) -> Named:
        choice = {**choice, "finish_reason": finish}
        return "message", json.dumps({**self._top(True), "choices": [choice]})

    def _message(
        self, content: list[Any], reason: str | None, tokens: tuple[int, int]
    ) -> dict[str, Any]:
        return {
            "id": f"msg_{self._id}",
            "type": "message",
            "role": "assistant",
            "model": self._asked.model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": {"input_tokens": tokens[0], "output_tokens": tokens[1]},
        }


def _named(value: dict[str, Any]) -> Named:
    return value["type"], json.dumps(value)


def _usage(prompt: int, reply: int) -> dict[str, int]:
    total = prompt + reply
    return {"prompt_tokens": prompt, "completion_tokens": reply, "total_tokens": total}
