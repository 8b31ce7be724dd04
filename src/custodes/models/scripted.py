"""A model that follows a script: the double for tests, demonstrations and dry runs.

It answers from a list of lines, streams, scores continuations and has activations, all
deterministic and instant, and it can be told to be slow, to stall and to fail. Every backend's
protocol is here, so whatever takes a model takes this one. A script as a YAML file:

    script:
      - when: weather            # a regular expression, searched in the last turn
        reply: "Sunny, and {turns} turns so far."
      - when: busy
        error: server            # timeout | request | server: raises the error of that kind ...
        times: 2                 # ... for the first two calls; then later lines are tried
      - when: slow
        reply: "One word after the other."
        delay: 0.1               # seconds before each piece
      - when: cut
        reply: "This breaks off."
        error: server
        at: 2                    # after two pieces of a stream
    otherwise: "I have nothing to say."
"""

from __future__ import annotations

import re
import threading
import time
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from custodes.config import Config, load
from custodes.errors import (
    ConfigError,
    ModelError,
    ModelRequestError,
    ModelServerError,
    ModelTimeoutError,
)
from custodes.models.activation_stream import ActivationStream, Step
from custodes.models.base import Activations, Ending, Reply, Sampling
from custodes.models.stop_text import StopText
from custodes.types import Conversation

__all__ = ["Line", "ScriptedModel"]

_WORD = re.compile(r"\w+\s*|[^\w\s]\s*|\s+")
_ERRORS: dict[str, type[ModelError]] = {
    "timeout": ModelTimeoutError,
    "request": ModelRequestError,
    "server": ModelServerError,
}


class Line(Config):
    """One line of a script: when it is said, what is said, and what goes wrong."""

    when: str = ""
    """A regular expression searched in the conversation's last turn; empty fits always."""
    reply: str = ""
    """What is said; `{text}` is the last turn, `{turns}` the number of turns."""
    finish: Literal["stop", "length", "refusal", "tool_calls"] = "stop"
    """Why the reply ends, where neither `max_tokens` nor a stop string ends it."""
    times: int | None = Field(default=None, ge=0)
    """The line is used for so many calls, then passed over; null is for ever."""
    delay: float = Field(default=0.0, ge=0)
    """Seconds before each piece."""
    error: Literal["timeout", "request", "server"] | None = None
    """Raise this kind of error in place of going on."""
    stall: float = Field(default=0.0, ge=0)
    """Seconds of silence before going on (or before the error)."""
    at: int = Field(default=0, ge=0)
    """Pieces that a stream gives before it stalls or fails."""


