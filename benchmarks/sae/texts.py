"""Gather English text that the machine can reach, and say where each file is from.

    python benchmarks/sae/texts.py --out build/sae/texts

Four kinds of source: the benign chat sets (train/*.jsonl.gz) and the English corpora
(text/english.jsonl.gz: Brown, reviews, news, WikiText-2 and others) under CUSTODES_DATA_DIR, which
must hold both; Debian's documentation (/usr/share/doc); and text files inside installed Python
wheels. Writes texts.jsonl (one text a line, in the order of their hashes, so that any beginning of
it mixes the sources) and sources.jsonl (source, path, characters). Texts that repeat are taken
once. None of it is ours to publish: the output is scratch.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import site
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = (".txt", ".md", ".rst", ".txt.gz", ".md.gz")
LEAST = 400  # characters; shorter files are mostly lists of names
MOST = 400_000
A_TOKEN = 4.41  # characters of these texts, by SmolLM2's tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("build/sae/texts"))
    parser.add_argument("--characters", type=int, default=40_000_000, help="stop at so many")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, tuple[str, str, str]] = {}
    for source, path, text in gather():
        if is_english(text):
            key = hashlib.sha256(" ".join(text.split()).encode("utf-8", "replace")).hexdigest()
            found.setdefault(key, (source, path, text))
    total = 0
    with (
        (options.out / "texts.jsonl").open("w", encoding="utf-8") as texts,
        (options.out / "sources.jsonl").open("w", encoding="utf-8") as sources,
    ):
        for _, (source, path, text) in sorted(found.items()):
            texts.write(json.dumps({"text": text}) + "\n")
            row = {"source": source, "path": path, "characters": len(text)}
            sources.write(json.dumps(row) + "\n")
            total += len(text)
            if total >= options.characters:
                break
    print(f"{len(found):,} texts, {total:,} characters (about {total / A_TOKEN:,.0f} tokens)")


def gather() -> Iterator[tuple[str, str, str]]:
    """Source, path and text."""
    yield from chats()
    yield from corpora()
    for source, root in (
        ("debian", Path("/usr/share/doc")),
        *(("wheel", Path(folder)) for folder in site.getsitepackages()),
    ):
        for path in sorted(root.rglob("*")) if root.is_dir() else ():
            if path.is_file() and path.name.endswith(SUFFIXES):
                text = read(path)
                if LEAST <= len(text) <= MOST:
                    yield source, str(path), text


def shared_sets() -> Path:
    """Without them the text is another, and so is every figure: that is said, not passed over."""
    named = os.environ.get("CUSTODES_DATA_DIR")
    if not named:
        raise SystemExit("CUSTODES_DATA_DIR is not set; name the folder of the sets (docs/data.md)")
    root = Path(named)
    if not (root / "text" / "english.jsonl.gz").exists() or not any(root.glob("train/*.jsonl.gz")):
        raise SystemExit(
            f"CUSTODES_DATA_DIR: {root} holds no text/english.jsonl.gz or no train/*.jsonl.gz; "
            "expected both (docs/data.md)"
        )
    return root


def chats() -> Iterator[tuple[str, str, str]]:
    for path in sorted((shared_sets() / "train").glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file):
                row = json.loads(line)
                if row.get("label") == 0 and row.get("kind") == "benign_exchange":
                    turns = [turn["content"] for turn in row.get("messages") or []]
                    text = "\n\n".join(turns)
                    if len(text) >= LEAST:
                        yield "chat", f"{path.name}:{number}", text


def corpora() -> Iterator[tuple[str, str, str]]:
    path = shared_sets() / "text" / "english.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if len(row["text"]) >= LEAST:
                yield row["source"], f"{path.name}:{row['id']}", row["text"]


def read(path: Path) -> str:
    opened = gzip.open if path.name.endswith(".gz") else open
    try:
        with opened(path, "rt", encoding="utf-8") as file:
            return file.read(MOST + 1)
    except (OSError, UnicodeDecodeError, EOFError):
        return ""


def is_english(text: str) -> bool:
    """Plain letters, and the words that English cannot do without."""
    head = text[:20_000]
    words = head.lower().split()
    common = sum(word in {"the", "of", "and", "to", "is", "in", "a"} for word in words)
    return sum(map(str.isascii, head)) > 0.95 * len(head) and common > 0.08 * len(words)


if __name__ == "__main__":
    main()
