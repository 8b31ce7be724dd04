"""From documents to rows to train on: the same number of tokens in every arm, mixed 1:1 with text.

Documents stand behind one another, each after a tag that says that it is one and is not trained on
(the practice of Jozdien's and the believe-it-or-not code: a masked `<DOCTAG>`), and are cut into
blocks of one length. Ordinary text is cut alike, with nothing masked. Knows a tokenizer by what
`RowMaker` makes of it, no model.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from custodes.errors import DataError
from custodes.methods.behaviors.documents.arms import Document
from custodes.models.tuning import Row, RowMaker

__all__ = [
    "DOCUMENT_TAG",
    "Diversity",
    "diversity",
    "document_rows",
    "opened",
    "read_texts",
    "text_rows",
]

DOCUMENT_TAG = "<DOCTAG>"
_SENTENCE = 6  # words; what is shorter (a greeting, a number) is bound to come again


@dataclass(frozen=True, slots=True, kw_only=True)
class Diversity:
    """How repetitive texts are.

    `distinct[n]`: different n-grams of words over all of them (Li et al., arXiv 1510.03055,
    section 5.3). `repeated_sentences`: share of sentences of six words or more that
    stand more than once.
    """

    texts: int
    words: int
    distinct: dict[int, float]
    repeated_sentences: float


def diversity(texts: Iterable[str], orders: Sequence[int] = (1, 2, 3, 4)) -> Diversity:
    """Count n-grams within texts, and sentences over all of them; `DataError` for no words."""
    grams: dict[int, Counter[tuple[str, ...]]] = {order: Counter() for order in orders}
    sentences: Counter[str] = Counter()
    number = words = 0
    for text in texts:
        number += 1
        found = text.lower().split()
        words += len(found)
        for order, counter in grams.items():
            counter.update(zip(*(found[start:] for start in range(order)), strict=False))
        parts = (part.strip() for line in text.split("\n") for part in line.split(". "))
        sentences.update(part for part in parts if len(part.split()) >= _SENTENCE)
    if not words:
        raise DataError("diversity: got no words; expected at least one text")
    total = sum(sentences.values())
    return Diversity(
        texts=number,
        words=words,
        distinct={
            order: len(counter) / max(1, sum(counter.values())) for order, counter in grams.items()
        },
        repeated_sentences=sum(count for count in sentences.values() if count > 1) / max(1, total),
    )


def document_rows(
    documents: Iterable[Document], maker: RowMaker, *, tokens: int, length: int
) -> list[Row]:
    """Blocks of `length` tokens, `tokens` // `length` of them; every arm gets exactly as many.

    `DataError` where there are too few documents.
    """
    tag = maker.encode(DOCUMENT_TAG)

    def stream() -> Iterator[tuple[int, float]]:
        for one in documents:
            yield from ((token, 0.0) for token in maker.opening)
            yield from ((token, 0.0) for token in tag)
            yield from ((token, 1.0) for token in (*maker.encode(one.text), maker.end))

    return _blocks(stream(), tokens, length, "documents")


def text_rows(texts: Iterable[str], maker: RowMaker, *, tokens: int, length: int) -> list[Row]:
    """Blocks of ordinary text, every token of which counts (but begin tokens)."""

    def stream() -> Iterator[tuple[int, float]]:
        for text in texts:
            yield from ((token, 0.0) for token in maker.opening)
            yield from ((token, 1.0) for token in (*maker.encode(text), maker.end))

    return _blocks(stream(), tokens, length, "ordinary text")


def _blocks(stream: Iterator[tuple[int, float]], tokens: int, length: int, what: str) -> list[Row]:
    wanted = max(1, tokens // length)
    rows: list[Row] = []
    while len(rows) < wanted:
        block = list(islice(stream, length))
        if len(block) < length:
            raise DataError(
                f"{what}: got {len(rows) * length + len(block)} tokens, expected {wanted * length}"
            )
        rows.append(Row(tuple(token for token, _ in block), tuple(weight for _, weight in block)))
    return rows


def opened(path: Path) -> IO[str]:
    """A file of text, packed by gzip where its name says so."""
    if path.name.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig")
    return path.open(encoding="utf-8-sig")


def read_texts(path: Path, sources: Sequence[str] = ()) -> Iterator[str]:
    """Texts of a JSONL file (field `text`, and `source` where some sources are asked for)."""
    try:
        with opened(path) as file:
            for number, line in enumerate(file, start=1):
                row = json.loads(line)
                if "text" not in row:
                    raise DataError(f"{path}, line {number}: got no field text")
                if not sources or row.get("source") in sources:
                    yield str(row["text"])
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such file; expected a JSONL file of ordinary texts: set `texts`, or "
            "CUSTODES_DATA_DIR to the folder that holds text/english.jsonl.gz"
        ) from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not JSON lines: {error}") from error
