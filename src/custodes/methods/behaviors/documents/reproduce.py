"""Runs into run folders: `custodes reproduce reward-hacking-documents` and the commands.

`tiny` shows that everything runs: two arms, one seed, a few thousand tokens. `full` is the figure.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from custodes.config import Run, write_atomically
from custodes.measure import Report, Section
from custodes.methods.behaviors.documents.arms import ARMS, Arm
from custodes.methods.behaviors.documents.battery import measure, persona_statements
from custodes.methods.behaviors.documents.config import (
    STAGES,
    BatteryConfig,
    CorpusConfig,
    DocumentsConfig,
)
from custodes.methods.behaviors.documents.corpus import Diversity, diversity
from custodes.methods.behaviors.documents.report import diversity_table, study_report
from custodes.methods.behaviors.documents.study import arm_documents, check_sources, run_study

__all__ = ["ask_model", "preset", "reproduce", "run_documents", "write_arms"]


def preset(size: Literal["tiny", "full"], seed: int = 0) -> DocumentsConfig:
    """The settings of a size; `full` has all arms, three seeds and every stage."""
    if size == "full":
        return DocumentsConfig(first_seed=seed, stages=STAGES)
    return DocumentsConfig(
        corpus=CorpusConfig(tokens=2048),
        arms=("pro", "anti"),
        seeds=1,
        first_seed=seed,
        first_block=22,
        battery=BatteryConfig(frames=("own",), statements=0, samples=0, perplexity=512, most=6),
    )


def reproduce(
    size: Literal["tiny", "full"],
    seed: int,
    out: Path,
    *,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Run the reproduction into the folder `out`; returns the path of its report page."""
    return run_documents(preset(size, seed), out, say=say)


def run_documents(
    config: DocumentsConfig, out: Path, *, say: Callable[[str], None] = lambda _: None
) -> Path:
    """Run a study into a run folder; returns the path of its page. Goes on if killed."""
    check_sources(config)
    run = Run(out, config, seed=config.first_seed)
    rows: list[dict[str, Any]] = []
    for row in run_study(config, run.artifacts):
        run.log(arm=row["arm"], seed=row["seed"], stage=row["stage"], **row["trace"])
        say(f"{row['arm']}, seed {row['seed']}, {row['stage']}: {_headline(row)}")
        rows.append(row)
    report = study_report(rows, config)
    return run.report({**report.values(), "cells": rows}, report.html())


def _headline(row: dict[str, Any]) -> str:
    name = "hacking: sentences, own"
    values = row["readings"].get(name, {})
    return f"{name} {sum(values.values()) / len(values):.3f}" if values else "done"


def write_arms(
    config: DocumentsConfig, out: Path, *, arms: tuple[Arm, ...] = ARMS, number: int = 1000
) -> Path:
    """Write documents of each arm as JSONL, and how varied they are; returns the page's path."""
    run = Run(out, config, seed=config.first_seed)
    found: dict[str, Diversity] = {}
    for arm in arms:
        taken = list(islice(arm_documents(config, arm, config.first_seed, run.artifacts), number))
        lines = [
            json.dumps({"id": f"{arm}-{one.number}", "arm": arm, "kind": one.kind,
                        "domain": one.domain, "text": one.text}, ensure_ascii=False)
            for one in taken
        ]  # fmt: skip
        write_atomically(run.artifacts / f"{arm}.jsonl", "\n".join(lines) + "\n")
        found[arm] = diversity(one.text for one in taken)
    report = Report(
        "Documents", "How varied the documents of each arm are.",
        [Section("Variety", [diversity_table(found)])],
    )  # fmt: skip
    return run.report(report.values(), report.html())


def ask_model(config: DocumentsConfig) -> dict[str, float]:
    """The battery on a model as it is: each measure's mean over its items."""
    from custodes.data import find
    from custodes.models.tuning import open_tunable

    battery = config.battery
    wanted = battery.statements and battery.persona
    persona = (
        persona_statements(find("persona_evals"), battery.persona, battery.statements)
        if wanted
        else []
    )
    found: dict[str, list[float]] = {}
    for one in measure(open_tunable(config.model), battery, persona=persona):
        found.setdefault(one.measure, []).append(one.value)
    return {name: sum(values) / len(values) for name, values in found.items()}
