"""What is asked and what is answered: mild prose, new words in every request, the same everywhere.

Shared by the upstream, which says it, and by the client, which checks that nothing is missing.
"""

from __future__ import annotations

import random
import re

__all__ = ["MARK", "prompt", "reply"]

MARK = re.compile(rb"request (\d+): (\d+) tokens, one every (\d+) us")

_SENTENCES = (
    "Prune the lemon tree in early spring, before the new shoots appear.",
    "A cast-iron pan wants a thin coat of oil after every wash.",
    "The ferry leaves at nine, so take the first bus from the square.",
    "Knead the dough until it is smooth, then let it rest under a cloth.",
    "Keep the receipts in one folder and sort them by month.",
    "If the bicycle chain slips, look at the wear of the sprockets first.",
    "Tomatoes need sun, a stake to climb on, and water in the morning.",
    "The museum is closed on Mondays, but its garden is open all week.",
    "Write the test before the function, and read both once more afterwards.",
    "A good index says what the reader looks for, in the reader's own words.",
    "Old photographs keep best in the dark, dry and away from the attic.",
    "Choose a quiet street for your first lessons with a manual gearbox.",
    "The recipe serves four; halve the sugar if the apples are ripe.",
    "Sand the table along the grain and wipe off the dust between coats.",
    "Learn ten words a day and use each of them in a sentence.",
    "The path along the river is flat and suits a slow morning walk.",
)


def prompt(number: int, tokens: int, pace: float) -> str:
    """A question that no other request asks; the upstream reads its orders in it."""
    opener = random.Random(number).choice(_SENTENCES)
    orders = f"request {number}: {tokens} tokens, one every {round(pace * 1e6)} us"
    return f"{opener} Please tell me more about this, with examples. ({orders})"


def reply(number: int, tokens: int) -> list[str]:
    """The pieces of an answer, about four characters each as a model's tokens are."""
    rng = random.Random(number + 1_000_003)
    pieces: list[str] = []
    while len(pieces) < tokens:
        sentence = rng.choice(_SENTENCES).replace("the ", f"the {rng.randrange(10**6)} ", 1)
        for word in sentence.split():
            text = f" {word}" if pieces else word
            pieces += [text[start : start + 5] for start in range(0, len(text), 5)]
    return pieces[:tokens]
