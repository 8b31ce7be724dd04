"""Weak-to-strong on the persona statements: the partial correlation, whatever it is."""

from __future__ import annotations

from typing import Any

import numpy as np

from custodes.data import find
from custodes.errors import DataError
from custodes.measure import Interval
from custodes.methods.similarity.config import WeakToStrongConfig
from custodes.methods.similarity.reproduce import run_weak_to_strong
from custodes.methods.similarity.weak_to_strong import (
    gain_study,
    gain_study_of_pairs,
    read_records,
)
from custodes.models import MODELS


def config(options: Any) -> WeakToStrongConfig:
    tiny = {"tasks": 8, "weak": ("words", "characters"), "strong": ("smollm2@2", "smollm2@6")}
    chosen = {} if options.size == "full" else tiny  # full: the method's own defaults
    return WeakToStrongConfig(**chosen, seed=options.seed, minilm=options.minilm)


def model() -> Any:
    embedded = MODELS.load("embedded")
    return embedded(embedded.Config(threads=1))


def figures(options: Any) -> list[dict]:
    folder = options.work / f"weak-to-strong-{options.size}"
    try:
        source = find("persona_evals")
    except DataError as error:
        print(f"  skipped: {error}")
        return []
    run_weak_to_strong(config(options), folder, tasks=source, model=model, say=print)
    return of_records(read_records(folder / "artifacts" / "gains.jsonl"), options.seed)


def of_records(records: list, seed: int) -> list[dict]:
    tasks = len({record.task for record in records})
    whole = gain_study(records, seed=seed)
    seeds = (seed,)
    kind = "partial r of gain with"
    rows = [
        {"figure": "binary tasks", "value": tasks, "target": ">= 100", "seeds": seeds},
        {
            "figure": "weak supervisors",
            "value": len({record.weak for record in records}),
            "target": ">= 3",
        },
        {
            "figure": "strong students",
            "value": len({record.strong for record in records}),
            "target": ">= 2",
        },
        {
            "figure": f"{kind} κp given the gap, {whole.rows} rows, clustered by task "
            "(paper: -0.351 [-0.47, -0.22])",
            "value": whole.clustered,
            "target": "< 0",
            "seeds": seeds,
        },
        {
            "figure": f"{kind} κp given the gap, Fisher's interval, rows taken as independent",
            "value": whole.interval,
            "seeds": seeds,
        },
    ]
    for metric in ("capa-discrete", "error-consistency"):
        found = gain_study(records, metric=metric, seed=seed)
        figure = f"{kind} {metric} given the gap, clustered by task"
        rows.append({"figure": figure, "value": found.clustered, "seeds": seeds})
    for (weak, strong), found in gain_study_of_pairs(records, seed=seed).items():
        figure = f"{kind} κp given the gap, {weak} -> {strong}"
        rows.append({"figure": figure, "value": found.interval, "seeds": seeds})
    gains = np.array([record.gain for record in records])
    mean = Interval(float(gains.mean()), float("nan"), float("nan"))
    return [*rows, {"figure": "mean gain over the strong base", "value": mean, "seeds": seeds}]
