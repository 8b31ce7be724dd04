"""Activations of a causal language model at chosen layers, as token features.

The judged text follows its context in plain roles ("User:", "Assistant:"), so that any causal
model can read it and no text can speak in control tokens. Reading goes in blocks of `stride`
tokens through the key-value cache and begins a fresh window when one is full, so that cost and
memory are bounded and every chunking of a text gives the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from custodes.classifiers.canonical import canonical
from custodes.classifiers.features.adapter import ModelFeatures
from custodes.classifiers.features.base import Judged, Tokens, layers_joined
from custodes.classifiers.segments import Segment, Segmenter, segments
from custodes.config import Config
from custodes.errors import ConfigError
from custodes.models import MODELS
from custodes.models.devices import placed
from custodes.types import Conversation, Message, Mode

__all__ = ["ActivationFeatures", "ActivationsConfig"]

_ROLES = {"system": "System", "user": "User", "assistant": "Assistant", "tool": "Tool"}


class ActivationsConfig(Config):
    """Settings of activation features."""

    model: str = "embedded"
    """Name of a model backend that reads activations."""
    settings: Mapping[str, Any] = Field(default_factory=dict)
    """The backend's own settings."""
    layers: tuple[int, ...] = (8, 12)
    """Blocks whose outputs are joined; the pass stops at the deepest."""
    stride: int = Field(default=16, ge=1)
    """Tokens read at a time, and between two points."""
    max_tokens: int = Field(default=192, ge=1)
    """Training reads at most this many tokens of a text; serving reads all."""
    window: int = Field(default=1024, ge=64)
    """Tokens after which a fresh pass begins."""
    context_tokens: int = Field(default=256, ge=2)
    """The context keeps its first and last tokens, half of this number each; at most half a
    window, so that every fresh pass has room for the text behind it."""

    @model_validator(mode="after")
    def _leaves_room(self) -> Self:
        if self.context_tokens > self.window // 2:
            raise ValueError(
                f"context_tokens {self.context_tokens} is more than half of window {self.window}"
            )
        return self


