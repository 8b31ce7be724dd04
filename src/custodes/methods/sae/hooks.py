"""Read and replace activations at any place of a language model.

A place is named `residual.K` (the output of block K, counted from 1; `residual.0` is the input of
the first block) or by a module's own path: `model.layers.6.mlp` is what that module puts out,
`model.layers.6.mlp:input` what it is given. A reading stops once the deepest place was passed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from custodes.errors import ConfigError
from custodes.models.residual import blocks_of

__all__ = ["Beginning", "beginning", "forwarding", "place", "read_hooks", "replaced", "resumed"]

_RESIDUAL = re.compile(r"residual\.(\d+)")

Change = Callable[[Tensor], Tensor | None]
"""Sees an activation [batch, T, d]; what it returns takes its place, None leaves it."""


class _AllReadError(Exception):
    """Leaves a forward pass of which everything wanted is read; never seen outside."""


def place(model: Any, hook: str) -> tuple[nn.Module, bool]:
    """The module that a hook names, and whether its input is meant."""
    residual = _RESIDUAL.fullmatch(hook)
    if residual:
        layers = blocks_of(model)
        layer = int(residual[1])
        if layer > len(layers):
            raise ConfigError(f"hook: got {hook!r}, expected residual.0 to residual.{len(layers)}")
        return layers[max(layer - 1, 0)], layer == 0
    name, _, side = hook.partition(":")
    named = dict(model.named_modules())
    if name not in named or not name or side not in ("", "input"):
        near = [one for one in named if one.endswith("." + name.rsplit(".", 1)[-1])][:3]
        raise ConfigError(
            f"hook: got {hook!r}, expected residual.K, or a module's path with or without :input"
            + (f", such as {', '.join(near)}" if near else "")
        )
    return named[name], side == "input"


@contextmanager
def _watching(model: Any, hook: str, change: Change) -> Iterator[None]:
    module, of_input = place(model, hook)

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not args and "hidden_states" not in kwargs:
            raise ConfigError(f"hook: {hook!r} is given no tensor by position; name another module")
        given = args[0] if args else kwargs["hidden_states"]
        if not isinstance(given, Tensor) or given.ndim != 3:
            raise ConfigError(f"hook: {hook!r} is not given a tensor [batch, T, d]")
        new = change(given)
        if new is None:
            return None
        return ((new, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": new})

    def after(_: nn.Module, __: Any, output: Any) -> Any:
        found = output[0] if isinstance(output, tuple) else output
        if not isinstance(found, Tensor) or found.ndim != 3:
            raise ConfigError(f"hook: {hook!r} does not put out a tensor [batch, T, d]")
        new = change(found)
        if new is None:
            return None
        return (new, *output[1:]) if isinstance(output, tuple) else new

    if of_input:
        handle = module.register_forward_pre_hook(before, with_kwargs=True)
    else:
        handle = module.register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def replaced(model: Any, hook: str, change: Change) -> Iterator[None]:
    """Within the block, `change` sees every activation at the place and may replace it."""
    with _watching(model, hook, change):
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What the first `blocks` of a model made of some inputs: `states` [batch, T, d].

    0 blocks: there is nothing to go on from.
    """

    blocks: int
    states: Tensor
    tuples: bool
    """Whether this model's blocks put out tuples."""


def beginning(model: Any, hook: str, **inputs: Any) -> Beginning:
    """Run the model on `inputs` up to the block that the hook is in."""
    layers = blocks_of(model)
    module, _ = place(model, hook)
    inside = [
        at for at, layer in enumerate(layers) if any(one is module for one in layer.modules())
    ]
    if not inside or not inside[0]:
        return Beginning(blocks=0, states=torch.empty(0), tuples=False)
    blocks = inside[0]
    tuples = []

    def note(_: nn.Module, __: Any, output: Any) -> None:
        tuples.append(isinstance(output, tuple))

    handle = layers[0].register_forward_hook(note)
    try:
        states = read_hooks(model, [f"residual.{blocks}"], **inputs)[f"residual.{blocks}"]
    finally:
        handle.remove()
    return Beginning(blocks=blocks, states=states, tuples=any(tuples))


@contextmanager
def forwarding(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Within the block, this is what the module does; one put there by somebody else comes back."""
    before = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if before is None:
            del module.forward
        else:
            module.forward = before


@contextmanager
def resumed(model: Any, begun: Beginning, copies: int = 1) -> Iterator[None]:
    """Within the block, the model goes on from there, without its first blocks.

    Its inputs must be those that it was begun with, `copies` times one after another; no cache.
    """
    if not begun.blocks:
        yield
        return
    first = blocks_of(model)[: begun.blocks]

    def passing(hidden_states: Tensor, *_: Any, **__: Any) -> Any:
        return (hidden_states,) if begun.tuples else hidden_states

    states = begun.states.repeat(copies, 1, 1)
    with replaced(model, f"residual.{begun.blocks}", lambda _: states), ExitStack() as stack:
        for layer in first:
            stack.enter_context(forwarding(layer, passing))
        yield


def read_hooks(model: Any, hooks: Sequence[str], **inputs: Any) -> dict[str, Tensor]:
    """Run the model on `inputs` as far as needed; place -> activations [batch, T, d]."""
    found: dict[str, Tensor] = {}
    wanted = set(hooks)

    def keep(hook: str) -> Change:
        def change(values: Tensor) -> None:
            found[hook] = values
            if len(found) == len(wanted):
                raise _AllReadError

        return change

    body = getattr(model, model.base_model_prefix, model)
    with ExitStack() as stack, torch.inference_mode():
        for hook in wanted:
            stack.enter_context(_watching(model, hook, keep(hook)))
        try:
            body(**inputs)
        except _AllReadError:
            return found
    missing = ", ".join(sorted(wanted - set(found)))
    if missing:
        raise ConfigError(f"hooks: {missing}: not passed in a forward pass; name other modules")
    return found
