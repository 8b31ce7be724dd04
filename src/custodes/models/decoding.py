"""Draw replies from a causal language model, batch by batch, token by token.

Our own loop rather than `model.generate`: a reply depends on its seed alone and not on the global
random state or on its neighbors in the batch, finished rows leave the batch, and a stream is
canceled by no longer asking for the next token. Knows tensors and tokens; nothing of chat.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import Any, Literal

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream
from torch import Tensor

from custodes.models.base import Sampling
from custodes.models.key_values import key_values
from custodes.models.stop_text import StopText

__all__ = ["Decoder", "ReplyText", "generator"]


def generator(seed: int | None, prompt: Sequence[int], copy: int) -> torch.Generator:
    """The random state of one reply: by the seed and the prompt, whatever the batch.

    The prompt is mixed in so that replies to different prompts are drawn independently; `copy`
    counts equal prompts in one call, so that they get different replies, too.
    """
    state = torch.Generator()
    if seed is None:
        state.seed()
        return state
    digest = hashlib.sha256(f"{seed} {copy} {list(prompt)}".encode()).digest()
    return state.manual_seed(int.from_bytes(digest[:7], "big"))


def _draw(logits: Tensor, sampling: Sampling, state: torch.Generator) -> int:
    """One token from `logits` [V] by temperature and nucleus (arXiv 1904.09751, section 3.1)."""
    if sampling.temperature <= 0:
        return int(logits.argmax())
    probabilities = torch.softmax(logits.float().cpu() / sampling.temperature, dim=-1)
    if sampling.top_p < 1:
        ordered, order = probabilities.sort(descending=True)
        outside = ordered.cumsum(0) - ordered > sampling.top_p
        probabilities[order[outside]] = 0.0
    return int(torch.multinomial(probabilities, 1, generator=state))


class Decoder:
    """A batch of prompts being continued; rows are numbered among those still kept."""

    def __init__(
        self, model: Any, prompts: Sequence[Sequence[int]], states: Sequence[torch.Generator]
    ) -> None:
        from transformers import DynamicCache

        self._model = model
        self._cache = DynamicCache(config=model.config)
        self._states = list(states)
        longest = max(len(prompt) for prompt in prompts)
        pads = [longest - len(prompt) for prompt in prompts]
        self._ids = torch.tensor(
            [[0] * pad + list(prompt) for pad, prompt in zip(pads, prompts, strict=True)],
            device=model.device,
        )
        self._mask = torch.tensor(
            [[0] * pad + [1] * len(prompt) for pad, prompt in zip(pads, prompts, strict=True)],
            device=model.device,
        )

    @torch.inference_mode()
    def step(self, sampling: Sampling) -> list[int]:
        """The next token of every row."""
        positions = (self._mask.cumsum(1) - 1).clamp(min=0)[:, -self._ids.shape[1] :]
        output = self._model(
            input_ids=self._ids,
            attention_mask=self._mask,
            position_ids=positions,
            logits_to_keep=1,
            **key_values(self._model, self._cache),
        )
        rows = zip(output.logits[:, -1], self._states, strict=True)
        tokens = [_draw(logits, sampling, state) for logits, state in rows]
        self._ids = torch.tensor(tokens, device=self._model.device).unsqueeze(1)
        self._mask = torch.cat([self._mask, torch.ones_like(self._ids)], dim=1)
        return tokens

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows only."""
        index = torch.tensor(list(rows), dtype=torch.long, device=self._model.device)
        self._cache.batch_select_indices(index)
        self._ids, self._mask = self._ids[index], self._mask[index]
        self._states = [self._states[row] for row in rows]


class ReplyText:
    """One reply growing token by token: text, stop strings, and why it ended.

    Bytes at the very end that make up no whole character are dropped. `characters`: those that the
    tokens so far make up, a stop string's included.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, ends: Collection[int], stop: Sequence[str], limit: int
    ) -> None:
        self._tokenizer = tokenizer
        self._decode = DecodeStream(skip_special_tokens=True)
        self._ends = ends
        self._stop = StopText(stop)
        self._limit = limit
        self.tokens = 0
        self.characters = 0
        self.finish: Literal["stop", "length"] | None = "length" if limit <= 0 else None

    def push(self, token: int) -> str:
        """The text that this token completes; `finish` is set once the reply has ended."""
        if token in self._ends:
            self.finish = "stop"
            return self._stop.finish()
        self.tokens += 1
        decoded = self._decode.step(self._tokenizer, token) or ""
        self.characters += len(decoded)
        piece = self._stop.push(decoded)
        if self._stop.stopped:
            self.finish = "stop"
        elif self.tokens >= self._limit:
            self.finish = "length"
            piece += self._stop.finish()
        return piece
