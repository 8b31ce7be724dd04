"""What the guard catches and refuses of texts under transforms of the synthesis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from quality import of_guard

from custodes.measure import Figure


def figures(options: Any, **common: Any) -> Iterator[Figure]:
    """At the threshold of quality.py."""
    yield from of_guard(options, common).transforms()
