"""Many runs with settings varied, here or on a cluster, kept as they come."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from custodes.config import Run, named_files
from custodes.engine import Engine, identify, open_engine, resumable_map
from custodes.measure import Report, Section, Table
from custodes.measure.report import Cell
from custodes.methods.decomposition.config import SweepConfig, TargetConfig
from custodes.methods.decomposition.method import Method, decompose
from custodes.methods.decomposition.presets import PRESETS, preset_config
from custodes.methods.decomposition.report import mean_over_seeds
from custodes.methods.decomposition.targets.base import content_of_target
from custodes.methods.decomposition.targets.making import make_target
from custodes.methods.decomposition.training import TRAINING

__all__ = ["run_sweep", "sweep_rows"]

_VERSION = 2  # goes up when rows of a sweep come to hold other things


def sweep_rows(config: SweepConfig) -> list[dict[str, Any]]:
    """Every combination of the varied settings, as `{setting: value}`."""
    names = list(config.vary)
    return [
        dict(zip(names, values, strict=True)) for values in itertools.product(*config.vary.values())
    ]


def run_sweep(
    method: Method, config: SweepConfig, out: Path, *, say: Callable[[str], None] | None = None
) -> Path:
    """Run all combinations, each in a folder of its own below `out`; returns the report's path."""
    run = Run(out, config, seed=0)
    rows = sweep_rows(config)
    for row in rows:  # a wrong setting is told before the first run begins
        _settings(method, config, row)
    engine = open_engine(config.engine, config.engine_settings, batch_size=1)
    found = []
    for result in _results(method, config, rows, run, engine):
        found.append(result)
        run.log(**result)
        if say is not None:
            say(f"{result['settings']}: {result['folder']}")
    report = _report(method, config, found)
    return run.report(report.values(), report.html())


def _results(
    method: Method, config: SweepConfig, rows: list[dict[str, Any]], run: Run, engine: Engine
) -> Iterator[dict[str, Any]]:
    # A preset may come to mean other settings, and settings other results.
    preset = PRESETS[method, config.preset]
    of_rows = {"method": method, "preset": preset, "settings": config.settings,
               "training": TRAINING}  # fmt: skip
    if contents := _contents([_settings(method, config, row).target for row in rows]):
        of_rows["targets"] = contents
    yield from resumable_map(
        engine,
        partial(_worker, method, config, run.artifacts.resolve()),
        rows,
        run.artifacts / "rows",
        shard_rows=1,
        identity=identify({**of_rows, "version": _VERSION}),
    )


def _contents(targets: Sequence[TargetConfig]) -> dict[str, Any]:
    """What networks hold that their settings only name: a factory's numbers, files by digest."""
    found: dict[str, Any] = {}
    for target in targets:
        section = target.model_dump_json()
        if section in found:
            continue
        if target.kind == "module":
            found[section] = content_of_target(make_target(target, [0], 0, device="cpu"))
        elif target.kind == "embedded" and (
            files := named_files(target.embedded.model_dump(mode="json"))
        ):
            found[section] = files
    return found


def _settings(method: Method, config: SweepConfig, row: Mapping[str, Any]) -> Any:
    # JSON is YAML.
    values = {**config.settings, **row}
    assignments = [f"{name}={json.dumps(value)}" for name, value in values.items()]
    return preset_config(method, config.preset, None, assignments)


def _worker(
    method: Method, config: SweepConfig, folder: Path
) -> Callable[[Sequence[Mapping[str, Any]]], list[dict[str, Any]]]:
    def work(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [_one(method, config, folder, row) for row in rows]

    return work


def _one(
    method: Method, config: SweepConfig, folder: Path, row: Mapping[str, Any]
) -> dict[str, Any]:
    settings = _settings(method, config, row)
    name = "_".join(f"{key}-{quote(str(value), safe=' ')}" for key, value in row.items())
    result = decompose(method, settings, folder / name)
    seeds = settings.seeds
    return {
        "settings": dict(row),
        "folder": name,
        "figures": {key: values[:seeds] for key, values in result.judgment.figures.items()},
        "nulls": {key: values[seeds:] for key, values in result.judgment.figures.items()},
    }


def _report(method: str, config: SweepConfig, found: Sequence[Mapping[str, Any]]) -> Report:
    # Runs of unlike shapes have unlike figures: a cell stays empty where a run has not this one.
    names = dict.fromkeys(name for one in found for name in one["figures"])
    columns = [" ".join(f"{k}={v}" for k, v in one["settings"].items()) for one in found]
    rows: list[list[Cell]] = []
    for name in names:
        of_seeds = [one["figures"].get(name) for one in found]
        rows.append([name, *(mean_over_seeds(values) if values else None for values in of_seeds)])
        nulls = [one["nulls"].get(name) for one in found]
        if any(nulls):
            rows.append([f"{name}, random network", *(v[0] if v else None for v in nulls)])
    table = Table(["figure", *columns], rows, "means over seeds, 95 % intervals", spec=".4g")
    title = f"{method.upper()} of {config.preset}: {', '.join(config.vary)}"
    return Report(title, f"{len(found)} runs.", [Section("Figures", [table])])
