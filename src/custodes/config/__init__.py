"""Settings, registries and run folders: the mechanisms that everything hangs on."""

from custodes.config.registry import Registry
from custodes.config.run import Run, environment, write_atomically
from custodes.config.settings import Config, load, override, save

__all__ = [
    "Config",
    "Registry",
    "Run",
    "environment",
    "load",
    "override",
    "save",
    "write_atomically",
]
