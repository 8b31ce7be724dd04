"""Activations of the guarded model itself, from the passes that write its reply: no second pass.

Constitutional Classifiers++ (arXiv 2601.04603), the section on linear probes: the activations of
all layers, joined, for every token of the exchange. While a reply is written they come through a
`PassRecord`; where a reply is there already (training, calibration, past turns) the model reads it
once, behind the same prompt. Prompts are not judged by themselves: the model has not read them
before it is asked. Fails closed: text that no pass wrote, or another model, is an error.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from custodes.classifiers.features.base import FeatureStream, Judged, Tokens, layers_joined
from custodes.classifiers.features.record import PassRecord
from custodes.config import Config
from custodes.errors import ConfigError, InputError
from custodes.models import MODELS, WatchedModel
from custodes.models.devices import placed
from custodes.types import Conversation, Message, Mode

__all__ = ["GuardedConfig", "GuardedFeatures"]

_NOBODY: Conversation = (Message("user", ""),)
"""What a reply whose prompt is not known is read behind."""
_TOGETHER = 32
"""Texts whose whole activations are in memory at a time: some 70 kB a token, the prompt's too."""
_NOTHING = Tokens(np.zeros(0, np.int64), np.zeros((0, 0), np.float32))


class GuardedConfig(Config):
    """Settings of a probe on the guarded model."""

    model: str = "embedded"
    """Name of the backend that replies: embedded or transformers."""
    settings: Mapping[str, Any] = Field(default_factory=dict)
    """The backend's own settings."""
    layers: tuple[int, ...] = ()
    """Blocks whose outputs are joined; empty: all. Training writes down which these are."""
    stride: int = Field(default=4, ge=1)
    """Tokens between two points."""
    prompt_tokens: int = Field(default=16, ge=0)
    """The last tokens of the prompt that are judged with the reply, before its first character."""
    max_tokens: int = Field(default=128, ge=1)
    """Training reads at most this many tokens, those of the prompt included; serving reads all."""
    identity: str = ""
    """Which model it was trained on, by its content; training writes it down."""


