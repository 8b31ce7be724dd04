"""API keys: made, found, revoked.

A token is `cus_ID_SECRET`. The id is public: it names the key in events and in `custodes keys`.
Of the token only the SHA-256 is stored; its 256 random bits need no slow hash.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, Row, insert, select, update

from custodes.errors import DataError
from custodes.store.rows import clean
from custodes.store.tables import keys

__all__ = [
    "Key",
    "KeyMode",
    "KeyRole",
    "create_key",
    "find_key",
    "list_keys",
    "named_key",
    "revoke_key",
]


class KeyRole(StrEnum):
    """What a key may do: ask the gateway; also review; also administer."""

    CLIENT = "client"
    REVIEWER = "reviewer"
    ADMIN = "admin"


class KeyMode(StrEnum):
    """What a verdict does to this key's traffic: cut it, mark it, or only be recorded."""

    ENFORCE = "enforce"
    FLAG = "flag"
    SHADOW = "shadow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An API key without its secret; times are seconds since 1970."""

    id: str
    name: str
    role: KeyRole
    mode: KeyMode
    created: float
    revoked: float | None = None


def create_key(
    connection: Connection,
    name: str,
    *,
    role: KeyRole = KeyRole.CLIENT,
    mode: KeyMode = KeyMode.ENFORCE,
    now: float,
) -> tuple[Key, str]:
    """Store a new key; the second value is its token, which cannot be had again.

    `DataError` where the name is empty or not printable.
    """
    if not name.strip() or not name.isprintable():
        raise DataError(f"key: got the name {name!r}, expected some printable text")
    key = Key(id=secrets.token_hex(6), name=name, role=role, mode=mode, created=now)
    token = f"cus_{key.id}_{secrets.token_urlsafe(32)}"
    connection.execute(
        insert(keys).values(
            id=key.id,
            hash=_hash(token),
            name=name,
            role=role.value,
            mode=mode.value,
            created=now,
        )
    )
    return key, token


def find_key(connection: Connection, token: str) -> Key | None:
    """The key of a token, or `None` where there is none or it is revoked.

    The row is found by the public id; the secret is compared by its hash in constant time, also
    where no row was found.
    """
    parsed = _TOKEN.fullmatch(token)
    row = None
    if parsed is not None:
        row = connection.execute(select(keys).where(keys.c.id == parsed[1])).one_or_none()
    stored = _NOBODY if row is None else row.hash
    equal = hmac.compare_digest(stored, _hash(token))
    return _key(row) if equal and row is not None and row.revoked is None else None


def named_key(connection: Connection, id_: str) -> Key | None:
    """The key of an id, or `None` where there is none or it is revoked: for those who have shown
    its token before."""
    live = keys.c.id == clean(id_), keys.c.revoked.is_(None)
    row = connection.execute(select(keys).where(*live)).one_or_none()
    return None if row is None else _key(row)


def list_keys(connection: Connection) -> list[Key]:
    """Every key, the revoked too, oldest first."""
    rows = connection.execute(select(keys).order_by(keys.c.created, keys.c.id))
    return [_key(row) for row in rows]


def revoke_key(connection: Connection, key: str, *, now: float) -> Key:
    """Revoke by id, for good; a second time changes nothing. `DataError` where there is none."""
    live = keys.c.id == key, keys.c.revoked.is_(None)
    connection.execute(update(keys).where(*live).values(revoked=now))
    row = connection.execute(select(keys).where(keys.c.id == key)).one_or_none()
    if row is None:
        raise DataError(
            f"key: there is none with the id {key!r}; `custodes keys list` shows the ids"
        )
    return _key(row)


_TOKEN = re.compile(r"cus_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_NOBODY = "0" * 64


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _key(row: Row[tuple[object, ...]]) -> Key:
    return Key(
        id=row.id,
        name=row.name,
        role=KeyRole(row.role),
        mode=KeyMode(row.mode),
        created=row.created,
        revoked=row.revoked,
    )
