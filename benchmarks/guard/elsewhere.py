"""A process in a Python environment of its own, asked over a pipe: a line a question, a line back.

What is installed there cannot disturb what is here.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from custodes.config import cache_folder

_ALL_THERE = "custodes_main.pth"
"""Gives the environment what is installed here, where that is wanted; written last, so it tells
that all is there."""


def environment(name: str, packages: Sequence[str], *, ours_too: bool = False) -> Path | None:
    """The Python of the environment, below custodes' cache, made first where it is missing; None,
    and a line that says why, where the packages cannot be had. `ours_too`: torch, custodes and what
    else is installed here can be imported there."""
    home = cache_folder() / "benchmarks" / name
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    link = home / "lib" / version / "site-packages" / _ALL_THERE
    python = home / "bin" / "python"
    if link.is_file():
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", *packages]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"  skipped: {name} cannot be installed: {done.stderr.strip()[-300:]}")
        shutil.rmtree(home, ignore_errors=True)
        return None
    own = sysconfig.get_path("purelib")
    link.write_text(f"import site; site.addsitedir({own!r})\n" if ours_too else "")
    return python


class Asked:
    """The process; what it says besides its answers goes to the file `log`."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._log = log
        with log.open("w") as said:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )

    def __call__(self, line: str) -> str:
        """Its answer to one line."""
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("a process without pipes")
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            status = self._process.wait()
            raise RuntimeError(f"{self._log}: status {status}: {self._log.read_text()[-500:]}")
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
