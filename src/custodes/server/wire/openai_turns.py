"""The turns of a request as OpenAI's clients write them: who speaks, and every text in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from custodes.server.wire import fields
from custodes.server.wire.base import RequestError
from custodes.server.wire.labels import texts
from custodes.types import Message, Role

__all__ = ["message_of"]

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_LABELS = frozenset(["role", "tool_call_id", "id", "index", "type", "cache_control"])
"""Fields of a turn that hold names of things."""
_NAMES = frozenset(
    (
        "name",
        "arguments",
        "function",
        "function_call",
        "tool_calls",
        "custom",
        "input",
        "text",
        "refusal",
        "audio",
        "annotations",
        "ttl",
        *("reasoning_content", "reasoning", "reasoning_details", "summary"),
    )
)
"""Further fields of a turn: their names are the format's, what they hold is judged."""


def message_of(turn: Any, place: str, *, allow_unjudged: bool) -> Message:
    """A turn of a conversation with every text in it; `place` is what errors call it."""
    role = turn.get("role") if isinstance(turn, dict) else None
    if not isinstance(role, str) or role not in _ROLES:
        raise RequestError(
            f"{place}.role: got {role!r:.40}, expected one of {', '.join(_ROLES)}", param=place
        )
    said = list(_content(turn.get("content"), f"{place}.content", allow_unjudged))
    rest = {name: value for name, value in turn.items() if name != "content"}
    return Message(_ROLES[role], "\n".join([*said, *_texts(rest)]))


def _texts(value: fields.Body) -> Iterator[str]:
    """What a turn says beside its content; the arguments of a call may be an object."""
    return texts(value, labels=_LABELS, known=_NAMES)


def _content(content: Any, place: str, allow_unjudged: bool) -> Iterator[str]:
    if content is None:
        return
    if isinstance(content, str):
        yield content
        return
    if not isinstance(content, list):
        raise RequestError(f"{place}: got {content!r:.40}, expected text or parts", param=place)
    for index, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get(kind) if kind in ("text", "refusal") else None
        if isinstance(text, str):
            yield text
            yield from _texts({name: each for name, each in part.items() if name != kind})
        else:
            fields.unjudged(f"{place}[{index}]", kind, allowed=allow_unjudged)
