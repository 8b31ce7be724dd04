"""One matrix of a causal language model: the embedded SmolLM2-135M, or another.

The embedded model's weights are 4-bit quantised (Q4_1); what is found in them is found in those.
With `depth`, only the first blocks are kept and read out by the model's own head: enough to try
things out, and not the model.
"""

from __future__ import annotations

import torch
from torch import Tensor

from custodes.config import cache_folder
from custodes.errors import ConfigError, DataError
from custodes.methods.decomposition.config import EmbeddedConfig
from custodes.methods.decomposition.targets.module import ModuleTarget
from custodes.models.causal import CausalConfig
from custodes.models.embedded import SMOLLM2, prepare
from custodes.models.transformers import load_pretrained

__all__ = ["load_embedded"]

_TEXT = (
    "The harbor opens before sunrise. Boats come back with nets, ropes and boxes of fish, and the "
    "people on the pier count them aloud. Further up the hill, a baker has already sold half of "
    "his bread. In the school, a teacher draws the orbit of the moon on the board and asks why "
    "the tides change. Nobody answers at first. Then a girl says that water follows what is heavy "
    "and near, and the teacher smiles, because that is almost right. By noon the wind has turned, "
    "clouds gather over the lighthouse, and the ferry waits for the rain to pass before it leaves."
)


def load_embedded(config: EmbeddedConfig, device: str) -> ModuleTarget:
    """The configured matrix as a target with the KL divergence of next-token logits."""
    folder = config.model or str(prepare(SMOLLM2, cache_folder() / "models"))
    model, tokenizer = load_pretrained(folder, CausalConfig(device=device))
    model.eval()
    model.config.use_cache = False
    origin = config.model or "SmolLM2-135M-Instruct, 4-bit quantised weights (Q4_1)"
    if config.depth is not None:
        blocks = model.model.layers
        if config.depth > len(blocks):
            raise ConfigError(f"depth: got {config.depth}, expected at most {len(blocks)}")
        model.model.layers = blocks[: config.depth]
        origin += f", the first {config.depth} of {len(blocks)} blocks"
    text = _TEXT if config.text is None else config.text.read_text(encoding="utf-8")
    tokens = torch.tensor(tokenizer(text, add_special_tokens=False)["input_ids"], device=device)
    if len(tokens) <= config.tokens:
        raise DataError(
            f"{config.text}: got {len(tokens)} tokens, expected more than {config.tokens}"
        )

    def draw_inputs(draw: torch.Generator, size: int) -> Tensor:
        starts = torch.randint(
            len(tokens) - config.tokens, (size, 1), generator=draw, device=draw.device
        )
        return tokens[starts + torch.arange(config.tokens, device=device)]

    origin = f"{config.matrix} of {origin}"
    return ModuleTarget(model, [config.matrix], draw_inputs, loss="kl", origin=origin)
