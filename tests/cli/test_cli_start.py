"""How the command line starts, and how it does not."""

import subprocess
import sys

import pytest
from command_doubles import custodes

from custodes.cli import app

INTERRUPTED_WHILE_LOADING = """
import sys
from custodes.__main__ import main

class Impatient:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Impatient())
main()
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def test_ctrl_c_while_it_loads_is_quiet():
    done = run("-c", INTERRUPTED_WHILE_LOADING)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "custodes: interrupted\n")


def test_python_m_is_the_command():
    done = run("-m", "custodes", "--version")
    assert done.returncode == 0
    assert done.stdout.startswith("custodes ")


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (KeyboardInterrupt(), 130, "custodes: interrupted\n"),
        (EOFError("the file ends early"), 1, "internal error: EOFError: the file ends early"),
    ],
)
def test_what_typer_has_words_for_is_told_in_ours(error, status, told, monkeypatch):
    def fails():
        raise error

    fails.__name__ = "settings"
    (command,) = [each for each in app.registered_commands if each.callback.__name__ == "settings"]
    monkeypatch.setattr(command, "callback", fails)
    done = custodes("settings")
    assert (done.status, done.out) == (status, "")
    assert told in done.err


def test_a_reader_that_has_enough_is_no_failure():
    listing = f"{sys.executable} -m custodes settings method mona study | head -1"
    whole = f"set -o pipefail; {listing}"
    done = subprocess.run(
        ["bash", "-c", whole], check=False, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
