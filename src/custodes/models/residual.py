"""Read the residual stream of any transformers model, stopping at the deepest layer needed.

Layer k is the output of block k, layer 0 the input of block 1: the embeddings. Hooks stay on the
blocks for the model's whole life and do nothing outside a `read`; a read keeps its own state in a
thread-local, so that other threads may use the model meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from custodes.errors import ConfigError

__all__ = ["ResidualReader", "blocks_of"]


class _DeepestLayerError(Exception):
    """Leaves a forward pass whose remaining layers nobody asked for; never seen outside."""


class _Request(threading.local):
    wanted: frozenset[int] = frozenset()
    found: dict[int, Tensor] | None = None
    last: int | None = None
    """None: all positions, and the pass ends at the deepest layer."""


def blocks_of(model: Any) -> nn.ModuleList:
    """The model's list of blocks; `ConfigError` where it has none."""
    count = model.config.get_text_config().num_hidden_layers
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise ConfigError(
        f"activations: no list of {count} blocks was found in a {type(model).__name__}; "
        "expected a decoder-only transformer"
    )


class ResidualReader:
    """Installs its hooks on construction; `ConfigError` where the model has no list of blocks."""

    def __init__(self, model: Any) -> None:
        self._body = getattr(model, model.base_model_prefix, model)
        self._request = _Request()
        blocks = blocks_of(model)
        self.depth = len(blocks)
        blocks[0].register_forward_pre_hook(self._before_first, with_kwargs=True)
        for index, block in enumerate(blocks, start=1):
            block.register_forward_hook(partial(self._after, index))

    def read(self, layers: Collection[int], **inputs: Any) -> dict[int, Tensor]:
        """Run the model on `inputs` as far as needed; layer -> activations [batch, T, d]."""
        self._request.wanted = frozenset(layers)
        found: dict[int, Tensor] = {}
        self._request.found = found
        try:
            with torch.inference_mode():
                self._body(**inputs)
        except _DeepestLayerError:
            pass
        finally:
            self._request.found = None
        return found

    @contextmanager
    def watch(self, layers: Collection[int], last: int) -> Iterator[dict[int, Tensor]]:
        """What this thread's passes inside the block hold: layer -> activations [batch, t, d] of
        at most `last` positions. The passes run to their end."""
        found: dict[int, Tensor] = {}
        self._request.wanted, self._request.last = frozenset(layers), last
        self._request.found = found
        try:
            yield found
        finally:
            self._request.found = self._request.last = None

    def _before_first(
        self, _block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        if self._request.found is not None:
            self._keep(0, args[0] if args else kwargs["hidden_states"])

    def _after(self, layer: int, _block: nn.Module, _args: object, output: Any) -> None:
        if self._request.found is not None:
            self._keep(layer, output[0] if isinstance(output, tuple) else output)

    def _keep(self, layer: int, values: Tensor) -> None:
        found = self._request.found
        if found is None or layer not in self._request.wanted:
            return
        last = self._request.last
        if last is not None:
            # A copy, so that the rest of a long prompt is not kept alive.
            found[layer] = values[:, max(values.shape[1] - last, 0) :].clone()
            return
        found[layer] = values
        if layer == max(self._request.wanted):
            raise _DeepestLayerError
