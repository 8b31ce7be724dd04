"""Virtual environments for packages that must not be beside ours, made once in the user's cache."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from custodes.config import cache_folder


def environment(*requirements: str) -> str:
    """A Python that has these; skips where there is none and none is to be made."""
    name = hashlib.sha256(" ".join([sys.version, *sorted(requirements)]).encode()).hexdigest()[:16]
    folder = cache_folder() / "environments" / name
    python = folder / "bin" / "python"
    done = folder / "complete"
    if done.exists():
        return str(python)
    if not os.environ.get("CUSTODES_TEST_ENVIRONMENTS"):
        pytest.skip(f"no environment with {requirements[0]}: `make test-slow` makes one")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not done.exists():
            make(folder, python, requirements)
            done.touch()
    return str(python)


def make(folder: Path, python: Path, requirements: tuple[str, ...]) -> None:
    """By pip, with the user's own settings; skips where packages cannot be had."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", *requirements]
    found = subprocess.run(install, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        pytest.skip(f"pip cannot install {requirements[0]}: {found.stderr.strip()[-300:]}")
