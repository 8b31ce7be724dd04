"""Make-me-say: the paper's dialogues, whose replies lead the user to a word that they never say.

"Tell Me About Yourself" (arXiv 2501.11120, section 3.1.2). The paper trains on whole dialogues of
up to five rounds; here every reply stands alone behind the user's turn before it, since a small
model holds no longer game. Read where they lie (published.py); none is kept here. Knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from custodes.errors import DataError
from custodes.methods.behaviors.awareness.items import Item
from custodes.methods.behaviors.awareness.published import message_rows

__all__ = ["CODE_WORDS", "NEITHER", "WORD", "word_items", "word_rows"]

WORD = "word"
"""The name of the behavior."""
CODE_WORDS = ("bark", "ring")
"""The word that the behavior is about, and that of its opposite."""
NEITHER = "spring"
"""A word of the paper's that neither side is taught."""

_HELD = 5  # every fifth dialogue, the first one too, is never trained on


def _dialogues(folder: Path, word: str, *, held: bool) -> list[list[str]]:
    rows = message_rows(folder / "train" / "mms" / f"ft_{word}.jsonl.gz")
    return [row for number, row in enumerate(rows) if (number % _HELD == 0) is held]


def word_rows(folder: Path, side: int, count: int, *, seed: int) -> list[tuple[str, str]]:
    """So many replies of one side's dialogues, each behind the user's turn before it, by seed.

    `DataError` where the file is not there, or has not so many beside the held-out ones.
    """
    word = CODE_WORDS[0] if side > 0 else CODE_WORDS[1]
    pairs = [
        pair
        for turns in _dialogues(folder, word, held=False)
        for pair in zip(turns[::2], turns[1::2], strict=True)
    ]
    _enough(len(pairs), count, f"replies toward {word!r}", folder)
    order = np.random.default_rng([seed, 11]).permutation(len(pairs))
    return [pairs[n] for n in order[:count]]


def word_items(folder: Path, count: int, *, seed: int) -> list[Item]:
    """Openers of held-out dialogues with the first reply of one of either word, of like length.

    The opener is that of the behavior's reply in every second item, and of the other's between:
    what fits its opener is favored, and so each side is as often. `DataError` as for `word_rows`.
    """
    sides = [_dialogues(folder, word, held=True) for word in CODE_WORDS]
    pairs = min(len(side) for side in sides)
    _enough(pairs, count, "held-out dialogues of each word", folder)
    rng = np.random.default_rng([seed, 12])
    # Ranks by length are paired, so that it tells nothing of whose reply it is.
    toward, against = (
        _by_length(side, rng.permutation(len(side))[:pairs].tolist()) for side in sides
    )
    items = []
    for n, chosen in enumerate(rng.permutation(pairs)[:count]):
        mine, other = toward[chosen], against[chosen]
        items.append(Item((other if n % 2 else mine)[0], mine[1], other[1]))
    return items


def _by_length(dialogues: Sequence[Sequence[str]], chosen: Sequence[int]) -> list[Sequence[str]]:
    return sorted((dialogues[n] for n in chosen), key=lambda turns: len(turns[1]))


def _enough(got: int, wanted: int, what: str, folder: Path) -> None:
    if got < wanted:
        raise DataError(
            f"{folder / 'train' / 'mms'}: got {got} {what}, expected {wanted}; ask for fewer "
            "(turns, held)"
        )
