"""Read a request's fields: the right value, or a `RequestError` that names the field.

Knows JSON values; knows no format.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, TypeVar

from custodes.server.wire.base import RequestError, strings

__all__ = [
    "Body",
    "choices",
    "extras",
    "flag",
    "integer",
    "items",
    "no_token_numbers",
    "number",
    "stops",
    "string",
    "unjudged",
]

Body = dict[str, Any]

ValueT = TypeVar("ValueT")

_MOST_CHOICES = 128
"""Replies to one request, whatever it holds them for."""


def _typed(body: Mapping[str, Any], name: str, kind: type[ValueT], expected: str) -> ValueT | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise RequestError(f"{name}: got {value!r:.80}, expected {expected}", param=name)
    return value


def string(body: Mapping[str, Any], name: str) -> str:
    """A string that must be there."""
    value = _typed(body, name, str, "a string")
    if value is None:
        raise RequestError(f"{name}: missing, expected a string", param=name)
    return value


def flag(body: Mapping[str, Any], name: str) -> bool:
    """True or false; false where it is missing."""
    return bool(_typed(body, name, bool, "true or false"))


def integer(body: Mapping[str, Any], name: str, *, most: int | None = None) -> int | None:
    """A whole number from 1, or None where it is missing."""
    value = _typed(body, name, int, "a whole number")
    if value is not None and not 1 <= value <= (value if most is None else most):
        limit = "1 or more" if most is None else f"1 to {most}"
        raise RequestError(f"{name}: got {value}, expected {limit}", param=name)
    return value


def choices(body: Mapping[str, Any], *, prompts: int = 1) -> int:
    """How many replies to each of the prompts are asked for."""
    each = integer(body, "n", most=_MOST_CHOICES) or 1
    if each * prompts > _MOST_CHOICES:
        raise RequestError(
            f"prompt: got {prompts} prompts with {each} replies each, expected at most "
            f"{_MOST_CHOICES} replies in all: send them in several requests",
            param="prompt",
        )
    return each


def number(body: Mapping[str, Any], name: str) -> float:
    """A number; 0 where it is missing."""
    value = body.get(name)
    if value is None:
        return 0.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            if isfinite(found := float(value)):
                return found
        except OverflowError:  # a whole number of more than 308 digits
            raise RequestError(f"{name}: got a number that is too large", param=name) from None
    raise RequestError(f"{name}: got {value!r:.80}, expected a number", param=name)


def items(body: Mapping[str, Any], name: str) -> list[Any]:
    """A list that must be there and hold something."""
    value = _typed(body, name, list, "a list")
    if not value:
        raise RequestError(f"{name}: got nothing, expected a list of at least one", param=name)
    return value


def stops(body: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Stop strings: none, one, or a list."""
    value = body.get(name)
    if value is None:
        return ()
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise RequestError(f"{name}: got {value!r:.80}, expected strings", param=name)
    return tuple(each for each in found if each)


def unjudged(place: str, kind: Any, *, allowed: bool) -> None:
    """Refuse a part that no guard can read, unless the operator lets such parts through."""
    if not allowed:
        raise RequestError(
            f"{place}: a part of type {kind!r:.40} cannot be judged and is not let through here; "
            "send text, or ask the operator (allow_unjudged_parts)",
            param=place,
            code="unsupported_part",
        )


def no_token_numbers(body: Mapping[str, Any], *, allowed: bool) -> None:
    """Refuse to ask for token numbers: they say what a reply says, and no guard reads them."""
    for name in ("return_token_ids", "return_tokens_as_token_ids"):
        if body.get(name):
            unjudged(name, "token numbers", allowed=allowed)


def extras(body: Mapping[str, Any], known: frozenset[str]) -> tuple[str, ...]:
    """The text in every field that is not `known` to stay out of the model."""
    found = (
        "\n".join(strings(value, names=True)) for name, value in body.items() if name not in known
    )
    return tuple(text for text in found if text)
