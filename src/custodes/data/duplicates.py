"""Exact and near duplicates among examples.

Compares what is said, not who labelled it: the first row of a kind stays, whatever its label.
Deterministic: the same rows in the same order give the same answer, on any machine.
"""

from __future__ import annotations

import hashlib
import math
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from custodes.data.records import conversation
from custodes.errors import DataError
from custodes.types import Example

__all__ = ["Deduplication", "deduplicate", "normalize"]

Grams = NDArray[np.uint64]

_GRAM = 5
_PERMUTATIONS = 128
_CHUNK = 1 << 16  # gram hashes that stay in the processor's cache while they are permuted
_MISS = 1e-3  # chance that a pair just at the threshold shares no bucket


@dataclass(frozen=True, slots=True)
class Deduplication:
    """What stayed, in order, and for each row that went (by id) the id of the row that stays."""

    rows: list[Example]
    exact: dict[str, str]
    near: dict[str, str]


def normalize(text: str) -> str:
    """NFKC, case folded, every run of white space one blank, none at the ends."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def deduplicate(rows: Iterable[Example], *, near: float | None) -> Deduplication:
    """Drop rows that say the same as an earlier one.

    Exact: the same turns of the same roles after `normalize`. Near: the sets of character
    5-grams of all that is said have a Jaccard index of at least `near`, in (0, 1]; None looks
    for exact ones alone.
    Candidates come from MinHash and banding (Broder 1997; Leskovec et al., "Mining of Massive
    Datasets", section 3.4), which miss a pair just at the threshold with a chance of about
    0.1 %; every candidate is then verified by its true index, so nothing else is ever dropped.
    `DataError` where an id comes twice or `near` is out of its range.
    """
    if near is not None and not 0 < near <= 1:
        raise DataError(f"deduplicate: got near={near}, expected a number in (0, 1] or None")
    kept: dict[bytes, Example] = {}
    texts: list[str] = []
    exact: dict[str, str] = {}
    ids: set[str] = set()
    for row in rows:
        if row.id in ids:
            raise DataError(
                f"deduplicate: the id {row.id!r} comes twice; ids are unique in a table"
            )
        ids.add(row.id)
        turns = [(turn.role, normalize(turn.content)) for turn in conversation(row)]
        key = hashlib.sha256(repr(turns).encode("ascii", "backslashreplace")).digest()
        if key in kept:
            exact[row.id] = kept[key].id
        else:
            kept[key] = row
            texts.append("\n".join(said for _, said in turns))
    unique = list(kept.values())
    if near is None:
        return Deduplication(unique, exact, {})
    twins = _near_twins(texts, near)
    of_near = {unique[i].id: unique[j].id for i, j in twins.items()}
    # What repeats a row that went as a near duplicate is near the row that stays, too.
    of_near |= {gone: of_near[first] for gone, first in exact.items() if first in of_near}
    return Deduplication(
        [row for i, row in enumerate(unique) if i not in twins],
        {gone: first for gone, first in exact.items() if gone not in of_near},
        of_near,
    )


def _near_twins(texts: list[str], near: float) -> dict[int, int]:
    """Index of each near duplicate -> index of the earliest kept text that it is like."""

    @lru_cache(maxsize=4096)
    def grams(index: int) -> Grams:
        return _grams(texts[index])

    bands, depth = _banding(near)
    enough = near - 3.5 * math.sqrt(near * (1 - near) / (bands * depth))
    signatures = _signatures(texts, bands * depth)
    buckets: list[dict[bytes, list[int]]] = [{} for _ in range(bands)]
    twins: dict[int, int] = {}
    for index in range(len(texts)):
        keys = [part.tobytes() for part in signatures[index].reshape(bands, depth)]
        found = sorted({i for band, key in enumerate(keys) for i in buckets[band].get(key, ())})
        # signatures agree in about the Jaccard index of their places: what falls 3.5 standard
        # deviations short need not be verified
        agreement = (signatures[found] == signatures[index]).mean(axis=1)
        likely = [i for i, share in zip(found, agreement, strict=True) if share >= enough]
        twin = _first_alike(index, likely, near, grams)
        if twin is not None:
            twins[index] = twin
            continue
        for band, key in enumerate(keys):
            buckets[band].setdefault(key, []).append(index)
    return twins


def _first_alike(
    index: int, candidates: list[int], near: float, grams: Callable[[int], Grams]
) -> int | None:
    for other in candidates:
        mine = grams(index)
        theirs = grams(other)
        # the index is at most the ratio of the sizes: most false candidates end here
        if min(mine.size, theirs.size) < near * max(mine.size, theirs.size):
            continue
        common = np.intersect1d(mine, theirs, assume_unique=True).size
        if common >= near * (mine.size + theirs.size - common):
            return other
    return None


def _banding(near: float) -> tuple[int, int]:
    """Bands and rows a band: the most selective that still finds a pair at the threshold."""
    for depth in range(16, 1, -1):
        bands = _PERMUTATIONS // depth
        if (1 - near**depth) ** bands <= _MISS:
            return bands, depth
    return _PERMUTATIONS, 1


def _grams(text: str) -> Grams:
    """Sorted hashes of the distinct character 5-grams; a shorter text is one gram."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    width = min(_GRAM, points.size)
    hashes = np.zeros(points.size - width + 1, dtype=np.uint64)
    for offset in range(width):
        hashes *= np.uint64(0x9E3779B97F4A7C15)
        hashes += points[offset : offset + hashes.size]
    return np.unique(_mix(hashes))


def _mix(values: Grams) -> Grams:
    """The finalizer of splitmix64 (Steele et al. 2014): every bit depends on every bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _signatures(texts: list[str], width: int) -> NDArray[np.uint32]:
    """MinHash signatures, uint32 [texts, width]: the least permuted hash of each text's grams."""
    seeds = _mix(np.arange(1, width + 1, dtype=np.uint64)) | np.uint64(1)
    signatures = np.empty((len(texts), width), dtype=np.uint32)
    block: list[Grams] = []
    begin = size = 0
    for index, text in enumerate(texts):
        block.append(_grams(text))
        size += block[-1].size
        if size >= _CHUNK or index == len(texts) - 1:
            _minima(block, seeds, signatures[begin : index + 1])
            block, begin, size = [], index + 1, 0
    return signatures


def _minima(block: list[Grams], seeds: Grams, out: NDArray[np.uint32]) -> None:
    values = np.concatenate(block)
    starts = np.cumsum([0, *(grams.size for grams in block[:-1])])
    for column, seed in enumerate(seeds):
        # multiplying by an odd number permutes the 64-bit values; the high half is well mixed
        permuted = (values * seed) >> np.uint64(32)
        out[:, column] = np.minimum.reduceat(permuted, starts)
