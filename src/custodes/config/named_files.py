"""Files that settings name: what comes of settings depends on what those hold, too."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from custodes.config.digests import digest

__all__ = ["named_files"]

_OF_A_MODEL = ("config.json", "adapter_config.json")
_NO_PATHS = ("kind", "guard")  # names of plug-ins; a guard is known by its manifest's hash


def named_files(settings: object) -> dict[str, str]:
    """Path -> digest of every file and every model's folder that plain settings name, however deep.

    Another folder is not read: a setting may be any text, and "/" is one.
    """
    if isinstance(settings, Mapping):
        inside = [one for name, one in settings.items() if name not in _NO_PATHS]
    elif isinstance(settings, list | tuple):
        inside = list(settings)
    else:
        return _named(settings)
    return {path: found for one in inside for path, found in named_files(one).items()}


def _named(value: Any) -> dict[str, str]:
    if not isinstance(value, str | Path) or not str(value):
        return {}
    try:
        changed = _changed(Path(value))
    except (OSError, ValueError):  # too long for a name, or no path at all
        return {}
    return {str(value): _digest(str(value), changed)} if changed else {}


def _changed(path: Path) -> tuple[int, ...]:
    """When the file, or what a model's folder holds, was last written; () where it is neither."""
    if path.is_file():
        return (path.stat().st_mtime_ns,)
    if not any((path / name).is_file() for name in _OF_A_MODEL):
        return ()
    return tuple(one.stat().st_mtime_ns for one in sorted(path.rglob("*")) if one.is_file())


@lru_cache(maxsize=64)
def _digest(path: str, changed: tuple[int, ...]) -> str:
    """Weights take a while to read: once a process, as long as nothing is written."""
    return digest(Path(path))
