"""What every causal language model in this process can do: four protocols, incremental reads.

Takes a loaded transformers model and tokenizer; knows nothing of where they come from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from custodes.config import Config
from custodes.errors import ConfigError, ModelRequestError
from custodes.models.activation_stream import ActivationStream, Step
from custodes.models.base import Activations, Ending, Passage, Reply, Sampling
from custodes.models.continuations import continuation_logs, prefill
from custodes.models.decoding import Decoder, ReplyText, generator
from custodes.models.eight_bits import in_eight_bits
from custodes.models.identity import identity_of
from custodes.models.key_values import key_values
from custodes.models.padding import pack, right_padded
from custodes.models.passages import passages
from custodes.models.residual import ResidualReader
from custodes.models.swaps import promising_swaps, span_tokens, usable_tokens
from custodes.models.templates import rendered
from custodes.models.tokens import PlainTokenizer, well_formed
from custodes.models.trunk import Trunk, add_low_rank
from custodes.types import Conversation

__all__ = ["CausalConfig", "CausalModel"]

_NO_LIMIT = 8192  # tokens; for models whose config names no greatest position


class CausalConfig(Config):
    """Where and how a local model computes."""

    device: str = "cpu"
    """A torch device: cpu, cuda, cuda:1, mps."""
    dtype: Literal["float32", "bfloat16", "float16", "int8"] = "float32"
    """What the model computes in. int8 (matrices of the blocks in 8 bits, the rest in float32) is
    for processors and the fastest there."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of torch, for the whole process; null leaves torch's own choice."""
    batch_size: int = Field(default=32, ge=1)
    """At most so many texts in one forward pass."""
    batch_tokens: int = Field(default=8192, ge=1)
    """At most so many tokens, padding included, in one forward pass (one text may exceed it)."""
    context: int | None = Field(default=None, ge=8)
    """Tokens that the model attends to; null takes the model's own greatest position."""
    chat_template: str | None = None
    """A Jinja chat template in place of the tokenizer's; base models need one."""


