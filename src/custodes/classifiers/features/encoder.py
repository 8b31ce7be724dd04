"""A sentence encoder's view of a text, taken anew whenever the text has grown by `stride` tokens.

Every view is of the context's end and of the text's last `window` tokens, so that cost and memory
are bounded. A short text is viewed once, when it is complete. Views stand where tokens stand
elsewhere: a stage on these features serves a point a view and needs no smoothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from custodes.classifiers.canonical import canonical
from custodes.classifiers.features.adapter import ModelFeatures
from custodes.classifiers.features.base import Judged, Tokens
from custodes.classifiers.segments import Segment, Segmenter, segments
from custodes.config import Config
from custodes.errors import ConfigError
from custodes.models.devices import placed
from custodes.types import Conversation, Mode

__all__ = ["EncoderFeatures", "EncoderFeaturesConfig"]


class EncoderFeaturesConfig(Config):
    """Settings of encoder features."""

    model: Mapping[str, Any] = Field(default_factory=dict)
    """The encoder's own settings; none: MiniLM on the processor."""
    stride: int = Field(default=64, ge=1)
    """Tokens between two views."""
    window: int = Field(default=256, ge=16)
    """Tokens of a view, its context included."""
    context_tokens: int = Field(default=64, ge=0)
    """Tokens at the context's end that a view of a reply begins with."""
    max_tokens: int = Field(default=128, ge=1)
    """Training views the first tokens of a text, this many."""


class EncoderFeatures(ModelFeatures):
    """Mean-pooled states of an encoder's last layer; dense, d = its width."""

    Config = EncoderFeaturesConfig
    stride = 1
    """A point is served after every view."""

    def __init__(self, config: EncoderFeaturesConfig) -> None:
        from custodes.models.encoder import Encoder

        model = Encoder(placed(config.model, Encoder.Config, origin="encoder settings"))
        super().__init__(config, model)
        if not config.context_tokens < config.window <= self.model.longest:
            raise ConfigError(
                f"window: got {config.window}, expected more than context_tokens "
                f"({config.context_tokens}) and at most {self.model.longest}"
            )

    @property
    def dim(self) -> int:
        """The encoder's width."""
        return int(self.model.width)

    @property
    def fingerprint(self) -> str:
        """Model and the way of viewing."""
        read = self.config.model_dump_json(exclude={"model", "max_tokens"})
        return f"encoder-2:{self.model.description}:{read}"

    def trunk(self) -> Any:
        """The encoder as a module, to be tuned."""
        return self.model.trunk()

    def training_ids(self, row: Judged) -> tuple[list[int], list[int]]:
        """What a row is to `trunk`: the ids before those that are judged, and these."""
        before = self.context(row.conversation[:-1], row.mode)
        words = [piece.text for piece in segments(row.conversation[-1].content)]
        ids = self.read(words[: self.max_tokens])
        first, *_, last = self.model.framed([0])
        return [first, *before], [*ids[: self.max_tokens], last]

    def open(self, context: Conversation, mode: Mode) -> _EncoderStream:
        """Begin a text that follows `context`."""
        return _EncoderStream(self, self.context(context, mode))

    def extract(self, rows: Sequence[Judged], *, limit: int | None = None) -> list[Tokens]:
        """Views of whole texts, of at most `limit` tokens of each, batched by length."""
        texts = []
        for row in rows:
            stream = self.open(row.conversation[:-1], row.mode)
            for piece in segments(row.conversation[-1].content):
                stream.take(piece, limit)
            stream.end()
            texts.append(stream)
        vectors = self.model.embed([view for stream in texts for view in stream.views])
        results, start = [], 0
        for stream in texts:
            stop = start + len(stream.views)
            results.append(Tokens(np.array(stream.ends, np.int64), vectors[start:stop]))
            start = stop
        return results

    def context(self, context: Conversation, mode: Mode) -> list[int]:
        """The ids that a view begins with; input and output modes see no context."""
        if mode is not Mode.EXCHANGE or not context or not self.config.context_tokens:
            return []
        asked = " ".join(turn.content for turn in context if turn.role == "user")
        return self.read([piece.text for piece in segments(asked)])[-self.config.context_tokens :]

    def read(self, words: Sequence[str]) -> list[int]:
        """The token ids of words, their disguise off."""
        return [token for word in words for token in self.ids(canonical(word))]


class _EncoderStream:
    def __init__(self, features: EncoderFeatures, context: list[int]) -> None:
        self._features = features
        self._context = context
        self._segmenter = Segmenter()
        self._recent: deque[tuple[str, int]] = deque()
        """The words that a view can hold, each with its number of tokens."""
        self._held = self._count = self._end = self._covered = 0
        self.views: list[list[int]] = []
        self.ends: list[int] = []

    def push(self, text: str) -> Tokens:
        for piece in self._segmenter.push(text):
            self.take(piece, None)
        return self._seen()

    def finish(self) -> Tokens:
        for piece in self._segmenter.finish():
            self.take(piece, None)
        self.end()
        return self._seen()

    def take(self, piece: Segment, limit: int | None) -> None:
        """One more segment; a view is due after every `stride` tokens, at a segment's end."""
        if limit is not None and self._count >= limit:
            return
        new = self._features.ids(canonical(piece.text))
        stride = self._features.config.stride
        due = (self._count + len(new)) // stride > self._count // stride
        self._recent.append((piece.text, len(new)))
        self._held += len(new)
        while self._held - self._recent[0][1] >= self._features.config.window:
            self._held -= self._recent.popleft()[1]
        self._count += len(new)
        self._end = piece.end
        if due:
            self._view()

    def end(self) -> None:
        """The text is complete: a last view of what no view has covered."""
        if self._count and self._covered < self._end:
            self._view()

    def _view(self) -> None:
        room = self._features.config.window - len(self._context)
        own = self._features.read([word for word, _ in self._recent])
        self.views.append(self._context + own[-room:])
        self.ends.append(self._end)
        self._covered = self._end

    def _seen(self) -> Tokens:
        """The views that are due, each by itself: a batch would round otherwise."""
        vectors = [self._features.model.embed([view]) for view in self.views]
        empty = np.zeros((0, self._features.dim), np.float32)
        tokens = Tokens(np.array(self.ends, np.int64), np.concatenate([empty, *vectors]))
        self.views.clear()
        self.ends.clear()
        return tokens
