"""The whole way: plan, write, vary, filter, one Parquet file with provenance on every row.

    DIR/shards/<rule>/<key>.parquet   rows of one block of one rule; <key>.json counts what fell out
    DIR/examples.parquet              all rows of the present plan
    DIR/summary.json                  what there is, what was dropped, what was reused
    DIR/config.yaml                   the resolved settings

A block is written when it is whole, so a run that is killed goes on where it was. Blocks whose
rule, tasks and settings are unchanged are reused as they are. Shards of earlier plans stay in the
folder: going back to an old rule costs nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from custodes.config import save, write_atomically
from custodes.constitution import Constitution, constitution_hash
from custodes.data import write as write_table
from custodes.engine import BatchFunction
from custodes.models import GenerateModel
from custodes.synthesis.config import SynthesisConfig
from custodes.synthesis.filters import Judge, filter_rows
from custodes.synthesis.judge import model_judge
from custodes.synthesis.plan import plan, unwritten
from custodes.synthesis.shards import Block, Made, Shards, in_blocks, locked
from custodes.synthesis.task import Task
from custodes.synthesis.vary import vary
from custodes.synthesis.writers import WRITERS, Draft, Writer
from custodes.types import Example

__all__ = ["Progress", "synthesize", "write"]

Progress = Callable[[int, int], None]
"""Told after every block: rows planned that are done, rows planned."""


def write(
    constitution: Constitution, config: SynthesisConfig, tasks: Sequence[Task]
) -> list[Draft]:
    """One draft a task, in order, without transforms, by the writer of the settings."""
    return _writer(constitution, config, _model(config)).write(tasks)


def synthesize(
    constitution: Constitution,
    config: SynthesisConfig,
    folder: Path,
    *,
    progress: Progress | None = None,
) -> Path:
    """Write all rows into the folder; returns the path of `examples.parquet`.

    Run again after an interruption, it goes on. `ConfigError` for settings that do not fit the
    constitution, before anything is written; `DataError` where another run holds the folder;
    `ModelError` and `EngineError` where a model or a worker fails (what is done stays done).
    """
    todo = in_blocks(constitution, config, tasks=plan(constitution, config))
    with locked(folder):
        shards = Shards(folder)
        shards.sweep()
        missing = [block for block in todo if not shards.has(block)]
        wanting = {block.key for block in missing}
        tell = _Teller(progress, sum(len(block.tasks) for block in todo))
        tell.add(*(block for block in todo if block.key not in wanting))
        fresh: dict[str, Made] = {}
        for block, made in zip(missing, _make(constitution, config, missing), strict=True):
            shards.save(block, made)
            fresh[block.key] = made
            tell.add(block)
        merged = _merge([fresh.get(each.key) or shards.load(each) for each in todo], config)
        path = folder / "examples.parquet"
        write_table(path, merged.rows)
        save(config, folder / "config.yaml")
        summary = _summary(constitution, config, merged=merged)
        summary["planned"] = tell.total
        summary["blocks"] = {"written": len(missing), "reused": len(todo) - len(missing)}
        write_atomically(folder / "summary.json", json.dumps(summary, indent=2) + "\n")
        return path


class _Teller:
    """Adds up what is done and tells it."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.total = total
        self._progress = progress
        self._done = 0

    def add(self, *blocks: Block) -> None:
        self._done += sum(len(block.tasks) for block in blocks)
        if self._progress:
            self._progress(self._done, self.total)


def _model(config: SynthesisConfig) -> GenerateModel | None:
    return config.model.build_model() if config.model else None


def _writer(
    constitution: Constitution, config: SynthesisConfig, model: GenerateModel | None
) -> Writer:
    writer: Writer = WRITERS.load(config.writer)(constitution, config, model=model)
    return writer


@dataclass
class _Maker:
    """Makes whole blocks; built once in each worker."""

    config: SynthesisConfig
    writer: Writer
    model: GenerateModel | None
    judge: Judge | None

    def __call__(self, batch: Sequence[Block]) -> list[Made]:
        return [self._make(block) for block in batch]

    def _make(self, block: Block) -> Made:
        drafts = self.writer.write(block.tasks)
        rows = [
            vary(draft.row, task, model=self.model)
            for task, draft in zip(block.tasks, drafts, strict=True)
            if draft.row is not None
        ]
        filtered = filter_rows(rows, self.config, judge=self.judge)
        retried = Counter(f"retried: {why}" for draft in drafts for why in draft.rejected)
        unwritten_rows = Counter(not_written=len(drafts) - len(rows))
        return Made(filtered.rows, filtered.dropped + retried + unwritten_rows)


def _maker(constitution: Constitution, config: SynthesisConfig) -> BatchFunction:
    model = _model(config)
    judge = None
    if config.judge:
        same = model if config.judge == config.model else None
        judge = model_judge(constitution, same or config.judge.build_model())
    return _Maker(config, _writer(constitution, config, model), model, judge)


def _make(
    constitution: Constitution, config: SynthesisConfig, missing: Sequence[Block]
) -> Iterator[Made]:
    factory = partial(_maker, constitution, config)
    if not missing:
        return
    if config.engine is not None:
        yield from config.engine.build_engine().map(factory, missing)
    else:
        make = factory()
        for block in missing:
            yield from make([block])


def _merge(made: Sequence[Made], config: SynthesisConfig) -> Made:
    """All rows without the texts that two blocks have in common; within a block all is done."""
    rows = [row for each in made for row in each.rows]
    merged = filter_rows(rows, config.model_copy(update={"near": None}))
    return Made(merged.rows, sum((each.dropped for each in made), merged.dropped))


def _summary(
    constitution: Constitution, config: SynthesisConfig, *, merged: Made
) -> dict[str, Any]:
    return {
        **_counts(merged.rows),
        "dropped": dict(sorted(merged.dropped.items())),
        "unwritten_rules": list(unwritten(constitution, config)),
        "constitution": {
            "id": constitution.id,
            "version": constitution.version,
            "sha256": constitution_hash(constitution),
        },
        "seed": config.seed,
    }


def _counts(rows: Sequence[Example]) -> dict[str, Any]:
    """Rows by each thing one may ask for, keys sorted."""
    tables: dict[str, Counter[str]] = {
        "by_rule": Counter(str(row.rule) for row in rows),
        "by_label": Counter(str(row.label) for row in rows),
        "by_kind": Counter(row.kind for row in rows),
        "by_side": Counter(str(row.meta["side"]) for row in rows),
        "by_transform": Counter(name for row in rows for name in row.transforms or ("none",)),
        "by_language": Counter(str(row.lang) for row in rows),
        "by_style": Counter(str(row.meta["style"]) for row in rows),
        "by_writer": Counter(str(row.writer) for row in rows),
        "by_split": Counter(str(row.meta.get("split", "train")) for row in rows),
    }
    return {"rows": len(rows), **{k: dict(sorted(v.items())) for k, v in tables.items()}}
