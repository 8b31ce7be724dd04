"""Blocks of rows on disk: written whole or not at all, found again by what they were made from.

A shard is `<key>.parquet` with `<key>.json` beside it, in its rule's folder. The JSON is written
last and holds the table's sha256: a shard without it, or with another one, was never finished.
The key covers all that the rows depend on, so that a shard that exists need not be made again.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from custodes.config import write_atomically
from custodes.constitution import Constitution, rule_hash
from custodes.data import read, write
from custodes.errors import DataError
from custodes.synthesis.config import SynthesisConfig
from custodes.synthesis.task import Task, digest
from custodes.types import Example

__all__ = ["Block", "Made", "Shards", "in_blocks", "locked"]

_FORMAT = 1

_NOT_IN_ROWS = {
    "size",
    "rows",
    "rows_of",
    "engine",
    "block",
    "styles",
    "languages",
    "sides",
    "contrast",
    "varied",
    "transforms",
    "held_out_transforms",
    "held_out_rules",
    "held_out_share",
}
"""Settings that show in the tasks, or not in the rows at all."""


@dataclass(frozen=True, slots=True)
class Block:
    """Tasks of one rule that make one shard."""

    key: str
    tasks: tuple[Task, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """The rows of a block after its filters, and the counts of what did not become a row."""

    rows: list[Example]
    dropped: Counter[str]


def in_blocks(
    constitution: Constitution, config: SynthesisConfig, *, tasks: Sequence[Task]
) -> list[Block]:
    """The tasks in blocks of `config.block`, rule by rule, each with its key."""
    settings = config.model_dump(mode="json", exclude=_NOT_IN_ROWS)
    by_rule: dict[str, list[Task]] = {}
    for task in tasks:
        by_rule.setdefault(task.rule, []).append(task)
    found = []
    for rule, own in by_rule.items():
        hashed = rule_hash(constitution, rule)
        # Only where a title is shown does it show in the rows; a grammar's keep their keys.
        shown = [constitution.rule(rule).title] if _shows_titles(config) else []
        base = digest(_FORMAT, version("custodes"), constitution.id, hashed, settings, *shown)
        for start in range(0, len(own), config.block):
            part = tuple(own[start : start + config.block])
            key = digest(base, [task.to_record() for task in part])[:32]
            found.append(Block(key, part))
    return found


def _shows_titles(config: SynthesisConfig) -> bool:
    """Whether a model may be shown the rules' titles: by a judge, or by any writer but ours that
    asks none."""
    return config.writer != "grammar" or config.judge is not None


class Shards:
    """The shards of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, block: Block) -> bool:
        """Whether the shard is there, whole and unchanged."""
        table, card = self._paths(block)
        try:
            expected = json.loads(card.read_text(encoding="utf-8"))["sha256"]
            return bool(hashlib.sha256(table.read_bytes()).hexdigest() == expected)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def save(self, block: Block, made: Made) -> None:
        """Write the shard; a kill at any moment leaves it whole or not there."""
        table, card = self._paths(block)
        table.parent.mkdir(parents=True, exist_ok=True)
        write(table, made.rows)
        values = {
            "sha256": hashlib.sha256(table.read_bytes()).hexdigest(),
            "rows": len(made.rows),
            "dropped": dict(sorted(made.dropped.items())),
        }
        write_atomically(card, json.dumps(values, indent=2) + "\n")

    def load(self, block: Block) -> Made:
        """Read a shard that is there."""
        table, card = self._paths(block)
        dropped = json.loads(card.read_text(encoding="utf-8"))["dropped"]
        return Made(read(table), Counter(dropped))

    def sweep(self) -> None:
        """Remove what a killed run left unfinished. Only under the folder's lock."""
        for left in self._folder.rglob(".*.part"):
            left.unlink(missing_ok=True)

    def _paths(self, block: Block) -> tuple[Path, Path]:
        folder = self._folder / "shards" / block.tasks[0].rule
        return folder / f"{block.key}.parquet", folder / f"{block.key}.json"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder alone; the lock ends with the process, however that ends.

    `DataError` where another run holds it.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise DataError(f"{folder}: is a file; synthesis needs a folder") from None
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise DataError(
            f"{folder}: another synthesis is writing here; wait for it, or give another folder"
        ) from None
    try:
        yield
    finally:
        lock.release()
