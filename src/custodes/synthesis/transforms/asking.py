"""How a transform asks a model: one prompt a text, the answer taken as the new text.

The words are in `synthesis/prompts/`; an empty answer leaves the text as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NoReturn

from custodes.errors import ConfigError
from custodes.models import GenerateModel, Sampling
from custodes.synthesis.prompting import render
from custodes.synthesis.transforms.base import Apply
from custodes.types import Message

__all__ = ["asking", "unbound"]


def asking(
    template: str, values: Callable[[Random], dict[str, str]]
) -> Callable[[GenerateModel], Apply]:
    """A `bind`: the template is rendered with the text and with what `values` draws."""

    def bind(model: GenerateModel) -> Apply:
        def apply(text: str, rng: Random) -> str:
            prompt = render(template, text=text, **values(rng))
            limit = 64 + len(text) // 2
            sampling = Sampling(max_tokens=limit, temperature=0.7, seed=rng.getrandbits(31))
            (reply,) = model.generate([(Message("user", prompt),)], sampling)
            return reply.text.strip() or text

        return apply

    return bind


def unbound(name: str) -> Apply:
    """The `apply` of a transform that was not given its model: it raises `ConfigError`."""

    def apply(text: str, rng: Random) -> NoReturn:
        raise ConfigError(
            f"transform {name!r}: needs a model; set `model` in the synthesis settings, "
            "or leave the transform out"
        )

    return apply
