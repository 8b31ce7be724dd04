"""How the command line starts, and how it does not."""

import subprocess
import sys

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
