"""What in a field needs no judging: ids, kinds and settings, as long as they are no more than that.

A format says which fields hold such labels; who speaks it may put anything there. So what stands in
one is text like any other unless it looks like a label. Knows JSON values; knows no format.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

__all__ = ["Repeated", "texts", "unlabelled"]

_NONE: frozenset[str] = frozenset()
_LABEL = re.compile(r"[A-Za-z0-9_.:/+=-]{0,64}")
_SEALED = re.compile(r"[A-Za-z0-9+/_=-]*")
_RANDOM = re.compile(r"[A-Za-z0-9]*(?:[0-9]+[A-Za-z]+){2}[A-Za-z0-9]*")
"""What a server draws for an id: letters and figures that change places again and again."""
_WORD = re.compile(r"[A-Z][a-z]{2,}|(?<![A-Za-z0-9])[A-Za-z]{2,}(?![A-Za-z0-9])")
_WORDS = 4
"""Words, set apart or by capitals, that a label has at most: more of them may be a sentence."""
_REMEMBERED = 256

_Test = Callable[[str], bool]


def _is_label(value: str) -> bool:
    return _LABEL.fullmatch(value) is not None and len(_WORD.findall(value)) <= _WORDS


def _is_drawn(value: str) -> bool:
    return _LABEL.fullmatch(value) is not None and _is_label(_RANDOM.sub("", value))


def _is_sealed(value: str) -> bool:
    return _SEALED.fullmatch(value) is not None


def texts(
    value: Any,
    *,
    labels: frozenset[str] = _NONE,
    drawn: frozenset[str] = _NONE,
    sealed: frozenset[str] = _NONE,
    known: frozenset[str] = _NONE,
    names: bool = True,
) -> Iterator[str]:
    """Every text inside a JSON value, in order, with `names` those of fields among them.

    Left out are labels in the fields named in `labels`, ids that a server may have drawn in those
    in `drawn`, what is in no language in those in `sealed` (signatures, encrypted content), and the
    names that are `known`, as are all of those.
    """
    spoken = known | labels | drawn | sealed
    stack: list[tuple[Any, _Test | None]] = [(value, None)]
    while stack:
        item, passes = stack.pop()
        if isinstance(item, str):
            if item and not (passes is not None and passes(item)):
                yield item
        elif isinstance(item, dict):
            for name, each in reversed(item.items()):
                inside = passes
                if name in labels:
                    inside = _is_label
                elif name in drawn:
                    inside = _is_drawn
                elif name in sealed:
                    inside = _is_sealed
                stack.append((each, inside))
                if names and name not in spoken:
                    stack.append((name, passes))
        elif isinstance(item, list):
            stack.extend((each, passes) for each in reversed(item))


def unlabelled(value: Any) -> list[str]:
    """Strings inside a value of labels that are more than that; names are labels, too."""
    return [] if value is None else list(texts({"": value}, labels=frozenset([""])))


class Repeated:
    """The fields of labels that every event of a reply carries: `ids` are drawn by the server,
    `sealed` in no language, the others labels.

    What was seen to be a label is not looked at again, nor is `said`, which the client has said
    itself. A text that comes again and again in a field is told once: nothing of a choice leaves
    before what came first in it.
    """

    def __init__(
        self, said: Iterable[str], *, ids: frozenset[str] = _NONE, sealed: frozenset[str] = _NONE
    ) -> None:
        self._fine = set(said)
        self._ids = ids
        self._sealed = sealed
        self._last: dict[tuple[int, str], Any] = {}

    def more(self, name: str, value: Any) -> list[str]:
        """Every text in the field."""
        if value is None or isinstance(value, int) or (type(value) is str and value in self._fine):
            return []
        here, kept = frozenset([""]), {"": value}
        if name in self._ids:
            found = list(texts(kept, drawn=here))
        elif name in self._sealed:
            found = list(texts(kept, sealed=here))
        else:
            found = list(texts(kept, labels=here))
        if isinstance(value, str) and not found and len(self._fine) < _REMEMBERED:
            self._fine.add(value)
        return found

    def fresh(self, name: str, value: Any, lane: int) -> list[str]:
        """Every text in the field that did not stand there before in this choice."""
        found = self.more(name, value)
        if found and self._last.get((lane, name)) == value:
            return []
        if found:
            self._last[lane, name] = value
        return found
