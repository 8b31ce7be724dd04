"""Run a stranger's Python function on given inputs, in a process of its own with hard limits.

The child has no network (namespaces where the kernel allows them; where it does not, an audit
hook alone refuses sockets, and the result says so), limited processor time, wall time, memory,
file size and open files, an empty environment and an empty folder to stand in. It is told inputs
only: what is expected stays here, so that a program can be wrong but cannot claim to be right.
An audit hook also refuses new processes and files opened for writing.

What it is not: a jail for a determined attacker. Files of this machine can be read, and an audit
hook stops Python code, not machine code. For programs of a strong model use a virtual machine.
"""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from custodes.config import Config
from custodes.errors import EngineError

__all__ = ["FAILED", "Execution", "Failed", "SandboxConfig", "run"]

_CHILD = Path(__file__).with_name("sandbox_child.py")
_STARTUP_SECONDS = 20.0  # a busy machine needs seconds to start Python
_OUTPUT_LIMIT = 2_000_000  # bytes that are read of what a child says


class SandboxConfig(Config):
    """The limits of one program's process."""

    cpu_seconds: float = Field(default=1.0, ge=1)
    """Processor time for all calls together, in whole seconds."""
    wall_seconds: float = Field(default=20.0, gt=0)
    """Time on the clock, besides starting up; generous, since machines are busy."""
    memory_mb: int = Field(default=512, ge=64)
    """Address space."""
    file_kb: int = Field(default=64, ge=0)
    """The largest file it could write, had it leave to."""


class Failed:
    """The one value that no literal equals: the call raised, hung, or gave none."""

    def __repr__(self) -> str:
        return "FAILED"


FAILED = Failed()
"""What stands for a call without a result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What calls gave: a Python literal each, or `FAILED`.

    `ended`: finished, or why not (time, memory, crash, refused to load). `isolated`: whether the
    kernel kept it from the network.
    """

    values: tuple[Any, ...]
    ended: str
    isolated: bool


def run(
    program: str, function: str, inputs: Sequence[Sequence[Any]], config: SandboxConfig
) -> Execution:
    """Call `function` of `program` with each of the inputs (tuples of literals), in order.

    Calls share the process and its limits; after one that hangs the rest is `FAILED`. A result is
    kept where its `repr` is a Python literal, which ints, floats, strings, lists, tuples, sets,
    dictionaries, booleans and None are.
    """
    task = {
        "program": program,
        "function": function,
        "inputs": [repr(tuple(one)) for one in inputs],
        "cpu": config.cpu_seconds,
        "memory": config.memory_mb * 2**20,
        "file": config.file_kb * 1024,
    }
    with tempfile.TemporaryDirectory(prefix="custodes-sandbox-") as folder:
        said, timed_out, status = _child(task, folder, config.wall_seconds)
    lines = [line for line in said.split("\n") if line]
    if not lines or not lines[0].startswith("ready"):
        if timed_out:
            return _nothing(len(inputs), "time", False)
        raise EngineError(
            f"the sandbox did not start (status {status}): got {said[:200]!r}, expected it to say "
            "ready; look at the memory limit (memory_mb) and at the machine"
        )
    isolated = lines[0] == "ready isolated"
    values = [FAILED] * len(inputs)
    ended = "time" if timed_out else _cause(status)
    for line in lines[1:]:
        kind, _, rest = line.partition(" ")
        if kind == "value":
            number, _, text = rest.partition(" ")
            values[int(number)] = _literal(json.loads(text))
        elif kind == "end":
            ended = rest
    return Execution(values=tuple(values), ended=ended, isolated=isolated)


def _nothing(count: int, ended: str, isolated: bool) -> Execution:
    return Execution(values=(FAILED,) * count, ended=ended, isolated=isolated)


def _child(task: dict[str, Any], folder: str, seconds: float) -> tuple[str, bool, int]:
    """What the child said, whether it was stopped for time, and its exit status."""
    # -I: no user site, no environment; -S: no site packages; -B: no bytecode files.
    command = [sys.executable, "-I", "-S", "-B", str(_CHILD)]
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": folder},
        start_new_session=True,
        close_fds=True,
    )
    timed_out = False
    try:
        said, _ = child.communicate(json.dumps(task).encode(), timeout=seconds + _STARTUP_SECONDS)
    except subprocess.TimeoutExpired:
        timed_out = True
        _kill(child)
        said, _ = child.communicate()
    finally:
        _kill(child)
    return said[:_OUTPUT_LIMIT].decode("utf-8", "replace"), timed_out, child.returncode


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End the child and all that it started; its session is its own."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        child.kill()


def _cause(status: int) -> str:
    if status in (-signal.SIGXCPU, -signal.SIGALRM):
        return "time"
    if status == -signal.SIGKILL:
        return "memory or time"
    return "crash"


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return FAILED
