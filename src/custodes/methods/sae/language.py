"""The language model under study: loaded weights, a tokenizer, its logits. Knows no autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from custodes.config import cache_folder, named_files
from custodes.errors import ConfigError
from custodes.models.arithmetic import Precision, resolved
from custodes.models.causal import CausalConfig
from custodes.models.residual import blocks_of
from custodes.models.tokens import PlainTokenizer

__all__ = ["LanguageModel", "last_norm", "load_language_model", "products"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageModel:
    """A transformers model and its tokenizer; `name` goes into every report.

    `content`: what its folder held when it was loaded, as weights may be saved over others there;
    None where it is of no folder.
    """

    model: Any
    tokenizer: Any
    name: str
    content: str | None = None

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        found: torch.device = self.model.device
        return found

    @property
    def end(self) -> int:
        """The token that stands between texts; `ConfigError` where the tokenizer has none."""
        end = self.tokenizer.eos_token_id
        if end is None:
            raise ConfigError(f"{self.name}: its tokenizer has no end-of-text token")
        return int(end)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of plain texts, special tokens read literally."""
        plain = _plain(self.tokenizer.backend_tokenizer)
        return [plain.encode(text)[0] for text in texts]

    def token(self, index: int) -> str:
        """A token as text."""
        return str(self.tokenizer.decode([index]))

    @torch.inference_mode()
    def logits(self, ids: Tensor) -> Tensor:
        """Logits [batch, T, V] of token ids [batch, T], which may be on another device."""
        found: Tensor = self.model(input_ids=ids.to(self.device), use_cache=False).logits.float()
        return found

    @torch.inference_mode()
    def mean_logits(self, ids: Tensor) -> Tensor:
        """Mean logits [V] over token ids [batch, T].

        Where logits are linear in the last states, those are averaged before them.
        """
        if getattr(self.model.config.get_text_config(), "final_logit_softcapping", None):
            return self.logits(ids).mean(dim=(0, 1))
        states = self._body(input_ids=ids, use_cache=False).last_hidden_state
        found: Tensor = self.model.get_output_embeddings()(states.mean(dim=(0, 1))).float()
        return found

    @torch.inference_mode()
    def unembed(self, vectors: Tensor) -> Tensor:
        """Logits [n, V] of vectors [n, d] behind the model's last norm (the logit lens)."""
        norm = last_norm(self.model)
        normed = vectors if norm is None else norm(vectors)
        found: Tensor = self.model.get_output_embeddings()(normed).float()
        return found

    @property
    def _body(self) -> Any:
        """The model without its output embeddings."""
        return getattr(self.model, self.model.base_model_prefix, self.model)


def last_norm(model: Any) -> nn.Module | None:
    """The norm behind the last block, found beside the blocks; None where there is none there."""
    first = blocks_of(model)[0]
    home = next(
        module
        for module in model.modules()
        if any(isinstance(one, nn.ModuleList) and len(one) and one[0] is first
               for one in module.children())
    )  # fmt: skip
    named: dict[str, nn.Module] = dict(home.named_children())
    for name in ("norm", "ln_f", "final_layer_norm", "final_layernorm", "norm_f"):
        if name in named:
            return named[name]
    behind = False
    found = None
    for child in home.children():
        behind = behind or (isinstance(child, nn.ModuleList) and child[0] is first)
        if behind and "norm" in type(child).__name__.lower():
            found = child
    return found


def products(precision: Precision, device: torch.device) -> torch.autocast:
    """Within the block, a model's products are of this precision."""
    return torch.autocast(
        device.type, torch.bfloat16, enabled=resolved(precision, device) == "bfloat16"
    )


@lru_cache(maxsize=8)
def _plain(backend: Any) -> PlainTokenizer:
    """Made once a tokenizer: it is a deep copy."""
    return PlainTokenizer(backend)


def load_language_model(name: str, *, device: str = "cpu") -> LanguageModel:
    """`embedded`, a folder, or a hub id."""
    from custodes.models.embedded import SMOLLM2, prepare
    from custodes.models.transformers import load_pretrained

    origin, shown = name, name
    content = None if name == "embedded" else named_files([name]).get(name)
    if name == "embedded":
        origin = str(prepare(SMOLLM2, cache_folder() / "models"))
        shown = "SmolLM2-135M-Instruct, 4-bit quantised weights (Q4_1)"
    model, tokenizer = load_pretrained(origin, CausalConfig(device=device))
    return LanguageModel(model=model.eval(), tokenizer=tokenizer, name=shown, content=content)
