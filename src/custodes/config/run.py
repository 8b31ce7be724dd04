"""A run folder: the truth of a run, enough to repeat it.

config.yaml metrics.jsonl environment.json report.html report.json artifacts/
"""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from custodes.config.atomic import write_atomically
from custodes.config.settings import Config, save
from custodes.errors import ConfigError

__all__ = ["Run", "environment", "finite"]

_PACKAGES = ("custodes", "numpy", "scipy", "scikit-learn", "torch", "transformers", "pyarrow")


def _commit() -> str | None:
    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def environment() -> dict[str, Any]:
    """Versions, git commit and machine, as plain JSON values."""
    versions: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "commit": _commit(),
        "command": " ".join(sys.argv),
        "versions": versions,
    }


def finite(value: Any) -> Any:
    """JSON values with null for NaN and infinities, which are no JSON."""
    if isinstance(value, Mapping):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Run:
    """A run folder, made on entry; metrics are appended line by line.

    A run that is made anew, or goes on, says all its metrics again, so its first line takes the
    place of those that are there; `keep_metrics` for one that says only what is new.
    """

    def __init__(
        self, folder: Path, config: Config, *, seed: int, keep_metrics: bool = False
    ) -> None:
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"{folder}: is a file; a run needs a folder")
        self.folder = folder
        self.artifacts = folder / "artifacts"
        self.artifacts.mkdir(parents=True, exist_ok=True)
        self._mode = "a" if keep_metrics else "w"  # a run that is refused costs no metrics
        save(config, folder / "config.yaml")
        write_atomically(
            folder / "environment.json",
            json.dumps({**environment(), "seed": seed}, indent=2) + "\n",
        )

    def log(self, **metrics: Any) -> None:
        """Append one line to `metrics.jsonl`; a figure that is NaN or infinite is null there."""
        line = json.dumps(finite(metrics), ensure_ascii=False, allow_nan=False)
        with (self.folder / "metrics.jsonl").open(self._mode, encoding="utf-8") as file:
            file.write(line + "\n")
        self._mode = "a"

    def report(self, values: Mapping[str, Any], html: str) -> Path:
        """Write `report.json` and `report.html`; returns the path of the page."""
        write_atomically(self.folder / "report.json", json.dumps(dict(values), indent=2) + "\n")
        page = self.folder / "report.html"
        write_atomically(page, html)
        return page
