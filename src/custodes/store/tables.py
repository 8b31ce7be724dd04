"""The tables: events in a hash chain, the chain's head, what was counted of them, API keys.

Says what is stored, not how it comes in or out. A change here needs a migration beside it
(migrations/versions); a test holds the two together.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

__all__ = [
    "SEQ",
    "arena",
    "events",
    "head",
    "keys",
    "latencies",
    "metadata",
    "tallies",
    "verifications",
]

_NAMES = {
    "ix": "%(table_name)s_%(column_0_N_name)s",
    "uq": "%(table_name)s_%(column_0_N_name)s_unique",
    "ck": "%(table_name)s_%(constraint_name)s",
    "pk": "%(table_name)s_primary",
}

# Only INTEGER PRIMARY KEY is SQLite's own row number; BIGINT would cost a second index.
SEQ = BigInteger().with_variant(Integer(), "sqlite")
"""A number that the database may give."""

metadata = MetaData(naming_convention=_NAMES)

events = Table(
    "events",
    metadata,
    Column("seq", SEQ, primary_key=True, autoincrement=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("id", Text, nullable=False, unique=True),
    Column("at", Double, nullable=False),
    Column("key", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("judged", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("score", Double, nullable=False),
    Column("rule", Text),
    Column("logits", Text, nullable=False),
    Column("versions", Text, nullable=False),
    Column("latency_ms", Double, nullable=False),
    Column("stop_at", BigInteger),
    Column("failure", Text),
    Column("text", Text),
)
"""One row a verdict, `seq` = 1, 2, 3 ... without gaps. `logits` and `versions` hold JSON objects
with sorted keys; `text` is encrypted or null. `hash` = SHA-256 of `previous` and of every column
from `id` on (see chain.py)."""

# One a filter of the console's list; each serves newest first.
Index(None, events.c.action, events.c.seq)
Index(None, events.c.rule, events.c.seq)
Index(None, events.c.key, events.c.seq)

head = Table(
    "head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)
"""One row: the last event's `seq` and `hash`. Every writer locks it for the length of a batch."""

tallies = Table(
    "tallies",
    metadata,
    Column("width", Integer, primary_key=True, autoincrement=False),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("judged", Text, primary_key=True),
    Column("action", Text, primary_key=True),
    Column("mode", Text, primary_key=True),
    Column("rule", Text, primary_key=True),
    Column("failed", Integer, primary_key=True, autoincrement=False),
    Column("events", BigInteger, nullable=False),
)
"""One row a bucket of `width` seconds and kind of verdict; `rule` is empty where none was named.
See tallies.py."""

latencies = Table(
    "latencies",
    metadata,
    Column("width", Integer, primary_key=True, autoincrement=False),
    Column("start", BigInteger, primary_key=True, autoincrement=False),
    Column("judged", Text, primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("events", BigInteger, nullable=False),
)
"""One row a bucket, judged part and step of latency."""

verifications = Table(
    "verifications",
    metadata,
    Column("at", Double, primary_key=True),
    Column("key", Text, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("last_hash", String(64), nullable=False),
    Column("first_bad", BigInteger),
    Column("kind", Text),
)
"""One row each time that a gateway verified the whole chain: when, for which key, what came of
it. Whoever can write here can invent one: it informs, `custodes audit verify` proves."""

arena = Table(
    "arena",
    metadata,
    Column("id", Text, primary_key=True),
    Column("at", Double, nullable=False, index=True),
    Column("key", Text, nullable=False),
    Column("player", Text, nullable=False),
    Column("level", Integer, nullable=False),
    Column("question", Text, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("turns", Text, nullable=False),
    Column("reply", Text, nullable=False),
    Column("stopped", Text),
    Column("grade", Double, nullable=False),
    Column("success", Integer, nullable=False),
)
"""One row an attempt in the arena; `turns` is a JSON list of role and content. Players are told
that what they write is kept."""

keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("hash", String(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("revoked", Double),
)
"""One row an API key; `hash` is SHA-256 of the whole token, which is stored nowhere."""
