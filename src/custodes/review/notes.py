"""Raters' notes at rest: encrypted each for itself where there is a key, as cases are.

A note that was written without a key stays as it is, and both kinds lie in one column, so that each
says by its form which it is.
"""

from __future__ import annotations

import re
from dataclasses import replace

from custodes import store
from custodes.store import StoredJudgment
from custodes.store.rows import clean

__all__ = ["open_notes", "seal_note"]

_MARK = "sealed:"
_SEALED = re.compile(_MARK + r"gAAAA[A-Za-z0-9_=-]{90,}")
"""What `Vault.seal` makes, behind the mark."""
_LOST = f"(encrypted: no key in {store.ENVIRONMENT_KEY} opens it)"


def seal_note(note: str | None, cipher: store.Vault | None, *, at: float) -> str | None:
    """What is stored of a note."""
    if not note or cipher is None:
        return note
    return _MARK + cipher.seal(clean(note), at=at)


def open_notes(judgment: StoredJudgment, cipher: store.Vault | None) -> StoredJudgment:
    """A judgment with its note and the one in its draft readable; a draft whose key is gone is
    empty, so that nobody gives the words that say so as a note."""
    note, drafted = judgment.note, judgment.draft.get("note")
    if note is not None and _SEALED.fullmatch(note):
        judgment = replace(judgment, note=_opened(note, cipher) or _LOST)
    if isinstance(drafted, str) and _SEALED.fullmatch(drafted):
        draft = {**judgment.draft, "note": _opened(drafted, cipher)}
        judgment = replace(judgment, draft=draft)
    return judgment


def _opened(note: str, cipher: store.Vault | None) -> str | None:
    return None if cipher is None else cipher.open(note.removeprefix(_MARK))