class ScriptedModel:
    """A deterministic stand-in for a model; see the module's docstring for its script.

    Its tokens are words with the white space behind them; `generate` counts and cuts by them, and a
    stream gives one piece a word. Sampling's temperature and seed change nothing. Safe in many
    threads.
    """

    class Config(Config):
        """The script, and the size of the activations."""

        script: tuple[Line, ...] = ()
        """The first line that fits the last turn answers."""
        otherwise: str | None = "This is a scripted reply."
        """The reply where no line fits; null makes that an error."""
        log_probabilities: dict[str, float] = Field(default_factory=dict)
        """Natural-log probability by word, for continuations; others get one by their spelling."""
        depth: int = Field(default=4, ge=1)
        """Layers, the embeddings not counted."""
        width: int = Field(default=16, ge=1)
        """Dimensions of an activation."""
        window: int = Field(default=512, ge=1)
        """Words of one pass; the activations of the next begin afresh."""
        signals: dict[str, tuple[float, ...]] = Field(default_factory=dict)
        """By word, in lower case: a vector of `width` added to its activations at every layer."""
        file: Path | None = None
        """A YAML file with any of these settings; what is set beside it wins."""

    def __init__(self, config: Config, *, sleep: Callable[[float], None] = time.sleep) -> None:
        if config.file is not None:
            beside = {name: getattr(config, name) for name in config.model_fields_set - {"file"}}
            config = load(type(config), config.file).model_copy(update=beside)
        for word, vector in config.signals.items():
            if len(vector) != config.width:
                raise ConfigError(
                    f"signals.{word}: got {len(vector)} numbers, expected width = {config.width}"
                )
        self._config = config
        self._sleep = sleep
        self._patterns = [_compiled(line.when) for line in config.script]
        self._lock = threading.Lock()
        self._used = [0] * len(config.script)
        self._signals = {
            _id(word): np.array(vector, np.float32) for word, vector in config.signals.items()
        }
        self.depth = config.depth
        self.width = config.width
        self.description = "a scripted model"

    # Conversations

    def generate(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[Reply]:
        """One reply a conversation, in order; raises the error that the script asks for."""
        return [self._reply(conversation, sampling) for conversation in conversations]

    def stream(
        self, conversation: Conversation, sampling: Sampling
    ) -> Generator[str, None, Ending]:
        """The reply that `generate` gives, a word a piece."""
        line, words = self._answer(conversation)
        stop, said = StopText(sampling.stop), []
        for piece in self._play(line, words[: sampling.max_tokens], stop):
            said.append(piece)
            yield piece
        cut = len(words) > sampling.max_tokens
        return Ending(
            finish="stop" if stop.stopped else "length" if cut else line.finish,
            reply_tokens=len(_words("".join(said))),
        )

    def log_probabilities(
        self, conversation: Conversation, continuations: Sequence[str]
    ) -> list[NDArray[np.float64]]:
        """By word: from the table in the settings, else between -9 and -1 by its spelling."""
        table = self._config.log_probabilities
        return [
            np.array(
                [table.get(word.strip(), -1.0 - _id(word) % 800 / 100) for word in _words(text)],
                dtype=np.float64,
            )
            for text in continuations
        ]

    def _reply(self, conversation: Conversation, sampling: Sampling) -> Reply:
        line, words = self._answer(conversation)
        stop = StopText(sampling.stop)
        text = "".join(self._play(line, words[: sampling.max_tokens], stop))
        cut = len(words) > sampling.max_tokens
        return Reply(
            text=text,
            finish="stop" if stop.stopped else "length" if cut else line.finish,
            prompt_tokens=sum(len(_words(turn.content)) for turn in conversation),
            reply_tokens=len(_words(text)),
        )

    def _play(self, line: Line, words: Sequence[str], stop: StopText) -> Iterator[str]:
        """The pieces up to the stop, with all that the script wants to happen on the way."""
        fault = min(line.at, len(words))
        for index, word in enumerate(words):
            self._sleep(line.delay)
            if index == fault:
                self._fail(line)
            if piece := stop.push(word):
                yield piece
            if stop.stopped:
                return
        if fault == len(words):
            self._fail(line)
        if piece := stop.finish():
            yield piece

    def _fail(self, line: Line) -> None:
        self._sleep(line.stall)
        if line.error is not None:
            raise _ERRORS[line.error](f"the script asks for a {line.error} error")

    def _answer(self, conversation: Conversation) -> tuple[Line, list[str]]:
        text = conversation[-1].content if conversation else ""
        line = self._line(text)
        said = line.reply.replace("{turns}", str(len(conversation))).replace("{text}", text)
        return line, _words(said)

    def _line(self, text: str) -> Line:
        with self._lock:
            for index, line in enumerate(self._config.script):
                left = line.times is None or self._used[index] < line.times
                if left and self._patterns[index].search(text):
                    self._used[index] += 1
                    return line
        if self._config.otherwise is None:
            raise ModelRequestError(
                f"no line of the script fits {text[:80]!r}: add one, or set otherwise"
            )
        return Line(reply=self._config.otherwise)

    # Activations

    def encode(self, text: str) -> tuple[list[int], NDArray[np.int64]]:
        """Ids of the words, and the character after each, int64 [T]."""
        words = _words(text)
        ends = np.cumsum([len(word) for word in words], dtype=np.int64)
        return [_id(word) for word in words], ends

    def activations(self, texts: Sequence[str], layers: Sequence[int]) -> list[Activations]:
        """For each word a vector: by it, the layer and, fading, what came before."""
        encoded = [self.encode(text) for text in texts]
        values = self.token_activations([ids for ids, _ in encoded], layers)
        return [
            Activations(values=value, ends=ends, layers=tuple(layers))
            for value, (_, ends) in zip(values, encoded, strict=True)
        ]

    def token_activations(
        self, rows: Sequence[Sequence[int]], layers: Sequence[int]
    ) -> list[NDArray[np.float32]]:
        """Activations of texts given as token ids, float32 [L, T, d] each; layers as asked for."""
        return [self.open_activations(layers).push_tokens(ids) for ids in rows]

    def open_activations(self, layers: Sequence[int]) -> ActivationStream:
        """Begin to read the activations of one growing text."""
        if not layers or not all(0 <= layer <= self.depth for layer in layers):
            raise ConfigError(f"layers: got {list(layers)}, expected some of 0 to {self.depth}")
        chosen = tuple(layers)
        return ActivationStream(
            lambda: self._fresh_pass(chosen),
            window=self._config.window,
            layers=chosen,
            width=self.width,
        )

    def _fresh_pass(self, layers: tuple[int, ...]) -> Step:
        past = np.zeros((len(layers), self.width), np.float32)

        def step(ids: Sequence[int]) -> NDArray[np.float32]:
            nonlocal past
            values = []
            for token in ids:
                past = 0.5 * past + np.stack([self._vector(token, layer) for layer in layers])
                values.append(past)
            return np.stack(values, axis=1).astype(np.float32)

        return step

    def _vector(self, token: int, layer: int) -> NDArray[np.float32]:
        own = np.random.default_rng((token, layer)).standard_normal(self.width, np.float32)
        return own + self._signals.get(token, np.float32(0))


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ConfigError(
            f"script: when: got {pattern!r}, expected a regular expression: {error}"
        ) from error


def _words(text: str) -> list[str]:
    return _WORD.findall(text)


def _id(word: str) -> int:
    return zlib.crc32(word.strip().lower().encode("utf-8", "surrogatepass"))