class CausalModel:
    """A decoder-only language model and its tokenizer.

    Plain texts (`encode`, `activations`, continuations) are read literally; in conversations the
    tokenizer's special tokens act as such, as with every server of such models. Where the tokenizer
    begins every text with a token of its own, activations are computed behind it and given without
    it. A text longer than the context is read in consecutive passes, each beginning afresh.
    """

    def __init__(self, model: Any, tokenizer: Any, config: CausalConfig, *, name: str) -> None:
        if not hasattr(tokenizer, "backend_tokenizer"):
            raise ConfigError(
                f"{name}: its tokenizer is a {type(tokenizer).__name__}; expected one of the "
                "tokenizers library (a tokenizer.json), which alone gives exact offsets"
            )
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        self._config = config
        self._model = model.eval()
        if config.dtype == "int8":
            in_eight_bits(model)
        self._tokenizer = tokenizer
        self._plain = PlainTokenizer(tokenizer.backend_tokenizer)
        self._residual = ResidualReader(model)
        text_config = model.config.get_text_config()
        greatest = getattr(text_config, "max_position_embeddings", None) or _NO_LIMIT
        self._context = min(config.context or greatest, greatest)
        begin = tokenizer.backend_tokenizer.encode("").ids
        self._begin = begin if begin == [tokenizer.bos_token_id] else []
        self._usable: Tensor | None = None
        self.depth: int = self._residual.depth
        self.width: int = text_config.hidden_size
        self.description = f"{name}, computed in {config.dtype}"

    @property
    def window(self) -> int:
        """Tokens of a plain text that one pass reads."""
        return self._context - len(self._begin)

    def encode(self, text: str) -> tuple[list[int], NDArray[np.int64]]:
        """Token ids of a plain text, and the character after each token's last one, int64 [T]."""
        return self._plain.encode(text)

    @property
    def identity(self) -> str:
        """Names the model by its content: weights, tokenizer, chat template, precision."""
        template = self._config.chat_template or self._tokenizer.chat_template
        reads = (template, self._config.dtype)
        return identity_of(self._model, self._tokenizer.backend_tokenizer, reads=reads)

    # Fine-tuning

    def trunk(self, depth: int) -> Trunk:
        """The first `depth` blocks as a module to be tuned; what is added to it leaves the model as
        it is."""
        return Trunk(self._model, depth)

    def adapt(self, pairs: Mapping[str, NDArray[np.floating]], *, name: str) -> None:
        """Change the weights by low-rank pairs (see `trunk`); `name` goes into the description."""
        add_low_rank(self._model, pairs)
        self.description = f"{self.description}, adapted by {name}"

    # Activations

    def activations(self, texts: Sequence[str], layers: Sequence[int]) -> list[Activations]:
        """Activations of each text at the layers, stopping at the deepest one needed.

        `ConfigError` for a layer that the model has not.
        """
        chosen = self._checked(layers)
        encoded = [self.encode(text) for text in texts]
        values = self.token_activations([ids for ids, _ in encoded], chosen)
        return [
            Activations(values=value, ends=ends, layers=chosen)
            for value, (_, ends) in zip(values, encoded, strict=True)
        ]

    def token_activations(
        self, rows: Sequence[Sequence[int]], layers: Sequence[int]
    ) -> list[NDArray[np.float32]]:
        """Activations of texts given as token ids, float32 [L, T, d] each; layers as asked for."""
        chosen = self._checked(layers)
        values = [np.empty((len(chosen), len(ids), self.width), np.float32) for ids in rows]
        passes = [
            (text, start, ids[start : start + self.window])
            for text, ids in enumerate(rows)
            for start in range(0, len(ids), self.window)
        ]
        skip = len(self._begin)
        for batch in self._batches([skip + len(ids) for _, _, ids in passes]):
            begun = [[*self._begin, *passes[row][2]] for row in batch]
            found = self._read(chosen, begun)
            for place, row in enumerate(batch):
                text, start, ids = passes[row]
                values[text][:, start : start + len(ids)] = found[:, place, skip : skip + len(ids)]
        return values

    def open_activations(self, layers: Sequence[int]) -> ActivationStream:
        """Begin to read the activations of one growing text, token by token."""
        chosen = self._checked(layers)
        return ActivationStream(
            lambda: self._fresh_pass(chosen), window=self.window, layers=chosen, width=self.width
        )

    def exchange_activations(
        self, exchanges: Sequence[tuple[Sequence[int], Sequence[int]]], layers: Sequence[int]
    ) -> list[NDArray[np.float32]]:
        """Activations [L, T, d] of prompts (`prompt_ids`) and replies as the passes that write such
        replies hold them; `ModelRequestError` where they are too long for one pass."""
        chosen = self._checked(layers)
        rows = [[*prompt, *reply] for prompt, reply in exchanges]
        longest = max(map(len, rows), default=0)
        if longest > self._context:
            raise ModelRequestError(
                f"{self.description}: an exchange of {longest} tokens; expected at most "
                f"{self._context}: the model cannot have written it"
            )
        found: dict[int, NDArray[np.float32]] = {}
        for batch in self._batches([len(row) for row in rows], share=4 / (4 + len(chosen))):
            values = self._read(chosen, [rows[row] for row in batch])
            for place, row in enumerate(batch):
                found[row] = values[:, place, : len(rows[row])]
        return [found[row] for row in range(len(rows))]

    def _checked(self, layers: Sequence[int]) -> tuple[int, ...]:
        if not layers or not all(0 <= layer <= self.depth for layer in layers):
            raise ConfigError(
                f"layers: got {list(layers)}, expected some of 0 (embeddings) to {self.depth}"
            )
        return tuple(layers)

    def _batches(self, lengths: Sequence[int], *, share: float = 1.0) -> list[list[int]]:
        tokens = max(1, int(self._config.batch_tokens * share))
        return pack(lengths, rows=self._config.batch_size, tokens=tokens)

    def _read(self, layers: tuple[int, ...], rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        ids, mask = right_padded(rows, self._model.device)
        found = self._residual.read(layers, input_ids=ids, attention_mask=mask, use_cache=False)
        return torch.stack([found[layer] for layer in layers]).float().cpu().numpy()

    def _fresh_pass(self, layers: tuple[int, ...]) -> Step:
        from transformers import DynamicCache

        cache = DynamicCache(config=self._model.config)
        done = 0

        def step(ids: Sequence[int]) -> NDArray[np.float32]:
            nonlocal done
            row = [*self._begin, *ids] if done == 0 else list(ids)
            positions = torch.arange(done, done + len(row), device=self._model.device)
            found = self._residual.read(
                layers,
                input_ids=torch.tensor([row], device=self._model.device),
                position_ids=positions.unsqueeze(0),
                **key_values(self._model, cache),
            )
            done += len(row)
            values = torch.stack([found[layer][0, -len(ids) :] for layer in layers])
            return values.float().cpu().numpy()

        return step

    # Conversations

    def generate(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[Reply]:
        """One reply a conversation, in order; `ModelRequestError` where one leaves no room.

        The same seed gives the same replies, whatever else is in the batch.
        """
        prompts = [self.prompt_ids(conversation) for conversation in conversations]
        copies: Counter[tuple[int, ...]] = Counter()
        states = []
        for prompt in prompts:
            states.append(generator(sampling.seed, prompt, copies[tuple(prompt)]))
            copies[tuple(prompt)] += 1
        replies: dict[int, Reply] = {}
        for batch in self._batches([len(prompt) for prompt in prompts]):
            written = self._write(
                [prompts[row] for row in batch], [states[row] for row in batch], sampling
            )
            replies.update(zip(batch, written, strict=True))
        return [replies[row] for row in range(len(prompts))]

    def stream(
        self, conversation: Conversation, sampling: Sampling
    ) -> Generator[str, None, Ending]:
        """The reply that `generate` gives, piece by piece; closing the iterator cancels it."""
        prompt = self.prompt_ids(conversation)
        decoder = Decoder(self._model, [prompt], [generator(sampling.seed, prompt, 0)])
        reply = self._reply(prompt, sampling)
        while reply.finish is None:
            if piece := reply.push(decoder.step(sampling)[0]):
                yield piece
        return Ending(finish=reply.finish, reply_tokens=reply.tokens)

    def watch(
        self,
        conversation: Conversation,
        sampling: Sampling,
        layers: Sequence[int],
        *,
        prompt_tokens: int = 0,
    ) -> Generator[Passage, None, Ending]:
        """The reply that `stream` gives, with the activations of the passes that write it; of the
        prompt those of its last `prompt_tokens`."""
        chosen = self._checked(layers)
        prompt = self.prompt_ids(conversation)
        decoder = Decoder(self._model, [prompt], [generator(sampling.seed, prompt, 0)])

        def look(last: int) -> tuple[int, NDArray[np.float32]]:
            with self._residual.watch(chosen, last) as found:
                (token,) = decoder.step(sampling)
            return token, torch.stack([found[k][0] for k in chosen]).float().cpu().numpy()

        return passages(look, self._reply(prompt, sampling), prompt_tokens=prompt_tokens)

    def log_probabilities(
        self, conversation: Conversation, continuations: Sequence[str]
    ) -> list[NDArray[np.float64]]:
        """Natural-log probability of each token of each continuation, as the assistant's reply.

        The conversation is computed once and shared by all continuations.
        """
        prompt = self.prompt_ids(conversation)
        rows = [self.encode(text)[0] for text in continuations]
        longest = max(map(len, rows), default=0)
        if len(prompt) + longest > self._context:
            raise ModelRequestError(
                f"{self.description}: a conversation of {len(prompt)} tokens with a continuation "
                f"of {longest}; expected at most {self._context} together: shorten one of them"
            )
        begun = prefill(self._model, prompt)
        scores: dict[int, NDArray[np.float64]] = {}
        for batch in self._batches([len(row) for row in rows]):
            logs = continuation_logs(self._model, begun, [rows[row] for row in batch])
            scores.update(zip(batch, logs, strict=True))
        return [scores[row] for row in range(len(rows))]

    def swaps(
        self, conversation: Conversation, suffix: str, continuation: str, *, top: int
    ) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
        """The tokens at the end of the last turn that make up `suffix`, as texts, and for each the
        `top` other tokens that promise most to make `continuation` the reply; see `swaps.py`."""
        text = self._rendered(conversation)
        end = text.rindex(suffix) + len(suffix)
        tokenizer = self._tokenizer.backend_tokenizer
        ids, places = span_tokens(tokenizer, text, end - len(suffix), end)
        wished, _ = self.encode(continuation)
        if len(ids) + len(wished) > self._context:
            raise ModelRequestError(
                f"{self.description}: a conversation of {len(ids)} tokens with a reply of "
                f"{len(wished)}; expected at most {self._context} together: shorten one of them"
            )
        if self._usable is None:
            self._usable = usable_tokens(tokenizer)
        scores = promising_swaps(self._model, ids, places, wished, usable=self._usable)
        best = scores.topk(top, dim=1).indices.tolist()
        decode = tokenizer.decode
        pieces = tuple(decode([ids[place]]) for place in places)
        return pieces, tuple(tuple(decode([token]) for token in row) for row in best)

    def prompt_ids(self, conversation: Conversation) -> list[int]:
        """Token ids of a conversation as the model reads it before it replies;
        `ModelRequestError` where it leaves no room for a reply."""
        ids: list[int] = self._tokenizer.backend_tokenizer.encode(
            self._rendered(conversation), add_special_tokens=False
        ).ids
        if not 0 < len(ids) < self._context:
            raise ModelRequestError(
                f"{self.description}: a conversation of {len(ids)} tokens; expected 1 to "
                f"{self._context - 1}, to leave room for a reply: shorten it"
            )
        return ids

    def _rendered(self, conversation: Conversation) -> str:
        """As the model reads it; a last turn of the assistant is a reply begun, to be gone on with
        (as in Anthropic's API)."""
        template = self._config.chat_template or self._tokenizer.chat_template
        if template is None:
            raise ConfigError(
                f"{self.description}: its tokenizer has no chat template; "
                "give one by the setting chat_template"
            )
        turns, begun = list(conversation), ""
        if len(turns) > 1 and turns[-1].role == "assistant":
            begun = well_formed(turns.pop().content)
        messages = [{"role": turn.role, "content": well_formed(turn.content)} for turn in turns]
        text = rendered(self._tokenizer, template, messages, reply=True)
        return text + begun

    def _reply(self, prompt: Sequence[int], sampling: Sampling) -> ReplyText:
        ends = self._model.generation_config.eos_token_id
        known = set(ends) if isinstance(ends, (list, tuple)) else {ends}
        return ReplyText(
            self._tokenizer.backend_tokenizer,
            ends=known | {self._tokenizer.eos_token_id},
            stop=sampling.stop,
            limit=min(sampling.max_tokens, self._context - len(prompt)),
        )

    def _write(
        self, prompts: Sequence[list[int]], states: Sequence[torch.Generator], sampling: Sampling
    ) -> list[Reply]:
        decoder = Decoder(self._model, prompts, states)
        replies = [self._reply(prompt, sampling) for prompt in prompts]
        texts = [""] * len(prompts)
        live = list(range(len(replies))) if sampling.max_tokens > 0 else []
        while live:
            for row, token in zip(live, decoder.step(sampling), strict=True):
                texts[row] += replies[row].push(token)
            going = [place for place, row in enumerate(live) if replies[row].finish is None]
            if 0 < len(going) < len(live):
                decoder.keep(going)
            live = [live[place] for place in going]
        return [
            Reply(
                text=text,
                finish=reply.finish or "stop",
                prompt_tokens=len(prompt),
                reply_tokens=reply.tokens,
            )
            for text, reply, prompt in zip(texts, replies, prompts, strict=True)
        ]
