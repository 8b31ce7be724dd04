"""Settings, registries and run folders: the mechanisms that everything hangs on."""

from custodes.config.atomic import write_atomically
from custodes.config.digests import digest
from custodes.config.manual import manual
from custodes.config.named_files import named_files
from custodes.config.places import cache_folder
from custodes.config.registry import Registry
from custodes.config.run import Run, environment, finite
from custodes.config.settings import Config, load, override, save

__all__ = [
    "Config",
    "Registry",
    "Run",
    "cache_folder",
    "digest",
    "environment",
    "finite",
    "load",
    "manual",
    "named_files",
    "override",
    "save",
    "write_atomically",
]
