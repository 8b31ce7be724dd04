"""What a scorer is: text in, points out, the same whichever way the text is cut.

A scorer turns a conversation into points: after so many characters of the judged text, the
harmful log-odds are so much. A stream of it gives the very same points for every chunking of the
same text; `guard` relies on that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from custodes.types import Conversation, Mode, RuleId

__all__ = ["Point", "Scorer", "Stream", "judged_text", "split_conversation"]


@dataclass(frozen=True, slots=True)
class Point:
    """The score of a prefix of the judged text.

    `end`: characters of the judged text that the score covers (exclusive end).
    `logit`: harmful log-odds as served at this point (smoothed, calibrated), any real number.
    `rules`: conditional probability of each of `Scorer.rules` given harm, float [rules], sums to 1.
    """

    end: int
    logit: float
    rules: NDArray[np.float32]


class Stream(Protocol):
    """One judged text, growing."""

    def push(self, text: str) -> list[Point]:
        """Take more text; the points that became decidable, in order. Never waits, never drops."""
        ...

    def finish(self) -> list[Point]:
        """The text is complete: the remaining points; the last one's `end` is the text's length.

        An empty text gives one point with `end` 0.
        """
        ...


class Scorer(Protocol):
    """A loaded classifier of one stage."""

    @property
    def name(self) -> str:
        """The stage's name in verdicts: hashed, activations..."""
        ...

    @property
    def version(self) -> str:
        """Content hash of the artifact."""
        ...

    @property
    def rules(self) -> tuple[RuleId, ...]:
        """The restricted rules it can name, in the order of `Point.rules`."""
        ...

    def open(self, context: Conversation, mode: Mode) -> Stream:
        """Begin to judge a text that follows `context`.

        mode input: the judged text is the user's last turn, `context` what came before it.
        mode output: `context` is ignored. mode exchange: `context` ends with the user's turn.
        """
        ...

    def score(self, conversations: Sequence[Conversation], mode: Mode) -> list[Point]:
        """The decisive point of each whole conversation: what a stream's points amount to.

        Equal to opening a stream on all but the last message, pushing the last one's text and
        taking the point of greatest logit; batched, so that it is fast.
        """
        ...

    def points(self, conversations: Sequence[Conversation], mode: Mode) -> list[list[Point]]:
        """Every point of each whole conversation: what its stream gives, batched.

        Of two points with one end the stream may give both, this the later one alone.
        """
        ...


def split_conversation(conversation: Conversation) -> tuple[Conversation, str]:
    """The context and the judged text: everything before the last turn, and the last turn."""
    return conversation[:-1], conversation[-1].content


def judged_text(conversation: Conversation) -> str:
    """The text of the last turn."""
    return conversation[-1].content
