"""Any causal language model that the transformers library can read: a local folder or a hub id.

Only safetensors are read and no code of the model's folder is run.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from custodes.errors import ConfigError
from custodes.models.causal import CausalConfig, CausalModel
from custodes.models.devices import open_device

__all__ = ["TransformersModel", "load_pretrained", "quietly"]

_loading = threading.Lock()


@contextmanager
def quietly() -> Iterator[None]:
    """Without transformers' own progress bars: a second's load needs none."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def load_pretrained(
    name: str, config: CausalConfig, *, revision: str | None = None
) -> tuple[Any, Any]:
    """Model and tokenizer from a folder or a hub id; `ConfigError` where they cannot be had."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    device = open_device(config.device)
    options = {"revision": revision} if revision else {}
    dtype = torch.float32 if config.dtype == "int8" else getattr(torch, config.dtype)
    try:
        with _loading, quietly():
            tokenizer = AutoTokenizer.from_pretrained(name, **options)
            model = AutoModelForCausalLM.from_pretrained(
                name, dtype=dtype, use_safetensors=True, **options
            )
            return model.to(device), tokenizer
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"model {name!r} cannot be loaded; expected a folder with config.json, *.safetensors "
            f"and tokenizer.json, or a hub id that is cached or can be reached: {error}"
        ) from error


class TransformersModel(CausalModel):
    """A causal language model from a local folder or a hub."""

    class Config(CausalConfig):
        """Which model, and how it computes."""

        model: str
        """A folder, or a hub id such as `owner/name`."""
        revision: str | None = None
        """A hub revision: a branch, a tag or, best, a commit."""

    def __init__(self, config: Config) -> None:
        local = Path(config.model).expanduser()
        if not local.is_dir() and (local.is_absolute() or config.model.startswith((".", "~"))):
            raise ConfigError(
                f"model: got {config.model!r}, expected a folder that is there, or a hub id"
            )
        name = str(local) if local.is_dir() else config.model
        model, tokenizer = load_pretrained(name, config, revision=config.revision)
        super().__init__(model, tokenizer, config, name=config.model)
