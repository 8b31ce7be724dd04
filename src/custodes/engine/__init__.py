"""Run a function over many rows, here or on a cluster.

Knows workers and batches; knows nothing of what the function does.
"""

from custodes.config import Registry
from custodes.engine.base import BatchFunction, Engine
from custodes.engine.resume import identify, resumable_map

__all__ = ["ENGINES", "BatchFunction", "Engine", "identify", "resumable_map"]

ENGINES = Registry(
    "engines",
    {
        "local": "custodes.engine.local:LocalEngine",
        "ray": "custodes.engine.ray:RayEngine",
    },
    extras={"ray": "ray"},
)
"""name -> class; every class takes its own `Config` (attribute `Config`) as its only argument."""
