"""Write a file wholly or not at all: a temporary neighbor that takes the file's place."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["neighbor", "put_in_place", "write_atomically"]


@contextmanager
def neighbor(path: Path) -> Iterator[Path]:
    """An empty file beside `path`, of a name that no other writer has; gone when the block ends.

    The folder is made where it is missing. The name begins with a dot and ends in `.part`, by
    which those who own a folder find what a killed process left there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # threads share a process id, and machines that share a folder may have equal ones
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(6)}.part")
    temporary.open("xb").close()
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def put_in_place(temporary: Path, path: Path) -> None:
    """Flush to disk, then rename, so that a crash leaves the old file or the new one."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a whole file or nothing; of threads and processes that write one path the last wins."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    with neighbor(path) as temporary:
        temporary.write_bytes(data)
        put_in_place(temporary, path)
