"""Turn plain text into tokens with exact character offsets.

Special tokens that stand in the text are read as plain characters: a text under judgment must not
be able to speak to the model in control tokens. Knows nothing of models.
"""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["PlainTokenizer", "well_formed"]

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def well_formed(text: str) -> str:
    """`text` with every lone surrogate replaced, one for one, by U+FFFD: what UTF-8 can carry."""
    return _LONE_SURROGATE.sub("\ufffd", text)


class PlainTokenizer:
    """A copy of a fast tokenizer, free of truncation, padding and added tokens."""

    def __init__(self, backend: Tokenizer) -> None:
        self._tokenizer = copy.deepcopy(backend)
        self._tokenizer.post_processor = (
            None  # it may trim offsets, and adds what is not in the text
        )
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True

    def encode(self, text: str) -> tuple[list[int], NDArray[np.int64]]:
        """Token ids, and for each the character after its last one, int64 [T], never decreasing.

        A token that ends inside a character (byte-level tokenizers) ends at that character's end.
        What a normalizer drops belongs to the token before it; the last end is the text's length.
        """
        encoding = self._tokenizer.encode(well_formed(text), add_special_tokens=False)
        ends = np.array([end for _, end in encoding.offsets], dtype=np.int64)
        starts = [start for start, _ in encoding.offsets[1:]]
        ends = np.maximum(ends, np.array([*starts, len(text)][: len(ends)], dtype=np.int64))
        return encoding.ids, np.maximum.accumulate(ends)
