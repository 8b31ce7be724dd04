"""What a file or a folder holds, in one number."""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["digest"]


def digest(path: Path) -> str:
    """SHA-256 (hex) of a file; of a folder, that of its listing as `sha256sum` prints it.

    The listing has a line "hash, two blanks, relative path" a file, sorted by path.
    """
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        listing = "".join(f"{digest(p)}  {p.relative_to(path).as_posix()}\n" for p in files)
        return hashlib.sha256(listing.encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
