"""A conversation as a model reads it, by its chat template; a template may refuse one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from custodes.errors import ConfigError, ModelRequestError

__all__ = ["rendered"]


def rendered(
    tokenizer: Any, template: str, messages: Sequence[Mapping[str, str]], *, reply: bool
) -> str:
    """The text of the turns, up to where the model is to `reply`.

    `ModelRequestError` where the template takes no such conversation (`raise_exception`: roles that
    do not alternate, a system turn), `ConfigError` where it is no template.
    """
    from jinja2 import TemplateError, TemplateSyntaxError

    try:
        text: str = tokenizer.apply_chat_template(
            list(messages), chat_template=template, add_generation_prompt=reply, tokenize=False
        )
    except TemplateSyntaxError as error:
        raise ConfigError(f"chat_template: {error}") from error
    except TemplateError as error:
        roles = ", ".join(turn["role"] for turn in messages)
        raise ModelRequestError(
            f"the model's chat template does not take this conversation: {error}; got turns of "
            f"{roles}: send others, or set another chat_template"
        ) from error
    return text
