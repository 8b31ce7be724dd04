"""Engines by the names that commands take."""

from __future__ import annotations

from collections.abc import Iterable

from custodes.config import override
from custodes.engine import ENGINES, Engine, open_engine
from custodes.errors import ConfigError

__all__ = ["make_engine"]

_KINDS = ("serial", "thread", "process")


def make_engine(name: str, assignments: Iterable[str] = ()) -> Engine:
    """serial, thread and process are kinds of the local engine; else a name of `ENGINES`."""
    if name not in (*_KINDS, *ENGINES.names()) and ":" not in name:
        others = [each for each in ENGINES.names() if each != "local"]
        raise ConfigError(
            f"--engine: got {name!r}, expected one of {', '.join((*_KINDS, *others))}, "
            "or a dotted path package.module:attribute"
        )
    values = override({"kind": name} if name in _KINDS else {}, assignments)
    return open_engine("local" if name in _KINDS else name, values, origin=f"--engine {name}")
