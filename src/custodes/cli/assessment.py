"""Judge labelled rows by a guard and sum up what came of it, mode by mode."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import typer

from custodes.cli.engines import make_engine
from custodes.data import conversation, load, read
from custodes.errors import DataError
from custodes.guard import Guard, Response, load_guard, mode_of
from custodes.guard.outcome import Outcome, outcomes
from custodes.measure import Evaluation, Replies, Report, Section, to_report
from custodes.measure import evaluate as measure
from custodes.types import Action, Conversation, Example, Mode

__all__ = ["Judgment", "assess", "gather", "report_of"]

Tables = Mapping[str, Sequence[Example]]


@dataclass(frozen=True, slots=True)
class Judgment:
    """One row: the set it is from, the example, what the guard made of it."""

    table: str
    example: Example
    conversation: Conversation
    outcome: Outcome


def gather(paths: Sequence[Path], sets: Sequence[str], *, rows: int | None, seed: int) -> Tables:
    """The labelled rows of tables and catalogue sets, by name; a seeded sample of `rows` each.

    How many rows have no label is said on stderr.
    """
    if len({path.resolve() for path in paths}) < len(paths):
        raise DataError(f"got one table twice in {', '.join(map(str, paths))}; its rows count once")
    readers: dict[str, Callable[[], list[Example]]] = {name: partial(load, name) for name in sets}
    for path in paths:
        # A second table of one name, such as b/test.parquet after a/test.parquet, keeps its path.
        readers[str(path) if path.stem in readers else path.stem] = partial(read, path)
    tables: dict[str, Sequence[Example]] = {}
    for name, reader in readers.items():
        found = reader()
        labelled = [example for example in found if example.label is not None]
        for example in labelled:
            _check_onset(name, example)
        if not labelled:
            raise DataError(f"{name}: got no row with a label, expected 0 or 1 in `label`")
        if left := len(found) - len(labelled):
            typer.echo(f"custodes: {name}: {left:,} rows without a label are left out", err=True)
        if rows is not None and len(labelled) > rows:
            labelled = random.Random(seed).sample(labelled, rows)
        tables[name] = labelled
    return tables


def _check_onset(table: str, example: Example) -> None:
    """`meta.onset`, where harm begins in a reply: told before rows are judged, not after."""
    onset, said = example.meta.get("onset") or 0, conversation(example)[-1]
    if not isinstance(onset, int) or not 0 <= onset < max(len(said.content), 1):
        raise DataError(
            f"{table}: row {example.id}: got meta.onset {onset!r}, expected a character of the "
            f"last turn, 0 to {max(len(said.content) - 1, 0)}"
        )


class _Judge:
    """Judges batches of conversations; an engine builds one in each worker."""

    def __init__(self, folder: str) -> None:
        self._guard = load_guard(folder)

    def __call__(self, batch: Sequence[Conversation]) -> list[Outcome]:
        return outcomes(self._guard, batch)


def assess(folder: Path, tables: Tables, *, engine: str) -> list[Judgment]:
    """Judge every row; the engine changes the speed and nothing else."""
    rows = [
        (table, example, conversation(example))
        for table, examples in tables.items()
        for example in examples
    ]
    results = make_engine(engine).map(partial(_Judge, str(folder)), [row[2] for row in rows])
    return [Judgment(*row, outcome) for row, outcome in zip(rows, results, strict=True)]


def report_of(
    judged: Sequence[Judgment], guard: Guard, *, facts: Mapping[str, str], seed: int
) -> tuple[Report, dict[str, Any]]:
    """One report with a part a mode, and the same as JSON values."""
    sections: list[Section] = []
    values: dict[str, Any] = {"facts": dict(facts), "modes": {}}
    summaries = []
    for mode in Mode:
        own = [each for each in judged if mode_of(each.conversation) is mode]
        if not own:
            continue
        evaluation = _evaluation(own, guard.policy.threshold_of(None, mode), seed)
        part = to_report(evaluation, title=mode, name=f"guard ({mode})")
        sections += [Section(f"{mode}: {s.title}", s.blocks) for s in part.sections]
        summaries.append(f"{mode}: {part.summary}")
        values["modes"][str(mode)] = evaluation.to_values()
    failures = sum(each.outcome.verdict.failure is not None for each in judged)
    if failures:
        done = "were stopped" if guard.policy.on_failure is Response.BLOCK else "passed"
        summaries.append(f"{failures} rows could not be judged and {done}.")
    values["failures"] = failures
    return Report("Evaluation of a guard", "\n\n".join(summaries), sections, dict(facts)), values


def _evaluation(judged: Sequence[Judgment], threshold: float, seed: int) -> Evaluation:
    replies = [each.conversation[-1].role == "assistant" for each in judged]
    return measure(
        [int(each.example.label == 1) for each in judged],
        [each.outcome.verdict.score for each in judged],
        threshold,
        flagged=[each.outcome.verdict.action is Action.STOP for each in judged],
        by={
            "set": [each.table for each in judged],
            "rule": [each.example.rule for each in judged],
            "transform": [
                t if (t := "+".join(each.example.transforms)) else None for each in judged
            ],
            "language": [each.example.lang for each in judged],
        },
        groups=[each.example.group or f"{each.table}\0{each.example.id}" for each in judged],
        seed=seed,
        replies=Replies(
            stop_at=[each.outcome.stop_at for each in judged],
            length=[
                len(each.conversation[-1].content) or None if reply else None
                for each, reply in zip(judged, replies, strict=True)
            ],
            onset=[int(each.example.meta.get("onset") or 0) for each in judged],
        )
        if any(replies)
        else None,
    )
