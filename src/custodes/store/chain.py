"""The hash chain over events: how rows are added to it, and how it is verified.

hash(row) = SHA-256(previous hash, a line feed, canonical bytes of the row). The head row names
the last event; whoever adds rows locks it, so that many processes write one chain without gaps.
Whoever may write to the database may also recompute the whole chain: against that, keep
checkpoints elsewhere (`custodes audit checkpoint`) and verify against them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from sqlalchemy import Connection, Row, func, insert, select, update

from custodes.errors import ConfigError, StoreError
from custodes.store.rows import HASHED, canonical
from custodes.store.tables import events, head
from custodes.store.tallies import add_tallies

__all__ = [
    "GENESIS",
    "Checkpoint",
    "Fault",
    "Verification",
    "checkpoint",
    "extend",
    "link",
    "verify",
]

GENESIS = "0" * 64
"""What stands for the hash before the first event."""

_ROWS_AT_ONCE = 2_000
_NO_HEAD = "the chain has no head row: it was deleted by hand; restore a backup"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A place in the chain, to be kept where the database's owner cannot reach it."""

    seq: int
    hash: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str()` gives, such as `1042:9f86...`; `ConfigError` otherwise."""
        found = re.fullmatch(r"(\d{1,18}):([0-9a-f]{64})", text.strip())
        if found is None:
            raise ConfigError(
                f"checkpoint: got {text!r:.90}, expected SEQ:HASH as `custodes audit checkpoint` "
                "prints it"
            )
        return cls(int(found[1]), found[2])

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"


class Fault(StrEnum):
    """What is wrong at the first bad row."""

    ALTERED = "altered"
    MISSING = "missing"
    REORDERED = "reordered"
    TRUNCATED = "truncated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What `verify` found: `rows` good ones up to `last`; then, if any, the first fault.

    `first_bad` is a `seq`: of the row that does not fit, or of the first that should be there.
    """

    rows: int
    last: Checkpoint
    first_bad: int | None = None
    kind: Fault | None = None

    @property
    def ok(self) -> bool:
        """No fault was found."""
        return self.kind is None


def link(previous: str, content: bytes) -> str:
    """The hash of a row: hexadecimal SHA-256 of the previous hash and the row's bytes."""
    return hashlib.sha256(previous.encode("ascii") + b"\n" + content).hexdigest()


def checkpoint(connection: Connection) -> Checkpoint:
    """The head of the chain; 0 and `GENESIS` before the first event."""
    row = connection.execute(select(head.c.seq, head.c.hash)).one_or_none()
    if row is None:
        raise StoreError(_NO_HEAD)
    return Checkpoint(row.seq, row.hash)


def extend(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> list[int | None]:
    """Add rows (of `encode`) to the chain and return the `seq` of each.

    The caller's transaction must hold the write lock from its start on SQLite (see
    `database.writing`); on PostgreSQL the head row is locked here. An event that is already in
    the chain is not added again and its `seq` is returned, so that a caller who does not know
    whether a commit arrived may try again; `None` where its id belongs to a different event.
    """
    last = connection.execute(select(head.c.seq, head.c.hash).with_for_update()).one_or_none()
    if last is None:
        raise StoreError(_NO_HEAD)
    known = _known(connection, [row["id"] for row in rows])
    seq, previous = last.seq, last.hash
    added: list[Mapping[str, Any]] = []
    for row in rows:
        if row["id"] in known:
            continue
        seq += 1
        digest = link(previous, canonical(row))
        known[row["id"]] = {**row, "seq": seq, "previous": previous, "hash": digest}
        added.append(known[row["id"]])
        previous = digest
    if added:
        connection.execute(insert(events), added)
        add_tallies(connection, added)
        connection.execute(update(head).values(seq=seq, hash=previous))
    stored = [known[row["id"]] for row in rows]
    return [
        there["seq"] if _same(there, row) else None for there, row in zip(stored, rows, strict=True)
    ]


def _known(connection: Connection, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    found = connection.execute(select(events).where(events.c.id.in_(ids)))
    return {row.id: row._asdict() for row in found}


def _same(stored: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    # Sealing the same text twice gives two cipher texts.
    return all(stored[name] == row[name] for name in HASHED if name != "text")


def verify(connection: Connection, since: Checkpoint | None = None) -> Verification:
    """Recompute the chain, all of it or from a checkpoint on, and name the first fault.

    Give a connection of `database.snapshot`, so that writers do not disturb it. With `since`, the
    row of that checkpoint must be there with that hash, and the rows after it are recomputed;
    a chain that verifies both whole and since a checkpoint is genuine up to that checkpoint.
    """
    good = since or Checkpoint(0, GENESIS)
    start = good.seq
    fault = _anchor_fault(connection, good)
    if fault is not None:
        return Verification(rows=0, last=good, first_bad=good.seq, kind=fault)
    query = select(events).where(events.c.seq > start).order_by(events.c.seq)
    with connection.execute(query.execution_options(yield_per=_ROWS_AT_ONCE)) as rows:
        for row in rows:
            fault = _fault(connection, row, good)
            if fault is not None:
                return Verification(
                    rows=good.seq - start, last=good, first_bad=good.seq + 1, kind=fault
                )
            good = Checkpoint(row.seq, row.hash)
    fault = _end_fault(connection, good)
    return Verification(
        rows=good.seq - start,
        last=good,
        first_bad=None if fault is None else good.seq + 1,
        kind=fault,
    )


def _anchor_fault(connection: Connection, anchor: Checkpoint) -> Fault | None:
    if anchor.seq == 0:
        return None
    stored = connection.scalar(select(events.c.hash).where(events.c.seq == anchor.seq))
    if stored is not None:
        return None if stored == anchor.hash else Fault.ALTERED
    last = connection.scalar(select(func.max(events.c.seq))) or 0
    return Fault.TRUNCATED if last < anchor.seq else Fault.MISSING


def _fault(connection: Connection, row: Row[Any], last: Checkpoint) -> Fault | None:
    try:
        expected = link(row.previous, canonical(row._asdict()))
    except (ValueError, TypeError, AttributeError):  # nothing that was ever stored by us
        return Fault.ALTERED
    if expected != row.hash:
        return Fault.ALTERED
    if row.previous != last.hash:
        if _is_there(connection, row.previous):
            return Fault.REORDERED
        return Fault.MISSING if row.seq != last.seq + 1 else Fault.ALTERED
    return None if row.seq == last.seq + 1 else Fault.ALTERED


def _is_there(connection: Connection, digest: str) -> bool:
    found = select(events.c.seq).where(events.c.hash == digest).limit(1)
    return digest == GENESIS or connection.scalar(found) is not None


def _end_fault(connection: Connection, last: Checkpoint) -> Fault | None:
    stored = connection.execute(select(head.c.seq, head.c.hash)).one_or_none()
    if stored is None or stored.seq > last.seq:
        return Fault.TRUNCATED
    return None if (stored.seq, stored.hash) == (last.seq, last.hash) else Fault.ALTERED
