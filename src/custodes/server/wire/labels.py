"""What in a field needs no judging: ids, kinds and settings, as long as they are no more than that.

A format says which fields hold such labels; who speaks it may put anything there. So what stands in
one is text like any other unless it looks like a label. Knows JSON values; knows no format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

__all__ = ["texts", "unlabelled"]

_LABEL = re.compile(r"[A-Za-z0-9_.:/+=-]{0,64}")
_SEALED = re.compile(r"[A-Za-z0-9+/_=-]*")
_WORD = re.compile(r"[A-Z][a-z]{2,}|(?<![A-Za-z0-9])[A-Za-z]{2,}(?![A-Za-z0-9])")
_WORDS = 4
"""Words, set apart or by capitals, that a label has at most: more of them may be a sentence."""


def _is_label(value: str) -> bool:
    return _LABEL.fullmatch(value) is not None and len(_WORD.findall(value)) <= _WORDS


def texts(
    value: Any,
    *,
    labels: frozenset[str] = frozenset(),
    sealed: frozenset[str] = frozenset(),
    known: frozenset[str] = frozenset(),
) -> Iterator[str]:
    """Every text inside a JSON value, in order, names of fields among them.

    Left out are labels in the fields named in `labels`, what is in no language in those named in
    `sealed` (signatures, encrypted content), and the names that are `known`, as are those two.
    """
    spoken = known | labels | sealed
    stack: list[tuple[Any, re.Pattern[str] | None]] = [(value, None)]
    while stack:
        item, kind = stack.pop()
        if isinstance(item, str):
            passed = _is_label(item) if kind is _LABEL else kind and kind.fullmatch(item)
            if item and not passed:
                yield item
        elif isinstance(item, dict):
            for name, each in reversed(item.items()):
                inside = _LABEL if name in labels else _SEALED if name in sealed else kind
                stack.append((each, inside))
                if name not in spoken:
                    stack.append((name, kind))
        elif isinstance(item, list):
            stack.extend((each, kind) for each in reversed(item))


def unlabelled(value: Any) -> list[str]:
    """Strings inside a value of labels that are more than that; names are labels, too."""
    return [] if value is None else list(texts({"": value}, labels=frozenset([""])))
