"""Run the blocks of a language model as compiled code (torch.compile).

What lies between a block's products (norms, rotations, gates, casts) is fused, which is what a fast
processor or GPU spends most of a pass on. A place that is read inside a block must be seen, and a
reading leaves the block there: such a block is compiled in parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from custodes.errors import ConfigError
from custodes.methods.sae.hooks import forwarding, place
from custodes.models.residual import blocks_of

__all__ = ["compiled_blocks"]


@contextmanager
def compiled_blocks(model: Any, hooks: Sequence[str]) -> Iterator[None]:
    """Within the block, the model's blocks are compiled when they first run, once a shape of input.

    `ConfigError` where this machine cannot compile, most often for want of a C++ compiler.
    """
    places = [place(model, hook)[0] for hook in hooks]
    with ExitStack() as stack:
        for block in blocks_of(model):
            for part in _parts(block, places):
                # Shapes are taken as they come; guessing at them would compile a second time.
                stack.enter_context(forwarding(part, torch.compile(part.forward, dynamic=False)))
        # Blocks are one code with other weights: each may count as a compilation of it.
        stack.enter_context(torch._dynamo.config.patch(recompile_limit=len(blocks_of(model)) + 8))
        try:
            yield
        except torch._dynamo.exc.TorchDynamoException as error:
            first = str(error).strip().splitlines()[0]
            raise ConfigError(
                f"compile: got true, but torch.compile failed here: {first}; it needs a C++ "
                "compiler (Debian: apt install g++), or give compile=false"
            ) from error


def _parts(module: nn.Module, places: Sequence[nn.Module]) -> Iterator[nn.Module]:
    """The largest modules of one that no place lies inside of; a place itself may be one."""
    inside = {id(one) for one in module.modules() if one is not module}
    if not any(id(one) in inside for one in places):
        yield module
        return
    for child in module.children():
        yield from _parts(child, places)
