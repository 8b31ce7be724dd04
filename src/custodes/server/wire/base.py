"""What every wire format is translated into, on both ways.

A request becomes an `Asked`: conversations to judge. A reply becomes `Piece`s: events on their
way to the client, each with the text in it that must be judged before the event may leave.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from custodes.errors import InputError, ModelServerError
from custodes.types import Conversation, Verdict

__all__ = [
    "Asked",
    "Kept",
    "MalformedReplyError",
    "Part",
    "Piece",
    "RequestError",
    "Ruling",
    "Told",
    "Wire",
    "WireReply",
    "guard_object",
    "parse_object",
    "strings",
]

Kept = Mapping[str, str]
"""Channel -> the text of it that may leave."""


class RequestError(InputError):
    """A request that cannot be served: `status`, the field (`param`) and a short `code`."""

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        status: int = 400,
        code: str = "invalid_request",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.param = param
        self.status = status
        self.code = code
        self.headers = dict(headers or {})


class MalformedReplyError(ModelServerError):
    """The upstream said something that is not of its wire format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as far as the gateway needs to know it.

    `conversations`: one a prompt; choice i of the reply belongs to conversation
    i // `choices_each`. `extras`: further texts that go into the model (tool definitions), each
    judged alone. `model`: what the client calls it. `max_tokens` and `stop`: for models that are
    asked in process.
    """

    conversations: tuple[Conversation, ...]
    model: str
    stream: bool = False
    choices_each: int = 1
    extras: tuple[str, ...] = ()
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    include_usage: bool = True

    @property
    def choices(self) -> int:
        """How many replies are asked for in all."""
        return self.choices_each * len(self.conversations)


Part = tuple[str, str]
"""A channel of a choice (content, reasoning, tool:0 ...) and text that was added to it."""


@dataclass(slots=True)
class Piece:
    """One event on its way to the client.

    `lane`: the choice it belongs to, -1 for the stream as a whole. `parts`: what must be judged
    before it leaves. `whole`: it leaves in one piece or not at all; else it has one part, which
    may leave bit by bit. `ends`: the choice is complete with it. `data`: the wire format's own.
    `at`: when it came, by the flow's clock.
    """

    lane: int
    parts: tuple[Part, ...] = ()
    whole: bool = True
    ends: bool = False
    data: Any = None
    at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """The verdict on one choice (or on the input), and whether the client is told of its ground.

    `stop_at`: characters of the channel that had left when the reply was cut.
    """

    verdict: Verdict
    stop_at: int | None = None
    logits: Mapping[str, float]
    explain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the upstream itself said of a reply so far; names are cut short."""

    id: str | None = None
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    finishes: tuple[str, ...] = ()

    @classmethod
    def of(cls, head: Mapping[str, Any], used: tuple[Any, Any], finishes: Iterable[Any]) -> Told:
        """From what may be of any type."""

        def name(value: Any) -> str | None:
            return value[:128] if isinstance(value, str) else None

        def count(value: Any) -> int | None:
            return value if type(value) is int else None

        return cls(
            id=name(head.get("id")),
            model=name(head.get("model")),
            input_tokens=count(used[0]),
            output_tokens=count(used[1]),
            finishes=tuple(each[:32] for each in finishes if isinstance(each, str)),
        )


def guard_object(ruling: Ruling) -> dict[str, Any]:
    """What a client that may ask is told of a verdict."""
    verdict = ruling.verdict
    return {
        "action": verdict.action.value,
        "judged": verdict.mode.value,
        "rule": verdict.rule,
        "probability": verdict.score,
        "flags": list(verdict.flags),
        "stage": verdict.stage,
        "code": verdict.code,
        "stop_at": ruling.stop_at,
        "failure": verdict.failure,
        "constitution": verdict.constitution,
        "artifact": verdict.artifact,
    }


class WireReply(Protocol):
    """One reply in one format, streamed or whole."""

    done: bool
    """Whether the upstream has said that the stream is complete."""

    @property
    def told(self) -> Told:
        """What the upstream has said of the reply."""
        ...

    def read(self, name: str, data: str) -> list[Piece]:
        """The pieces of one server-sent event; `MalformedReplyError` where it makes no sense,
        `ModelServerError` where it reports an error."""
        ...

    def emit(self, piece: Piece, text: str | None) -> bytes:
        """The event that carries `text` (None: all of the piece), encoded."""
        ...

    def cut(self, lane: int, ruling: Ruling) -> bytes:
        """The events that end a choice which was stopped."""
        ...

    def note(self, ruling: Ruling) -> bytes:
        """An event that carries the guard's object without stopping anything."""
        ...

    def close(self) -> bytes:
        """The events that end a stream whose choices have all ended."""
        ...

    def fail(self, status: int, message: str) -> bytes:
        """The events that end a stream which broke."""
        ...

    def pieces(self, body: dict[str, Any]) -> list[Piece]:
        """The pieces of a whole reply; `data` is not used."""
        ...

    def rebuild(
        self, body: dict[str, Any], kept: Mapping[int, Kept], cuts: Mapping[int, Ruling]
    ) -> dict[str, Any]:
        """A whole reply of which some choices were cut."""
        ...

    def refusal(self, ruling: Ruling) -> dict[str, Any]:
        """A whole reply to a request that was stopped: every choice cut before it began."""
        ...


class Wire(Protocol):
    """One format."""

    route: str
    """Path at the gateway and, behind the base address, at the upstream."""

    def ask(self, body: dict[str, Any], *, allow_unjudged: bool) -> Asked:
        """Translate a request; `RequestError` names what is wrong with it."""
        ...

    def reply(self, asked: Asked, *, id_: str, created: int) -> WireReply:
        """Begin to translate a reply."""
        ...

    def error(self, status: int, message: str, *, code: str, param: str | None) -> dict[str, Any]:
        """An error's body."""
        ...


def strings(
    value: Any, *, passed: frozenset[str] = frozenset(), names: bool = False
) -> Iterable[str]:
    """Every non-empty string inside a JSON value, in order; with `names` those of fields too.

    Fields of the value itself that are named in `passed` are not looked into.
    """
    if value is None or (isinstance(value, dict) and not names and value.keys() <= passed):
        return ()  # what every chunk of a plain reply comes to
    return _walk(value, passed, names)


def _walk(value: Any, passed: frozenset[str], names: bool) -> Iterator[str]:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            if item:
                yield item
        elif isinstance(item, dict):
            for name, each in reversed(item.items()):
                if item is not value or name not in passed:
                    stack += (each, name) if names else (each,)
        elif isinstance(item, list):
            stack.extend(reversed(item))


def parse_object(data: str) -> dict[str, Any]:
    """A JSON object out of an event's data."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MalformedReplyError(f"an event is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise MalformedReplyError(f"an event is a {type(value).__name__}, expected an object")
    return value
