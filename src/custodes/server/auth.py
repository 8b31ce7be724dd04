"""Who asks: API keys by their hash, and what a key may do.

A key is 256 random bits, so a plain SHA-256 of it cannot be turned back; the key itself is never
kept, logged or compared.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from custodes.server.config import KeyConfig, KeyMode, KeyRole
from custodes.server.wire.base import RequestError

__all__ = [
    "LOCAL",
    "ConfiguredKeys",
    "Key",
    "KeyStore",
    "LocalKey",
    "SeveralStores",
    "authenticate",
    "hash_key",
    "outranks",
    "token_of",
]

_RANK: Mapping[str, int] = {"client": 0, "reviewer": 1, "admin": 2}


class Key(Protocol):
    """What is known of a key."""

    @property
    def id(self) -> str:
        """What events call it."""
        ...

    @property
    def role(self) -> KeyRole:
        """What it may do."""
        ...

    @property
    def mode(self) -> KeyMode:
        """What verdicts do to its traffic."""
        ...

    @property
    def explain(self) -> bool:
        """Whether it may ask for the ground of a verdict."""
        ...

    @property
    def per_minute(self) -> float | None:
        """Requests a minute; None takes the gateway's."""
        ...


class KeyStore(Protocol):
    """Finds keys; a revoked key is not found."""

    async def find(self, token: str) -> Key | None:
        """The key whose token this is; compares hashes, in constant time."""
        ...

    async def named(self, id_: str) -> Key | None:
        """The key of this id, for whoever has shown its token before."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalKey:
    """The key of whoever asks where no key is asked for."""

    id: str = "local"
    role: KeyRole = "admin"
    mode: KeyMode = "enforce"
    explain: bool = True
    per_minute: float | None = None


LOCAL = LocalKey()


def hash_key(token: str) -> str:
    """What is kept of a key: hexadecimal SHA-256."""
    return hashlib.sha256(token.encode("utf-8", errors="surrogatepass")).hexdigest()


class ConfiguredKeys:
    """The keys of a settings file."""

    def __init__(self, keys: Iterable[KeyConfig]) -> None:
        self._keys = tuple(keys)

    async def find(self, token: str) -> Key | None:
        """Looks at every key, so that the time tells nothing."""
        digest = hash_key(token)
        found: Key | None = None
        for key in self._keys:
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found

    async def named(self, id_: str) -> Key | None:
        """By id, of which the settings hold each once."""
        return next((key for key in self._keys if key.id == id_), None)


class SeveralStores:
    """The first store that knows a key answers."""

    def __init__(self, stores: Sequence[KeyStore]) -> None:
        self._stores = tuple(stores)

    async def find(self, token: str) -> Key | None:
        """Asks one store after the other."""
        for store in self._stores:
            key = await store.find(token)
            if key is not None:
                return key
        return None

    async def named(self, id_: str) -> Key | None:
        """Asks one store after the other."""
        for store in self._stores:
            key = await store.named(id_)
            if key is not None:
                return key
        return None


def outranks(role: KeyRole, least: KeyRole) -> bool:
    """Whether a role may do what `least` may."""
    return _RANK[role] >= _RANK[least]


def token_of(headers: Mapping[str, str]) -> str | None:
    """The key that a request carries: `Authorization: Bearer`, else `x-api-key`."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("x-api-key") or None


async def authenticate(
    headers: Mapping[str, str], store: KeyStore | None, *, role: KeyRole = "client"
) -> Key:
    """The key that asks; without a store it is `LOCAL`.

    `RequestError` 401 where there is none, 403 where its role is too low for `role`.
    """
    if store is None:
        return LOCAL
    token = token_of(headers)
    if token is None:
        raise RequestError(
            "no API key: send it as Authorization: Bearer KEY, or as x-api-key",
            status=401,
            code="missing_api_key",
            headers={"www-authenticate": "Bearer"},
        )
    key = await store.find(token)
    if key is None:
        raise RequestError(
            "unknown or revoked API key; ask the operator (custodes keys create)",
            status=401,
            code="invalid_api_key",
            headers={"www-authenticate": "Bearer"},
        )
    if not outranks(key.role, role):
        raise RequestError(
            f"a key of role {key.role} may not do this; expected {role}",
            status=403,
            code="insufficient_role",
        )
    return key
