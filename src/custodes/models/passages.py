"""A reply together with what the very passes that write it hold: no text is read twice.

The pass that draws a token reads the token before it, so a token's activations come one step after
the token: its text waits for them. Knows no tensors and no chat.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np
from numpy.typing import NDArray

from custodes.models.base import Ending, Passage
from custodes.models.decoding import ReplyText

__all__ = ["Look", "passages"]

Look = Callable[[int], tuple[int, NDArray[np.float32]]]
"""Runs the next pass: the token that it draws, and the activations [L, t, d] of at most so many of
the last tokens that it read."""


def passages(
    look: Look, reply: ReplyText, *, prompt_tokens: int
) -> Generator[Passage, None, Ending]:
    """The reply; the first passage carries the last `prompt_tokens` tokens of the prompt.

    A reply that is cut short (by a limit, or before a stop string) ends with a token that no pass
    has read: it is read by one more.
    """
    text, end, steps = "", 0, 0
    while reply.finish is None:
        token, values = look(1 if steps else prompt_tokens)
        steps += 1
        yield _passage(text, values, end)
        text = reply.push(token)
        end = reply.characters
    if steps and reply.tokens == steps:
        yield _passage(text, look(1)[1], end)
    elif text:
        yield _passage(text, np.zeros((0, 0, 0), np.float32), end)
    return Ending(finish=reply.finish, reply_tokens=reply.tokens)


def _passage(text: str, values: NDArray[np.float32], end: int) -> Passage:
    return Passage(text=text, values=values, ends=np.full(values.shape[1], end, np.int64))
