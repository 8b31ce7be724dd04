"""What an upstream is: a request of some wire format in, its reply out.

Knows neither guards nor clients.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from custodes.classifiers.features.record import PassRecord
from custodes.models.sse import ServerEvent
from custodes.server.wire.base import Asked

__all__ = ["Answered", "Call", "Upstream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request: the format's route, the body as the client sent it, what was read of it.

    `headers`: those of the client's that the format itself defines (anthropic-version ...).
    `records`: one a choice, where the guard reads the passes that write the reply.
    """

    route: str
    body: Mapping[str, Any]
    asked: Asked
    headers: Mapping[str, str] = field(default_factory=dict)
    records: tuple[PassRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came back: `events` of a stream, else `body`. `status` 400 and above is an error.

    Reading `events` raises `ModelError` where the upstream breaks, stalls or talks nonsense.
    """

    status: int
    body: dict[str, Any] | None = None
    events: AsyncIterator[ServerEvent] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Upstream(Protocol):
    """A place that answers."""

    name: str

    def serves(self, route: str) -> bool:
        """Whether it speaks this format."""
        ...

    def ask(self, call: Call) -> AbstractAsyncContextManager[Answered]:
        """Ask; leaving the context cancels what is left of the reply. Raises `ModelError`."""
        ...

    async def models(self) -> list[str]:
        """The names of its models; `ModelError` where it does not answer."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
