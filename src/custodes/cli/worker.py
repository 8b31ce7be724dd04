"""One process of a gateway that has several: `python -m custodes.cli.worker`.

Started by `custodes serve --workers N` alone, which leaves settings and socket in the environment.
"""

from __future__ import annotations

import sys

from custodes import cli

__all__ = ["main"]


def main() -> None:
    """Serve what the parent process resolved; errors end as they do on the command line."""
    sys.argv[1:] = ["serve"]
    cli.main()


if __name__ == "__main__":
    main()
