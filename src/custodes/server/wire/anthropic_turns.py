"""The turns of a request as Anthropic's clients write them: blocks, and every text in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from custodes.server.wire import fields
from custodes.server.wire.base import RequestError
from custodes.server.wire.labels import texts
from custodes.types import Message

__all__ = ["messages_of", "texts_of"]

_LABELS = frozenset(
    ("type", "id", "tool_use_id", "index", "cache_control", "media_type", "role", "is_error")
)
_SEALED = frozenset(["signature", "encrypted_content", "encrypted_index"])
_NAMES = frozenset(
    (
        *("text", "thinking", "content", "source", "title", "context", "citations", "name"),
        *("data", "url", "ttl", "enabled", "caller", "cited_text", "document_title", "page_age"),
    )
)
"""Further fields of a request's blocks: their names are the format's, what they hold is judged."""
_BLOCKS = frozenset(("text", "thinking", "redacted_thinking", "document", "tool_reference"))
_KINDS = ("_use", "_result", "_error", "_output")
"""Kinds of blocks that hold text, and endings of such kinds: calls, and what tools give back."""
_UNREADABLE = frozenset(
    (
        *("image", "document", "container_upload", "image_url", "input_image", "audio"),
        *("input_audio", "video", "video_url", "audio_url", "file", "input_file"),
    )
)
_ELSEWHERE = frozenset(["base64", "url", "file"])
"""Sources whose content nobody can read here."""


def messages_of(turn: Any, place: str, *, allow_unjudged: bool) -> Iterator[Message]:
    """A turn; a tool's results in it become turns of their own, before the rest."""
    role = turn.get("role") if isinstance(turn, dict) else None
    if role not in ("user", "assistant", "system"):
        raise RequestError(
            f"{place}.role: got {role!r:.40}, expected user, assistant or system", param=place
        )
    content = turn.get("content")
    blocks = content if isinstance(content, list) else []
    said = []
    for index, block in enumerate(blocks):
        if _of_a_tool(block):
            found = texts_of([block], f"{place}.content[{index}]", allow_unjudged)
            yield Message("tool", "\n".join(found))
        else:
            said.append(block)
    told = (
        [] if blocks and not said else texts_of(said or content, f"{place}.content", allow_unjudged)
    )
    told = [*told, *_judged({name: turn[name] for name in turn if name not in ("role", "content")})]
    if told or said or not blocks:
        yield Message(role, "\n".join(told))


def _of_a_tool(block: Any) -> bool:
    """Whether a block is what a tool gave back; a `search_result` is of who says it."""
    return isinstance(block, dict) and str(block.get("type")).endswith("tool_result")


def texts_of(content: Any, place: str, allow_unjudged: bool) -> Iterator[str]:
    """The texts of a content field: a string, or blocks."""
    if content is None:
        return
    if isinstance(content, str):
        yield content
        return
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        raise RequestError(f"{place}: got {content!r:.40}, expected text or blocks", param=place)
    for index, block in enumerate(content):
        kind = block.get("type") if isinstance(block, dict) else None
        if not isinstance(kind, str):
            raise RequestError(
                f"{place}[{index}]: got {block!r:.40}, expected a block with a type",
                param=f"{place}[{index}]",
            )
        if (strange := _unreadable(block)) is None:
            yield from _judged(block)
        else:
            fields.unjudged(f"{place}[{index}]", strange, allowed=allow_unjudged)


def _judged(block: fields.Body) -> Iterator[str]:
    """Every text of a request's block, arguments of a tool as JSON."""
    arguments = block.get("input")
    rest = {name: value for name, value in block.items() if name != "input"}
    redacted = block.get("type") == "redacted_thinking"
    yield from texts(
        rest, labels=_LABELS, sealed=_SEALED | {"data"} if redacted else _SEALED, known=_NAMES
    )
    if arguments:
        yield json.dumps(arguments, ensure_ascii=False)


def _unreadable(block: fields.Body) -> str | None:
    """The type of the first thing in a block, at any depth, that is not known to be text."""
    stack: list[tuple[Any, bool]] = [(block, True)]
    while stack:
        item, is_block = stack.pop()
        if isinstance(item, list):
            stack.extend((each, is_block) for each in reversed(item))
        elif isinstance(item, dict):
            kind = item.get("type")
            if not _readable(item) or (is_block and not _known(kind)):
                return str(kind)
            stack.extend((value, key == "content") for key, value in item.items() if key != "input")
    return None


def _known(kind: Any) -> bool:
    return isinstance(kind, str) and (kind in _BLOCKS or kind.endswith(_KINDS))


def _readable(item: fields.Body) -> bool:
    """Whether an object is no picture, sound or file, by its type and its source."""
    kind, source = item.get("type"), item.get("source")
    origin = source.get("type") if isinstance(source, dict) else None
    if kind == "document":
        return origin in ("text", "content")
    unreadable = isinstance(kind, str) and kind in _UNREADABLE
    return not (unreadable or (isinstance(origin, str) and origin in _ELSEWHERE))
