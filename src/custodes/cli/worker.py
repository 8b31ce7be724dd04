"""One process of a gateway that has several: `python -m custodes.cli.worker`.

Started by `custodes serve --workers N` alone, which leaves settings and socket in the environment.
"""

from __future__ import annotations

from custodes.cli.serve import serve

__all__ = ["main"]


def main() -> None:
    """Serve what the parent process resolved."""
    serve()


if __name__ == "__main__":
    main()
