"""Run a function over many rows, here or on a cluster.

Knows workers and batches; knows nothing of what the function does.
"""

from collections.abc import Mapping
from typing import Any

from custodes.config import Registry
from custodes.engine.base import BatchFunction, Engine
from custodes.engine.resume import identify, kept_map, resumable_map

__all__ = [
    "ENGINES",
    "BatchFunction",
    "Engine",
    "identify",
    "kept_map",
    "open_engine",
    "resumable_map",
]

ENGINES = Registry(
    "engines",
    {
        "local": "custodes.engine.local:LocalEngine",
        "ray": "custodes.engine.ray:RayEngine",
    },
    extras={"ray": "ray"},
)
"""name -> class; every class takes its own `Config` (attribute `Config`) as its only argument."""


def open_engine(
    name: str, settings: Mapping[str, Any] | None = None, *, origin: str = "", **defaults: Any
) -> Engine:
    """The engine of that name; `defaults` hold where its settings are silent and it has such a
    setting (`batch_size=1`: rows that take minutes each). `origin`: where settings stood."""
    kind: Any = ENGINES.load(name)
    known = {key: value for key, value in defaults.items() if key in kind.Config.model_fields}
    values = {**known, **(settings or {})}
    made: Engine = kind(kind.Config.parse(values, origin=origin or f"engine {name}"))
    return made
