"""Binary tasks for the weak-to-strong study: texts with a yes/no truth, split three ways.

Reads the persona statements of anthropics/evals (CC-BY-4.0) as `persona_evals/persona.jsonl.gz`
holds them. Knows nothing of models.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from zlib import crc32

import numpy as np

from custodes.errors import DataError
from custodes.methods.similarity.answers import Integers

__all__ = ["BinaryTask", "Split", "read_persona_tasks", "split_task"]


@dataclass(frozen=True, slots=True)
class BinaryTask:
    """Statements [n] and whether each holds (1) or not (0)."""

    name: str
    texts: tuple[str, ...]
    labels: Integers


@dataclass(frozen=True, slots=True)
class Split:
    """Row numbers of the three parts of a task."""

    weak_train: Integers
    strong_train: Integers
    test: Integers


def read_persona_tasks(path: Path) -> tuple[BinaryTask, ...]:
    """Every task of a persona file (`.jsonl` or `.jsonl.gz`), by name; repeated statements once."""
    rows: dict[str, dict[str, int]] = {}
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    row = json.loads(line)
                    answer = {"Yes": 1, "No": 0}[row["matching"].strip()]
                    rows.setdefault(row["task"], {}).setdefault(row["statement"].strip(), answer)
                except (KeyError, ValueError, TypeError, AttributeError) as error:
                    raise DataError(
                        f"{path}:{number}: got a line without task, statement and matching Yes or "
                        f"No ({error!r}); expected a row of anthropics/evals persona"
                    ) from None
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error}); get github.com/anthropics/evals persona/*.jsonl"
        ) from error
    return tuple(
        BinaryTask(name, tuple(rows[name]), np.array(list(rows[name].values()), dtype=np.int64))
        for name in sorted(rows)
    )


def split_task(task: BinaryTask, sizes: Sequence[int], *, seed: int) -> Split:
    """Three disjoint parts of the sizes given, drawn with a seed that differs between tasks."""
    if sum(sizes) > len(task.texts):
        raise DataError(
            f"task {task.name}: got {len(task.texts)} statements, expected at least {sum(sizes)}; "
            "ask for smaller parts"
        )
    # crc32 and not hash(): the latter changes from process to process.
    rng = np.random.default_rng([seed, crc32(task.name.encode())])
    order = rng.permutation(len(task.texts))
    edges = np.cumsum([0, *sizes])
    parts = [np.sort(order[a:b]) for a, b in pairwise(edges)]
    return Split(*parts)
