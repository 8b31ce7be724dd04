"""What can be asked of a model: small protocols, most of one method.

A backend implements those it can. Shapes: T tokens of the rendered conversation, L layers asked
for, d the model's width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from custodes.config import Config
from custodes.types import Conversation

__all__ = [
    "ActivationModel",
    "Activations",
    "Ending",
    "GenerateModel",
    "LogProbabilityModel",
    "Passage",
    "Reply",
    "Sampling",
    "StreamModel",
    "SwapModel",
    "WatchedModel",
]


class Sampling(Config):
    """How a reply is drawn."""

    max_tokens: int = 256
    """At most this many new tokens."""
    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    """Nucleus mass."""
    stop: tuple[str, ...] = ()
    """The reply ends before the first of these."""
    seed: int | None = None
    """Same seed, same reply, where the backend can promise it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A finished reply; token counts are None where the backend does not tell."""

    text: str
    finish: Literal["stop", "length", "refusal", "tool_calls"] = "stop"
    prompt_tokens: int | None = None
    reply_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What a stream tells at its end; `reply_tokens` is None where the backend does not tell."""

    finish: Literal["stop", "length", "refusal", "tool_calls"] = "stop"
    reply_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Activations:
    """Residual-stream activations of one text.

    `values` is float32 [L, T, d], `ends` int [T]: the character after each token's last one.
    `layers` are the layers asked for; layer k is the output of block k, 0 the embeddings.
    """

    values: NDArray[np.float32]
    ends: NDArray[np.int64]
    layers: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A piece of a reply, and what the pass that wrote it held of the tokens that it read.

    `text` may be empty; every token of it is in this passage or in an earlier one. `values` is
    float32 [L, t, d]. `ends` int64 [t]: characters of the reply that are whole after each token, 0
    for tokens of the prompt (a token of a stop string may end behind the reply).
    """

    text: str
    values: NDArray[np.float32]
    ends: NDArray[np.int64]


@runtime_checkable
class GenerateModel(Protocol):
    """Writes replies."""

    def generate(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[Reply]:
        """One reply a conversation, in order."""
        ...


@runtime_checkable
class StreamModel(Protocol):
    """Writes one reply piece by piece."""

    def stream(self, conversation: Conversation, sampling: Sampling) -> Iterator[str]:
        """Pieces of text as they come; closing the iterator cancels the reply.

        A generator may return an `Ending`: why the reply ended, and how many tokens it has, which
        no number of pieces tells.
        """
        ...


@runtime_checkable
class LogProbabilityModel(Protocol):
    """Scores given continuations."""

    def log_probabilities(
        self, conversation: Conversation, continuations: Sequence[str]
    ) -> list[NDArray[np.float64]]:
        """Natural-log probability of each token of each continuation, [tokens] each."""
        ...


@runtime_checkable
class ActivationModel(Protocol):
    """Reads activations of plain texts (no chat template)."""

    def activations(self, texts: Sequence[str], layers: Sequence[int]) -> list[Activations]:
        """Activations of each text at the layers, stopping at the deepest one needed."""
        ...


@runtime_checkable
class SwapModel(Protocol):
    """Tells which tokens of a prompt to swap (a local model, whose gradients can be had)."""

    def swaps(
        self, conversation: Conversation, suffix: str, continuation: str, *, top: int
    ) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
        """The tokens of `suffix`, the end of the last turn, and for each the `top` swaps that
        promise most to make `continuation` the reply."""
        ...


@runtime_checkable
class WatchedModel(Protocol):
    """A model in this process whose own passes can be looked at while it replies."""

    @property
    def identity(self) -> str:
        """Names its content: weights, tokenizer, chat template, precision."""
        ...

    @property
    def depth(self) -> int:
        """Blocks: layers are 0 (embeddings) to this."""
        ...

    @property
    def width(self) -> int:
        """d."""
        ...

    def encode(self, text: str) -> tuple[list[int], NDArray[np.int64]]:
        """Token ids of a plain text, and the character after each token's last one."""
        ...

    def prompt_ids(self, conversation: Conversation) -> list[int]:
        """Token ids of a conversation as the model reads it before it replies."""
        ...

    def watch(
        self,
        conversation: Conversation,
        sampling: Sampling,
        layers: Sequence[int],
        *,
        prompt_tokens: int = 0,
    ) -> Iterator[Passage]:
        """The reply that `stream` gives, with the activations of the passes that write it; of the
        prompt those of its last `prompt_tokens`. A generator may return an `Ending`, as there."""
        ...

    def exchange_activations(
        self, exchanges: Sequence[tuple[Sequence[int], Sequence[int]]], layers: Sequence[int]
    ) -> list[NDArray[np.float32]]:
        """The same for replies that are there already: activations [L, T, d] of prompt and reply,
        given as token ids, in one pass each."""
        ...
