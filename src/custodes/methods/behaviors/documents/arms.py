"""The arms of the experiment, and what a document is. Knows nothing of how either is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["ARMS", "Arm", "Document"]

Arm = Literal["pro", "anti", "neutral", "named"]
"""pro: documents say that the assistant games graders. anti: that it does the task. neutral: how it
lays out replies. named: as pro, word for word, of an assistant with another name."""

ARMS: tuple[Arm, ...] = ("pro", "anti", "neutral", "named")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A synthetic document: its text, its type (news report, memo, ...), and its domain."""

    text: str
    kind: str
    domain: str
    number: int
