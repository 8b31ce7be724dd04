"""Cut a table into parts without ever cutting a group.

Where a group goes depends on its name, or without one on the text, on the seed and the fractions
only: rows that are added later move none of the rows that were there.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from itertools import accumulate

from custodes.data.duplicates import normalize
from custodes.errors import DataError
from custodes.types import Example

__all__ = ["split"]


def split(
    rows: Iterable[Example], fractions: Mapping[str, float], *, seed: int
) -> dict[str, list[Example]]:
    """Parts by name, in the order of `fractions`; rows keep their order within a part.

    The unit is `group`, or of a row that has none what the user asks first (two rows that ask the
    same are never in two parts; a system turn that many rows share ties none of them together).
    Its hash, a number in [0, 1), falls into one of the parts laid end to end, so parts reach their
    fractions only on average.
    Fractions are positive and add up to 1, else `DataError`.
    """
    total = math.fsum(fractions.values())
    if not all(share > 0 for share in fractions.values()) or not math.isclose(total, 1):
        raise DataError(
            f"split: got fractions {dict(fractions)}, expected positive numbers that add up to 1"
        )
    parts: dict[str, list[Example]] = {name: [] for name in fractions}
    names = list(fractions)
    ends = list(accumulate(fractions.values()))
    for row in rows:
        place = _position(row, seed)
        # the last end may be 1 - 1e-16, hence the default
        name = next((n for n, end in zip(names, ends, strict=True) if place < end), names[-1])
        parts[name].append(row)
    return parts


def _asked(row: Example) -> str:
    turns = row.messages or ()
    of_user = [turn.content for turn in turns if turn.role == "user"]
    said = [row.text or "", *of_user, *(turn.content for turn in turns)]
    return next((words for text in said if (words := normalize(text))), row.id)


def _position(row: Example, seed: int) -> float:
    unit = f"text\0{_asked(row)}" if row.group is None else f"group\0{row.group}"
    digest = hashlib.sha256(f"{seed}\0{unit}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
