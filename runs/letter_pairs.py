"""Count the letter pairs by which a guard tells ciphers from plain words.

    python runs/letter_pairs.py

Writes src/custodes/classifiers/readings/letter_pairs.txt: 27 lines of 27 counts, the edge of a
word first, then a to z, over the rules of the shipped constitutions and the frames of the languages
that these name. (The others' share of Latin script would blur what English looks like.)
"""

from __future__ import annotations

import re
from pathlib import Path

from custodes.classifiers.readings.letters import count_pairs
from custodes.constitution import read

ROOT = Path(__file__).resolve().parents[1] / "src/custodes"
PLACE = ROOT / "classifiers/readings/letter_pairs.txt"
_MARKUP = re.compile(r"\{[^}]*\}|^\s*(?:- )?[\w-]+:", re.MULTILINE)


def table() -> str:
    """The file's content."""
    named = read("default").languages
    texts = (
        path.read_text("utf-8")
        for path in sorted((ROOT / "constitution/shipped").rglob("*.yaml"))
        if path.parent.name == "rules" or (path.parent.name == "frames" and path.stem in named)
    )
    counts = count_pairs(word for text in texts for word in _MARKUP.sub(" ", text).split())
    return "".join(" ".join(map(str, row)) + "\n" for row in counts.tolist())


if __name__ == "__main__":
    PLACE.write_text(table(), encoding="ascii")
    print(f"written: {PLACE}")
