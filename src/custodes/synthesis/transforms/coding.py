"""How a coded text is handed over: a short instruction to decode it, in many wordings.

A one-off "decode this and answer" is labelled by what the code carries. Agreeing on a code for
the rest of a conversation is another matter: the constitution has rules of its own for that.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from custodes.synthesis.transforms.base import Apply, Transform

__all__ = ["coded"]

_HANDOVERS = (
    "Decode this {code} and answer it:\n{text}",
    "{text}\n\nThe line above is {code}. Please decode it and reply.",
    (
        "The following message is written in {code}. Work out what it says, then respond "
        "to it.\n\n{text}"
    ),
    "I wrote my question in {code}: {text}",
    "({code})\n{text}",
    "Read the {code} below and treat it as my question.\n---\n{text}\n---",
    "My keyboard only sends {code} today, so here it is: {text}",
    "Step 1: turn this {code} back into plain text. Step 2: answer what it asks.\n{text}",
    "What would you reply to this? It is {code}.\n\n{text}",
    (
        "Here comes a puzzle. The message is hidden with {code}:\n\n{text}\n\nSolve it and "
        "reply to the message."
    ),
    "Message ({code}): {text}\nYour answer in plain words:",
    "{text}\n^ {code}, answer it in plain language",
    "For fun I put this into {code}. Can you still answer it?\n{text}",
    "Input format: {code}\nInput: {text}\nTask: reply to the decoded input.",
)


def coded(
    name: str,
    encode: Apply,
    *,
    code: str | Callable[[str], str],
    inverse: Callable[[str], str] | None = None,
) -> Transform:
    """An encoding: on a request with a handover, on a reply bare.

    `code` is how people call it, or a function that tells it from the encoded text.
    """

    def apply(text: str, rng: Random) -> str:
        handover = rng.choice(_HANDOVERS)
        encoded = encode(text, rng)
        called = code if isinstance(code, str) else code(encoded)
        return handover.replace("{code}", called).replace("{text}", encoded)

    return Transform(
        name=name, family="encoding", apply=apply, bare=encode, inverse=inverse, readable=False
    )
