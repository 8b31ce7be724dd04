"""How a forward pass is handed its key-value cache, in whichever transformers is installed."""

from __future__ import annotations

import inspect
from typing import Any

__all__ = ["key_values"]


def key_values(model: Any, cache: Any) -> dict[str, Any]:
    """Keyword arguments that let `model` read and extend `cache`.

    transformers 5.24 calls the argument `cache`; the releases before it, and models that bring
    their own code, `past_key_values`.
    """
    named = "cache" in inspect.signature(model.forward).parameters
    return {"cache" if named else "past_key_values": cache, "use_cache": True}
