"""What a benchmark has run, kept in JSON files with the settings that it was run with.

A killed benchmark goes on from them; what was run with other settings is refused, never shown.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from custodes.config import write_atomically

__all__ = ["full", "once"]


def full(options: argparse.Namespace) -> bool:
    return options.size == "full"


def once(
    path: Path, make: Callable[[], dict[str, Any]], settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What `make` gives, or gave before with the same settings (plain JSON)."""
    wanted = json.loads(json.dumps(settings or {}))
    if not path.exists():
        found = make()
        write_atomically(path, json.dumps({"settings": wanted, "found": found}))
        print(f"  {path.stem}: {found}", flush=True)
    held = json.loads(path.read_text(encoding="utf-8"))
    if set(held) != {"settings", "found"}:
        raise SystemExit(f"{path}: kept without its settings; remove it, or take another --work")
    there = held["settings"]
    for name in sorted({*there, *wanted}):
        if there.get(name) != wanted.get(name):
            raise SystemExit(
                f"{path}: kept with {name} = {there.get(name)!r}, got {wanted.get(name)!r}; give "
                "the same, remove it, or take another --work"
            )
    return held["found"]
