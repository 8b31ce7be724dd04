"""Ask in each wire format, and read all that a client was shown, whatever field it stands in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2

from custodes.models.sse import EventDecoder
from custodes.server.conformance.cells import Cell

__all__ = ["Shown", "body_of", "show"]


@dataclass(slots=True)
class Shown:
    """`texts`: choice -> the text of its channel; `elsewhere`: whatever else the client got."""

    texts: dict[int, str] = field(default_factory=dict)
    elsewhere: str = ""
    endings: set[str] = field(default_factory=set)
    """Why the reply ended, as the format words it; `error` for an error of any kind."""

    def take(self, value: Any, *, streamed: bool) -> None:
        """One event, or the whole body."""
        if not isinstance(value, dict):
            return
        for lane, text in _piece(value) if streamed else _whole(value):
            self.texts[lane] = self.texts.get(lane, "") + text
        self.endings.update(_endings(value))
        if value.get("error"):
            self.elsewhere += json.dumps(value["error"], ensure_ascii=False)


def body_of(cell: Cell, model: str, prompt: str, asked: str) -> dict[str, Any]:
    """The request; harm stands where the cell says."""
    body: dict[str, Any] = {"model": model, "stream": cell.stream, "max_tokens": 4000}
    if cell.choices > 1:
        body["n"] = cell.choices
    if cell.route == "/v1/completions":
        body["prompt"] = {"user": asked, "part": [prompt, asked]}.get(cell.place, prompt)
        return body
    messages = cell.route == "/v1/messages"
    turns: list[dict[str, Any]] = [{"role": "user", "content": prompt}]
    if cell.place == "user":
        turns[0]["content"] = asked
    elif cell.place == "part":
        turns[0]["content"] = [{"type": "text", "text": each} for each in (prompt, asked)]
    elif cell.place == "history":
        turns = [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": "I would rather not."},
            *turns,
        ]
    elif cell.place == "system" and messages:
        body["system"] = asked
    elif cell.place == "system":
        turns.insert(0, {"role": "system", "content": asked})
    elif cell.place == "tool result":
        turns += _messages_tool(asked) if messages else _chat_tool(asked)
    elif cell.place == "tool":
        body["tools"] = [_tool(asked, messages=messages)]
    body["messages"] = turns
    return body


def _chat_tool(result: str) -> list[dict[str, Any]]:
    function = {"name": "note", "arguments": "{}"}
    call = {"id": "call_1", "type": "function", "function": function}
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": result},
    ]


def _messages_tool(result: str) -> list[dict[str, Any]]:
    used = {"type": "tool_use", "id": "toolu_1", "name": "note", "input": {}}
    given = {"type": "tool_result", "tool_use_id": "toolu_1", "content": result}
    return [{"role": "assistant", "content": [used]}, {"role": "user", "content": [given]}]


def _tool(description: str, *, messages: bool) -> dict[str, Any]:
    schema = {"type": "object", "properties": {}}
    if messages:
        return {"name": "note", "description": description, "input_schema": schema}
    function = {"name": "note", "description": description, "parameters": schema}
    return {"type": "function", "function": function}


def show(client: httpx2.Client, address: str, body: dict[str, Any], *, patience: float) -> Shown:
    """Ask, and listen until the end or for `patience` seconds of silence."""
    shown = Shown()
    if not body.get("stream"):
        response = client.post(address, json=body)
        shown.take(response.json(), streamed=False)
        return shown
    decoder = EventDecoder()
    try:
        with client.stream("POST", address, json=body, timeout=patience) as response:
            streamed = "text/event-stream" in response.headers.get("content-type", "")
            if not streamed:
                shown.take(json.loads(response.read()), streamed=False)
                return shown
            for data in response.iter_bytes():
                for event in decoder.push(data):
                    if event.data != "[DONE]":
                        shown.take(json.loads(event.data), streamed=True)
    except httpx2.RemoteProtocolError:  # the gateway broke off, which tells the client as well
        shown.endings.add("error")
    except httpx2.ReadTimeout:
        shown.endings.add("silence")
    return shown


def _endings(value: dict[str, Any]) -> Iterator[str]:
    delta = value.get("delta")
    for each in (value, delta if isinstance(delta, dict) else {}):
        if isinstance(each.get("stop_reason"), str):
            yield each["stop_reason"]
    for choice in value.get("choices") or []:
        if isinstance(choice.get("finish_reason"), str):
            yield choice["finish_reason"]
    if value.get("error") or value.get("type") == "error":
        yield "error"


def _piece(value: dict[str, Any]) -> Iterator[tuple[int, str]]:
    for choice in value.get("choices") or []:
        delta = choice.get("delta") or {}
        calls = delta.get("tool_calls") or []
        texts = [choice.get("text"), delta.get("content"), _reasoning(delta)]
        texts += [call.get("function", {}).get("arguments") for call in calls]
        yield choice["index"], "".join(text for text in texts if text)
    delta = value.get("delta") or {}
    if value.get("type") == "content_block_delta":
        texts = [delta.get(name) for name in ("text", "thinking", "partial_json")]
        yield 0, "".join(text for text in texts if text)


def _whole(value: dict[str, Any]) -> Iterator[tuple[int, str]]:
    for choice in value.get("choices") or []:
        message = choice.get("message") or {}
        calls = message.get("tool_calls") or []
        texts = [choice.get("text"), message.get("content"), _reasoning(message)]
        texts += [call.get("function", {}).get("arguments") for call in calls]
        yield choice["index"], "".join(text for text in texts if text)
    for block in value.get("content") or []:
        arguments = block.get("input")
        written = json.dumps(arguments, ensure_ascii=False) if arguments else None
        texts = [block.get("text"), block.get("thinking"), written]
        yield 0, "".join(text for text in texts if text)


def _reasoning(message: dict[str, Any]) -> str | None:
    return message.get("reasoning_content") or message.get("reasoning")
