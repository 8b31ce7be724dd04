"""Hashed n-grams of words and characters: no model, no vocabulary, one pass, any language.

Each segment (a word) is a token; its bag holds the word, the pair with the word before, and the
character n-grams of the word, of its canonical form with look-alike digits read as letters.
"""

from __future__ import annotations

import re
import zlib
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from custodes.classifiers.canonical import canonical
from custodes.classifiers.features.base import Judged, Tokens
from custodes.classifiers.segments import Segment, Segmenter, segments
from custodes.config import Config
from custodes.types import Conversation, Mode

__all__ = ["HashedConfig", "HashedFeatures"]

_WORD = re.compile(r"\w+|[^\w\s]")
_LEET = str.maketrans("4031578@$!", "aoeistbasi")
_CACHE = 200_000
# Ids and characters of all segments together: hostile text has none but long ones.
_CACHED_IDS = 4_000_000


class HashedConfig(Config):
    """Settings of hashed n-grams."""

    bits: int = 17
    """2**bits buckets."""
    shortest: int = 3
    """Characters of the shortest n-gram inside a word."""
    longest: int = 5
    """Characters of the longest n-gram inside a word."""
    pairs: bool = True
    """Whether pairs of neighboring words count."""
    max_tokens: int = 512
    """Training reads at most this many words of a text; serving reads all."""
    stride: int = 4
    """A point is served after every so many words."""


def _hash(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


class HashedFeatures:
    """Bags of hashed n-grams, one a word."""

    Config = HashedConfig

    def __init__(self, config: HashedConfig) -> None:
        self.config = config
        self._mask = (1 << config.bits) - 1
        self._words: dict[str, tuple[array[int], list[str]]] = {}
        self._cached_ids = 0

    @property
    def dim(self) -> int:
        """Number of buckets."""
        return self._mask + 1

    @property
    def stride(self) -> int:
        """Words between two points."""
        return self.config.stride

    @property
    def max_tokens(self) -> int:
        """Tokens of a text that training reads."""
        return self.config.max_tokens

    @property
    def settings(self) -> dict[str, Any]:
        """What an artifact keeps."""
        return self.config.model_dump(mode="json")

    @property
    def cached(self) -> bool:
        """Hashing is as fast as reading."""
        return False

    @property
    def fingerprint(self) -> str:
        """The settings: nothing else matters."""
        return f"hashed-1:{self.config.model_dump_json()}"

    def open(self, context: Conversation, mode: Mode) -> _HashedStream:
        """Begin a text; the context is not looked at (every mode reads the judged text alone)."""
        return _HashedStream(self)

    def extract(self, rows: Sequence[Judged], *, limit: int | None = None) -> list[Tokens]:
        """Tokens of whole texts, at most `limit` of each."""
        return [self.tokens(segments(row.conversation[-1].content)[:limit], "")[0] for row in rows]

    def tokens(self, pieces: Sequence[Segment], previous: str) -> tuple[Tokens, str]:
        """Tokens of consecutive segments after the word `previous`, and the last word."""
        values: list[int] = []
        offsets: list[int] = []
        for piece in pieces:
            offsets.append(len(values))
            ids, words = self._lookup(piece.text)
            values.extend(ids)
            if self.config.pairs:
                for word in words:
                    values.append(_hash(f"{previous} {word}") & self._mask)
                    previous = word
        ends = np.fromiter((piece.end for piece in pieces), np.int64, len(pieces))
        return Tokens(ends, np.array(values, np.int64), np.array(offsets, np.int64)), previous

    def _lookup(self, segment: str) -> tuple[array[int], list[str]]:
        """Ids of the segment's own n-grams, and its words; remembered."""
        known = self._words.get(segment)
        if known is None:
            ids, words = self._ngrams(segment)
            known = array("I", ids), words
            size = len(ids) + len(segment)
            if len(self._words) >= _CACHE or self._cached_ids + size > _CACHED_IDS:
                self._words.clear()
                self._cached_ids = 0
            self._words[segment] = known
            self._cached_ids += size
        return known

    def _ngrams(self, segment: str) -> tuple[list[int], list[str]]:
        words = _WORD.findall(canonical(segment).casefold())
        ids: list[int] = []
        for index, word in enumerate(words):
            plain = word
            if not word.isalpha() and any(c.isalpha() for c in word):
                plain = word.translate(_LEET)
                words[index] = plain
            ids.append(_hash(plain) & self._mask)
            if plain.isalnum():
                framed = f"<{plain}>"
                shortest = self.config.shortest if plain.isascii() else 1
                for size in range(shortest, self.config.longest + 1):
                    ids.extend(
                        _hash(framed[start : start + size]) & self._mask
                        for start in range(len(framed) - size + 1)
                    )
        return ids, words


class _HashedStream:
    def __init__(self, features: HashedFeatures) -> None:
        self._features = features
        self._segmenter = Segmenter()
        self._previous = ""

    def push(self, text: str) -> Tokens:
        return self._read(self._segmenter.push(text))

    def finish(self) -> Tokens:
        return self._read(self._segmenter.finish())

    def _read(self, pieces: list[Segment]) -> Tokens:
        tokens, self._previous = self._features.tokens(pieces, self._previous)
        return tokens
