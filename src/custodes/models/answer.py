"""A server's JSON answer, read step by step so that a wrong shape is a clear error.

Knows nothing of HTTP.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from custodes.errors import ModelServerError

__all__ = ["Answer"]

T = TypeVar("T")
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Answer:
    """A JSON object and where it came from."""

    value: dict[str, Any]
    origin: str

    @classmethod
    def read(cls, data: bytes | str, origin: str) -> Self:
        """Parse; `ModelServerError` where `data` is not a JSON object."""
        try:
            value = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ModelServerError(
                f"{origin}: got {data[:80]!r}, expected JSON ({error})"
            ) from error
        if not isinstance(value, dict):
            raise ModelServerError(f"{origin}: got {data[:80]!r}, expected a JSON object")
        return cls(value, origin)

    def get(self, kind: type[T], *path: str | int) -> T | None:
        """The value at `path` if it is there and of this kind, else None."""
        value: Any = self.value
        for step in path:
            if isinstance(step, str) and isinstance(value, dict):
                value = value.get(step, _MISSING)
            elif isinstance(step, int) and isinstance(value, list) and step < len(value):
                value = value[step]
            else:
                return None
        return value if isinstance(value, kind) else None

    def need(self, kind: type[T], *path: str | int) -> T:
        """The value at `path`; `ModelServerError` where it is missing or of another kind."""
        value = self.get(kind, *path)
        if value is None:
            place = ".".join(map(str, path))
            raise ModelServerError(
                f"{self.origin}: got {json.dumps(self.value)[:200]}, expected {place} of kind "
                f"{kind.__name__}: is this the right kind of server?"
            )
        return value
