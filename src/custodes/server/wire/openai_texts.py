"""Every text in a reply of OpenAI's formats, whichever field it stands in.

Called for every token, hence plain and without generators where a token passes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from custodes.server.wire.base import MalformedReplyError, Part, strings
from custodes.server.wire.labels import texts, unlabelled

__all__ = ["CHOICE", "DELTA", "TEXTS", "beside_logs", "logged", "mute", "spoken", "unknown"]

TEXTS = ("reasoning_content", "reasoning", "content", "refusal")
"""The fields of a delta that hold plain text; each is a channel."""
DELTA = frozenset((*TEXTS, "role", "tool_calls"))
CHOICE = frozenset(("index", "finish_reason", "logprobs", "stop_reason", "content_filter_results"))
"""Fields of a choice that hold no text of the model's, or are read apart."""
_SPEAKERS = frozenset([None, "assistant", "tool", ""])
_CALL = frozenset(["index", "type"])
_ID = frozenset(["id"])
_SPOKEN = {spoken: CHOICE | {spoken} for spoken in ("delta", "message")}
_LOGS = frozenset(("content", "refusal", "tokens", "token_logprobs", "top_logprobs", "text_offset"))
_ARGUMENTS = (("function", "arguments"), ("custom", "input"), ("function_call", "arguments"))


def spoken(message: dict[str, Any]) -> list[Part]:
    """Every text in a delta or a message."""
    found: list[Part] = []
    for name in TEXTS:
        value = message.get(name)
        if isinstance(value, str):
            if value:
                found.append((name, value))
        elif value is not None:
            found += [("other", text) for text in strings(value)]
    calls = message.get("tool_calls")
    for place, call in enumerate(calls if isinstance(calls, list) else [calls] if calls else ()):
        index = call.get("index", place) if isinstance(call, dict) else place
        found += [(f"tool:{index}", text) for text in _called(call)]
    role = message.get("role")
    if role is not None and not (isinstance(role, str) and role in _SPEAKERS):
        found += [("other", text) for text in unlabelled(role)]
    if message.keys() <= DELTA:
        return found
    rest = {name: value for name, value in message.items() if name not in DELTA}
    return found + [("other", text) for text in strings(_written(rest))]


def _called(call: Any) -> Iterator[str]:
    """The texts of a call, its id only where it is none."""
    return texts(_written(call), labels=_CALL, drawn=_ID, names=False)


def _written(call: Any) -> Any:
    """A call with its arguments as JSON, names among them, where they are an object."""
    if not isinstance(call, dict):
        return call
    for holder, field in _ARGUMENTS:
        inner = call.get(holder)
        if isinstance(inner, dict) and isinstance(inner.get(field), dict | list):
            written = json.dumps(inner[field], ensure_ascii=False)
            call = {**call, holder: {**inner, field: written}}
    return call


def mute(value: dict[str, Any], known: frozenset[str]) -> bool:
    """Whether fields that are not known say nothing: a number may be that of a token."""
    return value.keys() <= known or all(
        value[name] is None or isinstance(value[name], bool) for name in value.keys() - known
    )


def unknown(choice: dict[str, Any], field: str) -> list[Part]:
    """The text of a choice outside the `field` that is known to speak."""
    found = [("other", text) for text in strings(choice, passed=_SPOKEN[field])]
    rated = choice.get("content_filter_results")
    return found if rated is None else found + [("other", text) for text in unlabelled(rated)]


def beside_logs(choice: dict[str, Any]) -> list[Part]:
    """What stands beside the probabilities of tokens, which are to be of their shape."""
    shown = choice.get("logprobs")
    if shown is None:
        return []
    if not isinstance(shown, dict):
        raise MalformedReplyError(f"logprobs: got {shown!r:.60}, expected an object")
    for name in ("content", "refusal", "tokens"):
        _rows(shown, name)
    return [("other", text) for text in strings(shown, passed=_LOGS)]


def logged(choice: dict[str, Any]) -> tuple[Part, ...]:
    """The tokens of a choice that shows their probabilities and not their text."""
    shown = choice.get("logprobs")
    if not isinstance(shown, dict):
        return ()
    rows = [*_rows(shown, "content"), *_rows(shown, "refusal")]
    tokens = [row.get("token") if isinstance(row, dict) else row for row in rows]
    tokens += _rows(shown, "tokens")
    told = "".join(token for token in tokens if isinstance(token, str))
    return (("other", told),) if told else ()


def _rows(shown: dict[str, Any], name: str) -> list[Any]:
    value = shown.get(name)
    if value is not None and not isinstance(value, list):
        raise MalformedReplyError(f"logprobs.{name}: got {value!r:.60}, expected a list")
    return value or []
