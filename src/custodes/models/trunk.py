"""The first blocks of a causal language model, to be fine-tuned, and low-rank changes of a model.

A low-rank change of the matrix W is a pair: `NAME.down` [r, in] and `NAME.up` [out, r], NAME the
module's name inside the model's body; W becomes W + up @ down (LoRA, Hu et al., arXiv 2106.09685).
Knows nothing of what the blocks are tuned for.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from custodes.errors import ConfigError
from custodes.models.residual import blocks_of

__all__ = ["Reading", "Trunk", "add_low_rank"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a module that can be tuned makes of B texts.

    `states` [B, T, d], of which those that are `judged` [B, T] count; `final` [B, T, d]: what
    the next token can be told from, where the model tells it.
    """

    states: Tensor
    judged: Tensor
    final: Tensor | None = None


class Trunk(nn.Module):
    """A model's embeddings, first `depth` blocks and last norm; weights are shared with it."""

    def __init__(self, model: Any, depth: int) -> None:
        super().__init__()
        whole = getattr(model, model.base_model_prefix, model)
        if not 1 <= depth <= len(blocks_of(model)):
            raise ConfigError(f"depth: got {depth}, expected 1 to {len(blocks_of(model))} blocks")
        config = copy.deepcopy(whole.config)
        config.num_hidden_layers = depth
        self.body = type(whole)(config)
        fitting = self.body.state_dict().keys()
        weights = {name: value for name, value in whole.state_dict().items() if name in fitting}
        self.body.load_state_dict(weights, assign=True)
        self.width: int = config.hidden_size
        self._last: Tensor | None = None
        blocks_of(self.body)[-1].register_forward_hook(self._keep)

    def _keep(self, _block: nn.Module, _args: object, output: Any) -> None:
        self._last = output[0] if isinstance(output, tuple) else output

    matrices = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    """The matrices that an adapter changes."""

    def forward(self, ids: Tensor, present: Tensor, judged: Tensor) -> Reading:
        """Read token ids [B, T]; padding must stand behind every text, where no token of a causal
        model sees it, so `present` is not looked at."""
        final = self.body(input_ids=ids, use_cache=False).last_hidden_state
        last, self._last = self._last, None
        if last is None:
            raise AssertionError("the last block was not run")
        return Reading(last, judged, final)

    @property
    def embeddings(self) -> Tensor:
        """The input embeddings [V, d]."""
        weight: Tensor = self.body.get_input_embeddings().weight
        return weight


def add_low_rank(model: Any, pairs: Mapping[str, NDArray[np.floating]]) -> None:
    """Change the model's matrices; `ConfigError` for a name or a shape that it has not."""
    body = getattr(model, model.base_model_prefix, model)
    names = {name.rpartition(".")[0] for name in pairs}
    for name in sorted(names):
        try:
            weight = body.get_submodule(name).weight
            up, down = (np.asarray(pairs[f"{name}.{half}"], np.float32) for half in ("up", "down"))
            change = torch.from_numpy(up @ down).reshape(weight.shape)
        except (AttributeError, KeyError, RuntimeError) as error:
            raise ConfigError(
                f"the adapter changes {name}, which does not fit this model: {error}; "
                "load the model that it was trained on"
            ) from error
        # A fresh tensor: weights that are mapped from a file are shared with other processes.
        weight.data = weight.data + change.to(weight)