class ActivationFeatures(ModelFeatures):
    """Residual-stream activations; dense, d = layers x width."""

    Config = ActivationsConfig

    def __init__(self, config: ActivationsConfig) -> None:
        backend = MODELS.load(config.model)
        settings = placed(config.settings, backend.Config, origin="model settings")
        super().__init__(config, backend(settings))

    def trunk(self) -> Any:
        """The blocks up to the deepest layer as a module, to be tuned."""
        if len(self.config.layers) != 1:
            raise ConfigError(
                f"layers: got {list(self.config.layers)}; a model is tuned behind one layer"
            )
        return self.model.trunk(self.config.layers[0])

    def training_ids(self, row: Judged) -> tuple[list[int], list[int]]:
        """What a row is to `trunk`: the ids that the judged text follows, and its own."""
        prefix, ids, _ = self.token_ids(row, self.max_tokens)
        return prefix, ids

    @property
    def dim(self) -> int:
        """Layers x width of the model."""
        return len(self.config.layers) * int(self.model.width)

    @property
    def stride(self) -> int:
        """Tokens between two points."""
        return int(self.config.stride)

    @property
    def fingerprint(self) -> str:
        """Model, layers and the way of reading."""
        read = self.config.model_dump_json(exclude={"settings", "max_tokens", "stride"})
        return f"activations-1:{self.model.description}:{read}"

    def open(self, context: Conversation, mode: Mode) -> _ActivationFeatureStream:
        """Begin a text that follows `context`."""
        return _ActivationFeatureStream(self, self.prefix(context, mode))

    def extract(self, rows: Sequence[Judged], *, limit: int | None = None) -> list[Tokens]:
        """Tokens of whole texts, at most `limit` of each, batched by length."""
        reads = [self._windows(row, limit) for row in rows]
        flat = [ids for _, windows, _ in reads for ids in windows]
        activations = iter(self.model.token_activations(flat, self.config.layers))
        results = []
        for ends, windows, prefix in reads:
            parts = [layers_joined(next(activations))[prefix:] for _ in windows]
            values = np.concatenate(parts) if parts else np.zeros((0, self.dim), np.float32)
            results.append(Tokens(ends, values))
        return results

    def token_ids(self, row: Judged, limit: int | None) -> tuple[list[int], list[int], list[int]]:
        """What a row is to the model: ids that the judged text follows, its own, and their ends."""
        prefix = self.prefix(row.conversation[:-1], row.mode)
        ids: list[int] = []
        ends: list[int] = []
        for piece in segments(row.conversation[-1].content):
            self.encode(piece, ids, ends)
            if limit is not None and len(ids) >= limit:
                del ids[limit:], ends[limit:]
                break
        return prefix, ids, ends

    def _windows(
        self, row: Judged, limit: int | None
    ) -> tuple[NDArray[np.int64], list[list[int]], int]:
        prefix, ids, ends = self.token_ids(row, limit)
        room = self.config.window - len(prefix)
        windows = [prefix + ids[start : start + room] for start in range(0, len(ids), room)]
        return np.array(ends, np.int64), windows, len(prefix)

    def prefix(self, context: Conversation, mode: Mode) -> list[int]:
        """Token ids of what the judged text follows; output mode sees no context."""
        role = "user" if mode is Mode.INPUT else "assistant"
        before = () if mode is Mode.OUTPUT else context
        ids = self._plain("".join(_turn(message) for message in before))
        half = self.config.context_tokens // 2
        if len(ids) > 2 * half:
            ids = ids[:half] + ids[-half:]
        return ids + self._plain(f"{_ROLES[role]}:")

    def _plain(self, text: str) -> list[int]:
        return [token for piece in segments(text) for token in self.ids(canonical(piece.text))]

    def encode(self, piece: Segment, ids: list[int], ends: list[int]) -> None:
        """Append a segment's tokens; only its last one covers it wholly."""
        new = self.ids(canonical(piece.text))
        ids.extend(new)
        ends.extend([piece.start] * (len(new) - 1) + [piece.end] * bool(new))


def _turn(message: Message) -> str:
    return f"{_ROLES[message.role]}: {message.content}\n"


class _ActivationFeatureStream:
    def __init__(self, features: ActivationFeatures, prefix: list[int]) -> None:
        self._features = features
        self._segmenter = Segmenter()
        self._prefix = prefix
        self._room = 0
        self._ids: list[int] = []
        self._ends: list[int] = []
        self._reader: Any = None

    def push(self, text: str) -> Tokens:
        return self._read(self._segmenter.push(text), final=False)

    def finish(self) -> Tokens:
        return self._read(self._segmenter.finish(), final=True)

    def _read(self, pieces: list[Segment], *, final: bool) -> Tokens:
        for piece in pieces:
            self._features.encode(piece, self._ids, self._ends)
        values: list[NDArray[np.float32]] = []
        done = 0
        while len(self._ids) - done >= (1 if final else self._features.stride):
            block = self._ids[done : done + min(self._features.stride, self._room or 10**9)]
            if not self._room:
                self._open_window()
                block = block[: self._room]
            values.append(layers_joined(self._reader.push_tokens(block)))
            self._room -= len(block)
            done += len(block)
        ends = np.array(self._ends[:done], np.int64)
        del self._ids[:done], self._ends[:done]
        empty = np.zeros((0, self._features.dim), np.float32)
        return Tokens(ends, np.concatenate([empty, *values]))

    def _open_window(self) -> None:
        """A fresh pass over the context; its own activations are not needed."""
        config = self._features.config
        self._reader = self._features.model.open_activations(config.layers)
        self._reader.push_tokens(self._prefix)
        self._room = config.window - len(self._prefix)
