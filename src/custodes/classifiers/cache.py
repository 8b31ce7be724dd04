"""Dense features on disk, by content: what makes a retraining take seconds.

A shard is a pair of files, values first and index last, each whole or absent, so that a kill loses
at most the shard under way; several processes may write at once. Values are half precision, so
cached and fresh logits agree to about 1e-3.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from custodes.classifiers.features.base import Features, FeatureStream, Judged, Tokens
from custodes.config import write_atomically
from custodes.types import Conversation, Mode

__all__ = ["CachedFeatures"]

_SHARD = 512
_SHARD_NUMBERS = 2**28
"""At most so many numbers in memory: of all layers of a model 512 texts would be gigabytes."""
_LIMIT = float(np.finfo(np.float16).max)


class CachedFeatures:
    """`features` that remember, below `folder`, what they said of whole texts.

    Streams are not remembered. `progress` hears of the number of rows done, as they are done.
    """

    def __init__(
        self,
        features: Features,
        folder: Path,
        progress: Callable[[int], None] = lambda rows: None,
    ) -> None:
        self.features = features
        self._folder = folder
        self._progress = progress
        self._shards: dict[Path, dict[str, Tokens]] = {}

    @property
    def dim(self) -> int:
        """As without a cache."""
        return self.features.dim

    @property
    def stride(self) -> int:
        """As without a cache."""
        return self.features.stride

    @property
    def fingerprint(self) -> str:
        """As without a cache."""
        return self.features.fingerprint

    @property
    def max_tokens(self) -> int:
        """As without a cache."""
        return self.features.max_tokens

    @property
    def settings(self) -> dict[str, Any]:
        """As without a cache."""
        return self.features.settings

    @property
    def adapter(self) -> Mapping[str, NDArray[np.float32]]:
        """As without a cache: whoever saves a scorer must find what was tuned."""
        return getattr(self.features, "adapter", {})

    @property
    def modes(self) -> tuple[Mode, ...]:
        """As without a cache."""
        return getattr(self.features, "modes", tuple(Mode))

    @property
    def cached(self) -> bool:
        """It is."""
        return True

    def open(self, context: Conversation, mode: Mode) -> FeatureStream:
        """Begin a text."""
        return self.features.open(context, mode)

    def extract(self, rows: Sequence[Judged], *, limit: int | None = None) -> list[Tokens]:
        """The first `limit` tokens of whole texts; what is not known is computed and kept."""
        name = f"{self.features.fingerprint}:{limit}"
        folder = self._folder / hashlib.sha256(name.encode()).hexdigest()[:16]
        known = self._known(folder)
        keys = [_key(row) for row in rows]
        missing = {key: row for key, row in zip(keys, rows, strict=True) if key not in known}
        self._progress(len(rows) - len(missing))
        # By length, so that a batch of the model pads little.
        todo = sorted(missing.items(), key=lambda item: len(item[1].conversation[-1].content))
        most = _SHARD_NUMBERS // (self.features.dim * self.features.max_tokens)
        size = max(16, min(_SHARD, most))
        for start in range(0, len(todo), size):
            batch = todo[start : start + size]
            tokens = self.features.extract([row for _, row in batch], limit=limit)
            known |= _write(folder, [key for key, _ in batch], tokens)
            self._progress(len(batch))
        return [known[key] for key in keys]

    def _known(self, folder: Path) -> dict[str, Tokens]:
        if folder not in self._shards:
            found = self._shards[folder] = {}
            for index in sorted(folder.glob("*.json")):
                found |= _read(index)
        return self._shards[folder]


def _write(folder: Path, keys: list[str], tokens: list[Tokens]) -> dict[str, Tokens]:
    name = hashlib.sha256("".join(keys).encode()).hexdigest()[:24]
    values = np.concatenate([t.values for t in tokens])
    buffer = io.BytesIO()
    np.save(buffer, np.clip(values, -_LIMIT, _LIMIT).astype(np.float16))
    write_atomically(folder / f"{name}.npy", buffer.getvalue())
    index = folder / f"{name}.json"
    content = {"keys": keys, "ends": [t.ends.tolist() for t in tokens]}
    write_atomically(index, json.dumps(content))
    return _read(index)


def _read(index: Path) -> dict[str, Tokens]:
    content = json.loads(index.read_text(encoding="utf-8"))
    values: NDArray[np.float16] = np.load(index.with_suffix(".npy"), mmap_mode="r")
    found = {}
    start = 0
    for key, ends in zip(content["keys"], content["ends"], strict=True):
        stop = start + len(ends)
        found[key] = Tokens(np.array(ends, np.int64), values[start:stop])
        start = stop
    return found


def _key(row: Judged) -> str:
    turns = [[message.role, message.content] for message in row.conversation]
    text = json.dumps([row.mode.value, turns])
    return hashlib.sha256(text.encode()).hexdigest()[:32]
