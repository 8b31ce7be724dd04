"""An event as a row of the table, and the bytes of it that are hashed.

What is stored must read back equal on every database, else a genuine row would look altered:
numbers are floats without a minus zero, text holds no NUL and no lone surrogate.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from custodes.errors import StoreError
from custodes.store.events import Event
from custodes.store.tables import events

__all__ = ["HASHED", "Cipher", "StoredEvent", "canonical", "clean", "decode", "encode"]

HASHED = tuple(
    column.name for column in events.columns if column.name not in {"seq", "previous", "hash"}
)
"""The columns that the hash covers; the place of a row is proven by the chain itself."""

_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


class Cipher(Protocol):
    """What encrypts text at rest."""

    def seal(self, text: str, *, at: float) -> str:
        """Encrypt; `at`: seconds since 1970."""
        ...

    def open(self, sealed: str) -> str | None:
        """Decrypt; `None` where no key fits."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event as it stands in the chain.

    `sealed`: a text is stored; `event.text` is `None` all the same where it was not asked for
    or no key opens it.
    """

    seq: int
    hash: str
    sealed: bool
    event: Event


def encode(event: Event, cipher: Cipher | None = None) -> dict[str, Any]:
    """The row's hashed columns; the text is kept only with a `cipher`.

    `StoreError` where a number is not finite or not of 64 bits.
    """
    sealed = None
    if event.text is not None and cipher is not None:
        sealed = cipher.seal(event.text, at=_number(event.at, "at"))
    return {
        "id": clean(event.id),
        "at": _number(event.at, "at"),
        "key": clean(event.key),
        "route": clean(event.route),
        "mode": clean(event.mode),
        "judged": clean(event.judged),
        "action": clean(event.action),
        "score": _number(event.score, "score"),
        "rule": None if event.rule is None else clean(event.rule),
        "logits": _JSON({clean(k): _number(v, f"logits.{k}") for k, v in event.logits.items()}),
        "versions": _JSON({clean(k): clean(v) for k, v in event.versions.items()}),
        "latency_ms": _number(event.latency_ms, "latency_ms"),
        "stop_at": None if event.stop_at is None else _place(event.stop_at),
        "failure": None if event.failure is None else clean(event.failure),
        "text": sealed,
    }


def clean(text: str) -> str:
    """Text that every database takes, with U+FFFD for NUL and lone surrogates.

    A request must not be able to make its event unstorable, nor a query fail.
    """
    plain = str(text)
    if plain.isascii() and "\0" not in plain:
        return plain
    return (
        plain.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    )


def canonical(row: Mapping[str, Any]) -> bytes:
    """The bytes that are hashed: JSON of the hashed columns, sorted, without the empty ones.

    Leaving out what is null lets a later version add a column and still verify older rows.
    """
    return _JSON({name: row[name] for name in HASHED if row[name] is not None}).encode("ascii")


def decode(row: Mapping[str, Any], cipher: Cipher | None = None) -> StoredEvent:
    """The event of a row; its text only with a `cipher` that holds the right key.

    `StoreError` for a row that holds what no event does.
    """
    fields = {name: row[name] for name in HASHED}
    try:
        fields["logits"] = json.loads(row["logits"])
        fields["versions"] = json.loads(row["versions"])
    except (ValueError, TypeError) as error:
        raise StoreError(
            f"event {row['seq']}: cannot be read ({error}): it was altered, or the database is "
            "damaged; custodes audit verify says from where on"
        ) from error
    sealed = row["text"]
    fields["text"] = cipher.open(sealed) if sealed is not None and cipher is not None else None
    return StoredEvent(
        seq=row["seq"], hash=row["hash"], sealed=sealed is not None, event=Event(**fields)
    )


def _number(value: float, name: str) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise StoreError(f"event: {name} is {number}, expected a finite number; it was not stored")
    return number + 0.0  # -0.0 becomes 0.0, as SQLite would make it


def _place(stop_at: int) -> int:
    place = int(stop_at)
    if not 0 <= place < 2**63:
        raise StoreError(f"event: stop_at is {place}, expected 0 to 2**63 - 1; it was not stored")
    return place
