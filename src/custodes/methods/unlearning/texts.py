"""Ordinary text, on which perplexity tells whether a model can still write."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path

from custodes.errors import DataError

__all__ = ["PLAIN", "ordinary_texts", "texts_digest"]

PLAIN = """\
Most of the bread we eat begins with the same four things: flour, water, salt and something that
makes it rise. The baker mixes them in the evening and lets the dough rest overnight, because
time does a good part of the work. In the morning it has doubled in size. It is folded, cut and
shaped, and rests once more while the oven grows hot.

When the river froze, the children of the upper town went down to the mill with their skates.
The old miller watched from his window and counted them, as he had done every winter since he
was young. Nobody had asked him to. He said that a man who lives by a river should know who is
on it.

A good map leaves things out. It cannot show every tree and every stone, and if it did, nobody
could find the way by it. The person who draws it must decide what a walker needs to know, and
what would only be in the way. For this reason two maps of one valley may both be right and look
quite different.

The library opened at nine, and by ten all of the seats by the window were taken. Students came
to read and old men came to be warm. A sign on the wall asked for silence, but the heating pipes
knocked all day long, and after a while one did not hear them any more than one hears one's own
clock.

Glass is made of sand, and yet nothing about a beach suggests a window. The sand has to be
clean, and it melts only at a heat that ordinary fires do not reach. Ash from wood or seaweed
was added to make it melt sooner, and lime so that it would not dissolve in the rain.

She had planted the beans along the fence in May, too early, as her neighbor told her, and too
close together. In July they covered the fence and had begun to climb the pear tree. The
neighbor looked at them for some time and said that it had been a good year for beans.
"""


@lru_cache(maxsize=2)  # what is retained and what perplexity is measured on: every arm reads both
def ordinary_texts(source: str | None) -> tuple[str, ...]:
    """Texts of a set of the catalogue or of a file (.txt, or .jsonl with `text`); None: `PLAIN`.

    `DataError` where there is none.
    """
    if source is None:
        return (PLAIN,)
    found = _read(source)
    if not any(text.strip() for text in found):
        raise DataError(f"{source}: holds no text; give a file or a set that does")
    return found


def _read(source: str) -> tuple[str, ...]:
    path = Path(source)
    if not path.is_file():
        from custodes.data import load

        return tuple(example.text for example in load(source) if example.text)
    try:
        whole = path.read_text(encoding="utf-8")
        if path.suffix != ".jsonl":
            return (whole,)
        # Not splitlines(): JSON leaves U+2028, U+0085 and their like unescaped inside a text.
        return tuple(str(json.loads(row)["text"]) for row in whole.split("\n") if row.strip())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: cannot be read as text, or as JSONL with a 'text' a line: {error}"
        ) from error


def texts_digest(source: str | None) -> str:
    """What names the texts in results: their content, whatever the file is called."""
    return hashlib.sha256("\0".join(ordinary_texts(source)).encode()).hexdigest()[:24]
