"""The command in this process, for tests of what it says and with which status it ends."""

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import dataclass

import pytest

from custodes.cli import _run as run_command


@dataclass
class Done:
    status: int
    out: str
    err: str


def custodes(*arguments: object) -> Done:
    """The command in this process, to the exit status."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["custodes", *map(str, arguments)])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = run_command()
    return Done(status, out.getvalue(), err.getvalue())


def refused(words: str, *arguments: object) -> None:
    done = custodes(*arguments)
    assert done.status == 2, done
    assert words in " ".join(done.err.split()), done.err
    assert "Traceback" not in done.err
    assert done.out == ""
