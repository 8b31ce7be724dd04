"""The published trials of Geirhos et al. 2020: exact figures, and the trend that turns around."""

from __future__ import annotations

from typing import Any

from custodes.data import find
from custodes.errors import DataError
from custodes.methods.similarity.reproduce import EXPERIMENTS, error_consistency_experiment

KINDS = ("people-people", "people-CNN", "CNN-CNN")
TARGETS = {
    "cue-conflict": (0.331, 0.059, 0.576),
    "edges": (0.318, 0.047, 0.398),
    "silhouettes": (0.476, 0.293, 0.556),
}
TRENDS = {"error-consistency": "0.10 +- 0.005", "capa-discrete": "-0.48 +- 0.005"}


def figures(options: Any) -> list[dict]:
    rows = []
    for name in EXPERIMENTS:
        try:
            path = find(f"error_consistency_{name.replace('-', '_')}")
        except DataError as error:
            print(f"  skipped: {error}")
            return []
        found = error_consistency_experiment(name, path)
        for kind, value, target in zip(
            KINDS, found.means["error-consistency"], TARGETS[name], strict=True
        ):
            figure = f"mean error consistency {kind}, {name}"
            rows.append({"figure": figure, "value": value, "target": f"{target} +- 0.0006"})
        for kind, value in zip(KINDS, found.means["capa-discrete"], strict=True):
            rows.append({"figure": f"mean discrete CAPA {kind}, {name}", "value": value})
        for metric, value in found.trends.items():
            target = TRENDS[metric] if name == "cue-conflict" else ""
            figure = f"correlation of {metric} with mean accuracy over CNN pairs, {name}"
            rows.append({"figure": figure, "value": value, "target": target})
    return rows
