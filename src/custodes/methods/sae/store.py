"""Activations on disk: shuffled shards of rows, memory-mapped, read as batches.

    store.json              what it holds
    tokens.npy              int32 [contexts, T], the tokens that were read
    HOOK/00000.npy          float16 [rows, d]
    places/00000.npy        int64 [rows]: context x T + position of each row

Contexts are dealt to shards at random and the rows of a shard are shuffled, so that reading a
store from front to back is reading it at random. All rows of a context lie in one shard: what
judges is held out in whole shards, or it would share contexts with what trains. How activations are
made is not known here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from custodes.config import write_atomically
from custodes.data.atomic import replacing
from custodes.errors import ArtifactError, DataError

__all__ = [
    "ActivationStore",
    "StoreFacts",
    "read_facts",
    "shard_done",
    "write_facts",
    "write_shard",
    "write_store",
]

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFacts:
    """What identifies a store. `widths`: hook -> d; `rows` of each shard; `precision` of the
    model's products; `source`: a digest of the tokens, or of the arrays.

    `batch`: contexts of a forward pass, whose ids a control's noise is drawn from. None where no
    forward pass was made, and in stores of versions that did not keep it. `compiled`: whether the
    model's blocks were, which rounds otherwise. `content`: a digest of the model's folder, as
    weights may be saved over others there; None where it is of no folder, and in older stores.
    """

    model: str
    widths: Mapping[str, int]
    context: int
    rows: tuple[int, ...]
    dtype: str
    seed: int
    source: str
    precision: str = "float32"
    batch: int | None = None
    compiled: bool = False
    content: str | None = None

    def values(self) -> dict[str, Any]:
        """Plain values. `content` only where there is one: what was kept of other stores has a key
        without it."""
        found = asdict(self)
        if self.content is None:
            del found["content"]
        return found


def write_facts(folder: Path, facts: StoreFacts) -> None:
    """Write `store.json`."""
    values = {"format": _FORMAT, **facts.values(), "rows": list(facts.rows)}
    write_atomically(folder / "store.json", json.dumps(values, indent=2) + "\n")


def read_facts(folder: Path) -> StoreFacts:
    """Read `store.json`; `ArtifactError` where there is none of this format."""
    path = folder / "store.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("format") != _FORMAT:
            raise ArtifactError(f"{path}: of another format; expected {_FORMAT}")
        return StoreFacts(**{**values, "rows": tuple(values["rows"])})
    except FileNotFoundError:
        raise ArtifactError(
            f"{path}: no such file; make a store by: custodes method sae collect"
        ) from None
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{path}: not a description of a store: {error!r}") from error


def _shard(folder: Path, part: str, number: int) -> Path:
    return folder / part.replace(":", "=") / f"{number:05d}.npy"


def shard_done(folder: Path, hooks: Mapping[str, int], number: int) -> bool:
    """Whether every file of a shard is there."""
    return all(_shard(folder, part, number).exists() for part in (*hooks, "places"))


def _check_finite(part: str, array: NDArray[Any]) -> None:
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return
    if np.isnan(array).any():
        what = "that are no numbers (NaN); nothing can be learned of them"
    elif array.dtype == np.float16:
        what = "beyond 65,504 do not fit float16; give dtype=float32"
    else:
        what = "that are infinite; nothing can be learned of them"
    raise DataError(f"{part}: activations {what}")


def write_shard(
    folder: Path, number: int, places: NDArray[np.int64], values: Mapping[str, NDArray[Any]]
) -> None:
    """Write one shard; `places` last, so that a shard with places is whole."""
    for part, array in (*values.items(), ("places", places)):
        _check_finite(part, array)
        with replacing(_shard(folder, part, number)) as temporary, temporary.open("wb") as file:
            np.save(file, array)


def write_store(
    folder: Path,
    values: Mapping[str, NDArray[Any]],
    *,
    shard_rows: int = 65_536,
    seed: int = 0,
    dtype: Literal["float16", "float32"] = "float16",
) -> ActivationStore:
    """A store of arrays [rows, d] that come from elsewhere, one a hook; rows are shuffled.

    `DataError` for arrays of another shape, of unlike numbers of rows, or that `dtype` cannot hold.
    """
    for hook, array in values.items():
        if array.ndim != 2:
            raise DataError(f"{hook}: got an array of shape {array.shape}, expected [rows, d]")
    counts = {len(array) for array in values.values()}
    if len(counts) != 1 or 0 in counts:
        raise DataError(f"store: got arrays of {sorted(counts)} rows; expected the same, above 0")
    rows = counts.pop()
    order = np.random.default_rng(seed).permutation(rows)
    starts = range(0, rows, shard_rows)
    for number, start in enumerate(starts):
        chosen = order[start : start + shard_rows]
        with np.errstate(over="ignore"):  # write_shard sees what does not fit
            parts = {hook: array[chosen].astype(dtype) for hook, array in values.items()}
        write_shard(folder, number, chosen, parts)
    facts = StoreFacts(
        model="arrays", widths={hook: array.shape[1] for hook, array in values.items()},
        context=1, rows=tuple(min(shard_rows, rows - start) for start in starts),
        dtype=dtype, seed=seed, source=_digest(values),
    )  # fmt: skip
    write_facts(folder, facts)
    return ActivationStore(folder)


def _digest(values: Mapping[str, NDArray[Any]]) -> str:
    """Of every array's name, type and bytes."""
    found = hashlib.sha256()
    for hook, array in sorted(values.items()):
        found.update(f"{hook} {array.dtype} ".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


class ActivationStore:
    """A finished or growing store; `ArtifactError` where the folder holds none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts = read_facts(folder)
        self.shards = [
            number
            for number in range(len(self.facts.rows))
            if shard_done(folder, self.facts.widths, number)
        ]
        if not self.shards:
            raise ArtifactError(f"{folder}: no shard is finished; let `collect` go on")

    @property
    def rows(self) -> int:
        """Activations of each hook that are there."""
        return sum(self.facts.rows[number] for number in self.shards)

    def width(self, hook: str) -> int:
        """d of a hook; `DataError` for one that was not collected."""
        if hook not in self.facts.widths:
            raise DataError(f"hook: got {hook!r}; the store has {', '.join(self.facts.widths)}")
        return self.facts.widths[hook]

    def batches(
        self, hook: str, size: int, *, start: int = 0, stop: int | None = None
    ) -> Iterator[Tensor]:
        """Rows `start` to `stop` as float32 [size, d], the last batch shorter, in stored order."""
        self.width(hook)
        stop = self.rows if stop is None else min(stop, self.rows)
        waiting: list[NDArray[Any]] = []
        held = first = 0
        for number in self.shards:
            last = first + self.facts.rows[number]
            low, high = max(start, first) - first, min(stop, last) - first
            if low < high:
                shard = np.load(_shard(self.folder, hook, number), mmap_mode="r")
                while low < high:
                    taken = shard[low : min(low + size - held, high)]
                    waiting.append(taken)
                    held += len(taken)
                    low += len(taken)
                    if held == size:
                        yield _batch(waiting)
                        waiting, held = [], 0
            first = last
        if held:
            yield _batch(waiting)

    def split(self, held_out: int) -> int:
        """Where the rows begin that judge: the last whole shards of `held_out` rows or more.

        0 where the store has no more than those. Rows of arrays share no contexts, so of those it
        is the last `held_out` rows.
        """
        if self.facts.context == 1:
            return max(self.rows - held_out, 0)
        start = self.rows
        for number in reversed(self.shards):
            if self.rows - start >= held_out:
                break
            start -= self.facts.rows[number]
        return start

    def contexts(self, start: int = 0, stop: int | None = None) -> NDArray[np.int64]:
        """Rows of `tokens` that lie in the shards within `start` and `stop`, shard by shard."""
        stop = self.rows if stop is None else stop
        found: list[NDArray[np.int64]] = []
        first = 0
        for number in self.shards:
            last = first + self.facts.rows[number]
            if start <= first and last <= stop:
                found.append(self._contexts(number))
            first = last
        return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)

    def last_contexts(self, count: int) -> NDArray[np.int64]:
        """At most `count` rows of `tokens`, those of the last shard first.

        Training holds the last shards out, so that the first of these were trained on last.
        """
        found: list[NDArray[np.int64]] = []
        for number in reversed(self.shards):
            found.append(self._contexts(number))
            if sum(map(len, found)) >= count:
                break
        return np.concatenate(found)[:count]

    def rows_of(
        self, hook: str, contexts: NDArray[np.int64], size: int
    ) -> Iterator[tuple[Tensor, NDArray[np.int64]]]:
        """The rows of some contexts as float32 [at most `size`, d], and their places."""
        self.width(hook)
        for number in self.shards:
            places = self._places(number)
            chosen = np.flatnonzero(np.isin(places // self.facts.context, contexts))
            shard = np.load(_shard(self.folder, hook, number), mmap_mode="r")
            for start in range(0, len(chosen), size):
                some = chosen[start : start + size]
                yield _batch([shard[some]]), places[some]

    def _contexts(self, number: int) -> NDArray[np.int64]:
        return np.unique(self._places(number) // self.facts.context)

    def _places(self, number: int) -> NDArray[np.int64]:
        found: NDArray[np.int64] = np.load(_shard(self.folder, "places", number))
        return found

    def tokens(self) -> NDArray[np.int32]:
        """Tokens [contexts, T] that the activations were read at."""
        path = self.folder / "tokens.npy"
        if not path.exists():
            raise DataError(f"{path}: a store of arrays has no tokens; collect one from a model")
        found: NDArray[np.int32] = np.load(path, mmap_mode="r")
        return found


def _batch(parts: list[NDArray[Any]]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts).astype(np.float32))
