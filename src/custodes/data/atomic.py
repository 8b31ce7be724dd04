"""Write a file as a stream, wholly or not at all."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from custodes.config.atomic import neighbor, put_in_place
from custodes.errors import DataError

__all__ = ["replacing"]

_OF_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
"""What a write may fail of; any other `OSError` of the block is of where its rows come from."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary neighbor to write to; it takes the place of `path` if the block succeeds.

    It is flushed to disk before the rename, so that a crash leaves the old file or the new one.
    `DataError` where the disk refuses; what else the block raises is passed on as it is.
    """
    with ExitStack() as stack:
        try:
            temporary = stack.enter_context(neighbor(path))
        except OSError as error:
            raise _refused(path, error) from error
        try:
            yield temporary
        except OSError as error:
            if error.errno in _OF_DISK:
                raise _refused(path, error) from error
            raise
        try:
            put_in_place(temporary, path)
        except OSError as error:
            raise _refused(path, error) from error


def _refused(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: cannot be written: {error}")
