"""Who looks at the console: a cookie that says which key signed in, and a signature on it.

The cookie holds the key's id, never the key; whether that key still lives and what it may do is
asked anew at every request. Knows no HTML.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from itsdangerous import BadData, URLSafeSerializer

from custodes.server.auth import Key, outranks
from custodes.server.config import KeyRole

__all__ = ["COOKIE", "SECONDS", "SECRET", "Sessions", "Ticket", "Viewer", "console_secret"]

COOKIE = "custodes_session"
SECRET = "CUSTODES_CONSOLE_SECRET"  # noqa: S105 - where it is, not what
"""The environment variable with the secret that cookies are signed with."""
SECONDS = 12 * 3600
"""How long a session lasts."""


def console_secret() -> str:
    """The secret of the environment, else a fresh one: then a restart ends every session."""
    return os.environ.get(SECRET) or secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What a cookie says: the key's id, when it signed in, the word that its forms must carry."""

    key: str
    at: float
    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """Whoever looks; `word` goes into every form, so that no other site can send one."""

    key: str
    role: KeyRole
    word: str

    @property
    def admin(self) -> bool:
        """Whether texts may be read and things changed."""
        return outranks(self.role, "admin")

    def said(self, word: str) -> bool:
        """Whether a form carries this viewer's word; in constant time."""
        return secrets.compare_digest(word.encode("utf-8", "replace"), self.word.encode())


class Sessions:
    """Makes tickets and reads them; `now`: seconds since 1970."""

    def __init__(self, secret: str, *, now: Callable[[], float]) -> None:
        self._now = now
        self._signer = URLSafeSerializer(
            secret,
            salt="custodes.console.session",
            signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
        )
        # Where no key is asked for there is no ticket to carry the word.
        self.local_word = secrets.token_urlsafe(16)

    def issue(self, key: Key) -> str:
        """The cookie of a new session."""
        return str(self._signer.dumps([key.id, self._now(), secrets.token_urlsafe(16)]))

    def read(self, cookie: str | None) -> Ticket | None:
        """What a cookie says; None where it was not made here, was altered or is too old."""
        if not cookie:
            return None
        try:
            key, at, word = self._signer.loads(cookie)
        except (BadData, ValueError, TypeError):
            return None
        ticket = Ticket(key=str(key), at=float(at), word=str(word))
        return ticket if 0 <= self._now() - ticket.at < SECONDS else None
