"""The command `custodes`, also as `python -m custodes`.

Loading the command line takes a moment: Ctrl-C ends it then as quietly as later.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Load the command line and run it."""
    try:
        from custodes.cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("custodes: interrupted\n")
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
