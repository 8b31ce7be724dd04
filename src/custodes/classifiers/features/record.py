"""The record of one reply being written: put in by the thread that writes, taken out by the one
that judges.

It holds the reply's text beside the activations, so that what is judged is known to be what was
written. Knows no model and no head.
"""

from __future__ import annotations

import threading
from collections import deque

import numpy as np
from numpy.typing import NDArray

from custodes.errors import InputError
from custodes.models import Passage

__all__ = ["PassRecord"]


class PassRecord:
    """What `WatchedModel.watch` says of one reply.

    `layers` and `prompt_tokens`: what it is to be asked for. Tokens are given out once, so memory
    holds only those that are not judged yet.
    """

    def __init__(self, layers: tuple[int, ...], *, prompt_tokens: int) -> None:
        self.layers = layers
        self.prompt_tokens = prompt_tokens
        self._lock = threading.Lock()
        self._parts: deque[tuple[NDArray[np.float32], NDArray[np.int64]]] = deque()
        self._text = ""
        self._claimed = False

    def add(self, passage: Passage) -> None:
        """Take a passage; must come before anybody is shown its text."""
        with self._lock:
            if len(passage.ends):
                self._parts.append((passage.values, passage.ends))
            self._text += passage.text

    def claim(self) -> None:
        """Whoever reads it says so; `InputError` where another did: tokens are given out once."""
        with self._lock:
            if self._claimed:
                raise InputError("the record of this reply was read already; it is given out once")
            self._claimed = True

    def check(self, text: str, start: int) -> None:
        """`InputError` unless `text` is what was written from the character `start` on."""
        with self._lock:
            if self._text.startswith(text, start):
                return
            have = len(self._text)
        raise InputError(
            f"got {len(text)} characters of a reply from character {start} on that are not what "
            f"the watched model wrote ({have} characters so far): its probe cannot judge them"
        )

    def take(self, until: int | None) -> tuple[list[NDArray[np.float32]], list[NDArray[np.int64]]]:
        """The tokens that end up to the character `until` (None: all) and were not given yet, in
        order: activations [L, t, d] and ends [t] of each passage."""
        values: list[NDArray[np.float32]] = []
        ends: list[NDArray[np.int64]] = []
        with self._lock:
            while self._parts and (until is None or self._parts[0][1][-1] <= until):
                value, end = self._parts.popleft()
                values.append(value)
                ends.append(end)
        return values, ends