class GuardedFeatures:
    """Residual-stream activations of the model that replies; dense, d = layers x width."""

    Config = GuardedConfig
    modes = (Mode.EXCHANGE, Mode.OUTPUT)
    """What it can judge: replies."""

    def __init__(self, config: GuardedConfig) -> None:
        self.config = config
        self._model: WatchedModel | None = None
        self._loading = threading.Lock()
        self._record: PassRecord | None = None
        self._after = 0

    @property
    def model(self) -> WatchedModel:
        """The model that replies: the one bound, else one of its own, loaded on first use."""
        with self._loading:
            if self._model is None:
                kind = MODELS.load(self.config.model)
                settings = placed(self.config.settings, kind.Config, origin="model settings")
                self._model = self._checked(kind(settings), self.config.model)
            return self._model

    def bind(self, model: object, *, name: str) -> None:
        """Read this model, which replies; `ConfigError` where it is not the one of training."""
        if model is self._model:
            return
        checked = self._checked(model, name)
        with self._loading:
            self._model = checked

    def _checked(self, model: object, name: str) -> WatchedModel:
        if not isinstance(model, WatchedModel):
            raise ConfigError(
                f"a probe on the guarded model: got {name}, whose passes cannot be looked at; "
                "expected a language model in this process (embedded, transformers): use a guard "
                "without the stage `guarded`, or let a local model reply"
            )
        if self.config.identity not in ("", found := model.identity):
            raise ConfigError(
                f"a probe on the guarded model: {name} is model {found}, the probe was trained on "
                f"{self.config.identity}; expected the same weights, tokenizer, chat template and "
                "dtype: train the probe on the model that replies (custodes train)"
            )
        return model

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that are joined."""
        return self.config.layers or tuple(range(1, self.model.depth + 1))

    @property
    def dim(self) -> int:
        """Layers x width of the model."""
        return len(self.layers) * self.model.width

    @property
    def stride(self) -> int:
        """Tokens between two points."""
        return self.config.stride

    @property
    def max_tokens(self) -> int:
        """Tokens that training reads."""
        return self.config.max_tokens

    @property
    def cached(self) -> bool:
        """A pass of the model is worth keeping."""
        return True

    @property
    def fingerprint(self) -> str:
        """Model, layers and the part of the prompt."""
        return f"guarded-1:{self.model.identity}:{self.layers}:{self.config.prompt_tokens}"

    @property
    def settings(self) -> dict[str, Any]:
        """What an artifact keeps: with the layers and the model's identity written out."""
        found = {"identity": self.config.identity or self.model.identity, "layers": self.layers}
        return self.config.model_copy(update=found).model_dump(mode="json")

    def record(self) -> PassRecord:
        """A record for one reply."""
        return PassRecord(self.layers, prompt_tokens=self.config.prompt_tokens)

    def listening(self, record: PassRecord, *, after: int = 0) -> GuardedFeatures:
        """These features for one reply, whose activations come through `record`; `after`: the
        characters of the judged text that the reply continues."""
        one = copy.copy(self)
        one._record, one._after = record, after
        return one

    def open(self, context: Conversation, mode: Mode) -> FeatureStream:
        """Begin a reply. Without a record it is read when it is complete."""
        self._serves(mode)
        if self._record is None:
            return _FinishedReply(self, context, mode)
        self._record.claim()
        return _WatchedReply(self._record, after=self._after)

    def extract(self, rows: Sequence[Judged], *, limit: int | None = None) -> list[Tokens]:
        """Tokens of whole replies, at most `limit` of each, batched by length."""
        read = [self._ids(row, limit) for row in rows]
        results = []
        for start in range(0, len(read), _TOGETHER):
            few = read[start : start + _TOGETHER]
            given = [(prompt, ids) for prompt, ids, _ in few]
            found = self.model.exchange_activations(given, self.layers)
            for (prompt, ids, ends), values in zip(few, found, strict=True):
                seen = len(ends) - len(ids)
                results.append(Tokens(ends, layers_joined(values[:, len(prompt) - seen :])))
        return results

    def _ids(
        self, row: Judged, limit: int | None
    ) -> tuple[list[int], list[int], NDArray[np.int64]]:
        """A row's prompt and reply as token ids, and the ends of the tokens that are judged."""
        self._serves(row.mode)
        *context, last = row.conversation
        prompt = self.model.prompt_ids(tuple(context) or _NOBODY)
        ids, touched = self.model.encode(last.content)
        seen = min(self.config.prompt_tokens, len(prompt))
        if limit is not None:
            seen = min(seen, limit)
            ids = ids[: limit - seen]
        ends = np.concatenate([np.zeros(seen, np.int64), _whole(touched)[: len(ids)]])
        return prompt, ids, ends

    def _serves(self, mode: Mode) -> None:
        if mode not in self.modes:
            raise ConfigError(
                "features `guarded` judge replies, which the model writes: got mode input; give "
                "prompts to a stage with other features, and train this one with modes: [exchange]"
            )


def _whole(touched: NDArray[np.int64]) -> NDArray[np.int64]:
    """Characters that are whole after each token, from the end of the last one that each touches:
    of tokens that end inside the same character only the last makes it whole."""
    if len(touched) == 0:
        return touched
    inside = np.append(touched[1:] == touched[:-1], False)
    return np.maximum.accumulate(np.where(inside, 0, touched))


class _WatchedReply:
    """Tokens of the pass that writes the reply, as far as its text has come."""

    def __init__(self, record: PassRecord, *, after: int) -> None:
        self._record = record
        self._after = after
        self._length = 0
        self._covered = after

    def push(self, text: str) -> Tokens:
        begun = min(max(self._after - self._length, 0), len(text))
        self._record.check(text[begun:], max(self._length - self._after, 0))
        self._length += len(text)
        return self._take(max(self._length - self._after, 0))

    def finish(self) -> Tokens:
        tokens = self._take(None)
        if self._covered < self._length:
            raise InputError(
                f"got a reply of {self._length - self._after} characters and activations of the "
                f"first {self._covered - self._after}; expected a token for each"
            )
        return tokens

    def _take(self, until: int | None) -> Tokens:
        values, ends = self._record.take(until)
        if not values:
            return _NOTHING
        joined = np.concatenate(ends)
        placed = np.where(joined > 0, np.minimum(joined + self._after, self._length), 0)
        self._covered = max(self._covered, int(placed[-1]))
        return Tokens(placed, np.concatenate([layers_joined(each) for each in values]))


class _FinishedReply:
    """A reply that is there already: read when all of it has come."""

    def __init__(self, features: GuardedFeatures, context: Conversation, mode: Mode) -> None:
        self._features = features
        self._context = context
        self._mode = mode
        self._text: list[str] = []

    def push(self, text: str) -> Tokens:
        self._text.append(text)
        return _NOTHING

    def finish(self) -> Tokens:
        turns = (*self._context, Message("assistant", "".join(self._text)))
        return self._features.extract([Judged(turns, self._mode)])[0]
