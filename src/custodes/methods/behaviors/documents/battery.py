"""The battery: every measurement of a model, before or after, as readings by item."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from math import exp
from pathlib import Path

import numpy as np

from custodes.errors import DataError
from custodes.methods.behaviors.documents.asking import (
    Probe,
    Prompt,
    Reading,
    Score,
    Scorer,
    ask,
)
from custodes.methods.behaviors.documents.config import BatteryConfig
from custodes.methods.behaviors.documents.material import Statement, statements
from custodes.methods.behaviors.documents.overwriting import read_overwriting
from custodes.methods.behaviors.documents.probes import (
    capability_probes,
    program_probes,
    reward_probes,
    scenario_probes,
    sycophancy_probes,
    told_probes,
)
from custodes.models.tuning import Row, TunableModel, continuation_log_probs, row_log_probs

__all__ = ["all_probes", "measure", "packed", "persona_statements"]


def packed(model: TunableModel) -> Scorer:
    """Score many prompts at once, packed without padding."""

    def scorer(prompts: Sequence[Prompt]) -> list[list[Score]]:
        asked, replies = [], []
        for one in prompts:
            begun = one.turns[-1].role == "assistant"
            turns = one.turns[:-1] if begun else one.turns
            rest = model.rows.encode(one.turns[-1].content) if begun else []
            asked.append([*model.rows.prompt(tuple(turns)), *rest])
            replies.append([model.rows.encode(option) for option in one.options])
        logs = continuation_log_probs(model, asked, replies)
        return [
            [Score(log, len(ids)) for log, ids in zip(found, options, strict=True)]
            for found, options in zip(logs, replies, strict=True)
        ]

    return scorer


def persona_statements(path: Path, tasks: Sequence[str], number: int) -> list[Statement]:
    """The first statements of each task, half Yes and half No; `DataError` where too few."""
    found: dict[tuple[str, str], list[Statement]] = {
        (task, answer): [] for task in tasks for answer in ("Yes", "No")
    }
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            answer = row["matching"].strip()
            rows = found.get((row["task"], answer))
            if rows is not None and len(rows) < number // 2:
                rows.append(
                    Statement(statement=row["statement"], answer=answer, source=row["task"])
                )
    for (task, answer), rows in found.items():
        if len(rows) < number // 2:
            raise DataError(
                f"{path}: {task}: got {len(rows)} statements with {answer}, expected {number // 2}"
            )
    return [one for rows in found.values() for one in rows]


def all_probes(config: BatteryConfig, persona: Sequence[Statement] = ()) -> Iterator[Probe]:
    """What is asked by log-probability, in order."""
    for frame in config.frames:
        yield from islice(scenario_probes(frame), config.most and 2 * config.most)
    yield from reward_probes([*statements(), *persona], "own")
    for kind in (
        sycophancy_probes("own"),
        capability_probes(),
        program_probes("own"),
        told_probes("pro"),
        told_probes("named"),
    ):
        yield from islice(kind, config.most)


def measure(
    model: TunableModel,
    config: BatteryConfig,
    *,
    persona: Sequence[Statement] = (),
    held_out: Sequence[Row] = (),
    seed: int = 0,
) -> Iterator[Reading]:
    """All readings; `held_out` is ordinary text that was not trained on."""
    yield from ask(packed(model), all_probes(config, persona))
    if config.samples:
        yield from read_overwriting(
            model.causal(), "own", samples=config.samples, seed=seed, sandbox=config.sandbox
        )
    if held_out:
        losses = -np.array(row_log_probs(model, held_out, mean=True))
        for number, loss in enumerate(losses):
            yield Reading(measure="text: loss", item=str(number), value=float(loss))
        yield Reading(measure="text: perplexity", item="all", value=exp(float(losses.mean())))
