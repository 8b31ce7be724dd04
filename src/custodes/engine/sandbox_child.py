"""The inside of the sandbox: a script run alone, with the standard library only.

Reads its task from the standard input, shuts itself in, then loads the program and calls it. Each
result goes out as a line at once, so that what came before a kill is kept.
"""

import ast
import ctypes
import json
import os
import resource
import signal
import sys
import types
from typing import Any

_NEW_USER, _NEW_NET, _NEW_IPC = 0x10000000, 0x40000000, 0x08000000
_REFUSED = (
    "socket.",
    "subprocess.",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "os.kill",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.mkdir",
    "os.chmod",
    "os.chown",
    "os.link",
    "os.symlink",
    "os.truncate",
    "shutil.",
    "ctypes.",
    "pty.",
    "signal.pthread_kill",
    "ftplib.",
    "smtplib.",
    "urllib.",
)
_LONGEST = 200_000  # characters of one result


def _isolate() -> bool:
    """Leave the machine's network for an empty one; whether the kernel let us."""
    try:
        return bool(ctypes.CDLL(None).unshare(_NEW_USER | _NEW_NET | _NEW_IPC) == 0)
    except (OSError, AttributeError):
        return False


def _limit(task: dict[str, Any]) -> None:
    for kind, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, task["file"]),
        (resource.RLIMIT_NOFILE, 16),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_AS, task["memory"]),
    ):
        resource.setrlimit(kind, (value, value))
    # The soft limit ends the process by SIGXCPU; the hard one, a second later, cannot be caught.
    seconds = max(1, round(task["cpu"]))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: once set, Python code cannot take it away."""
    if event == "open":
        mode, flags = arguments[1], arguments[2] or 0
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        if writes or (mode and set(str(mode)) & set("wax+")):
            raise PermissionError("the sandbox writes no files")
    elif event.startswith(_REFUSED):
        raise PermissionError(f"the sandbox does not allow {event}")


def _main() -> None:
    task = json.loads(sys.stdin.buffer.read())
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    isolated = _isolate()
    _limit(task)
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)

    def say(text: str) -> None:
        out.write(text + "\n")
        out.flush()

    say("ready isolated" if isolated else "ready")
    sys.addaudithook(_watch)
    module = types.ModuleType("program")
    sys.modules["program"] = module
    try:
        exec(compile(task["program"], "program", "exec"), module.__dict__)  # noqa: S102
        function = getattr(module, task["function"])
    except BaseException as error:  # noqa: BLE001 - whatever a stranger's program raises
        say(f"end refused to load: {type(error).__name__}")
        return
    for number, text in enumerate(task["inputs"]):
        try:
            result = repr(function(*ast.literal_eval(text)))
        except BaseException:  # noqa: BLE001 - no result is the result
            result = None
        if result is not None and len(result) <= _LONGEST:
            say(f"value {number} {json.dumps(result)}")
    say("end finished")


if __name__ == "__main__":
    _main()
    os._exit(0)
