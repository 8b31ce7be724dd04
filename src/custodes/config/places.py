"""Where custodes keeps what can be had again: converted weights, downloaded sets, features."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder(environ: Mapping[str, str] | None = None) -> Path:
    """`CUSTODES_CACHE_DIR`, else `XDG_CACHE_HOME`/custodes, else ~/.cache/custodes."""
    environ = os.environ if environ is None else environ
    if own := environ.get("CUSTODES_CACHE_DIR"):
        return Path(own).expanduser()
    if xdg := environ.get("XDG_CACHE_HOME"):
        return Path(xdg) / "custodes"
    return Path.home() / ".cache" / "custodes"
