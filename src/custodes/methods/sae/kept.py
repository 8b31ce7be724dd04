"""What a long computation has finished so far, in one JSON file that is replaced whole."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from custodes.config import write_atomically
from custodes.errors import ArtifactError, ConfigError

__all__ = ["Kept"]


class Kept:
    """Finished parts, in order; `key` tells the computation from any other."""

    def __init__(self, path: Path, key: str) -> None:
        self._path, self._key = path, key

    def load(self) -> list[dict[str, Any]]:
        """The parts; none without a file. `ConfigError` where it is of another computation."""
        if not self._path.exists():
            return []
        try:
            held = json.loads(self._path.read_text(encoding="utf-8"))
            key, parts = held["key"], list(held["parts"])
        except (ValueError, TypeError, KeyError) as error:
            raise ArtifactError(
                f"{self._path}: not what a killed run leaves: {error!r}; remove it"
            ) from error
        if key != self._key:
            raise ConfigError(
                f"{self._path}: left by a run of other settings, autoencoder or store; give the "
                "same ones, remove it, or take another folder"
            )
        return parts

    def save(self, parts: Sequence[Mapping[str, Any]]) -> None:
        """Put all parts that are finished in place of what is there."""
        held = {"key": self._key, "parts": list(parts)}
        write_atomically(self._path, json.dumps(held, ensure_ascii=False))
