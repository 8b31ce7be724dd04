"""The published trials of Geirhos et al. 2020: exact figures, and the trend that turns around."""

from __future__ import annotations

from typing import Any

import numpy as np

from custodes.data import find
from custodes.errors import DataError
from custodes.methods.similarity.inputs import read_answers
from custodes.methods.similarity.inputs.trials import observer_kind
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
        if name == "cue-conflict":
            rows += ends(found.found, read_answers(path, format="error-consistency").answers)
    return rows


def ends(found: Any, answers: Any) -> list[dict]:
    """What each metric sees at both ends of accuracy: 60 pairs of networks of the lowest, and 60
    of the highest (docs/similarity.md, "Same data, opposite trend")."""
    of = np.array([observer_kind(name) == "network" for name in found.names])
    accuracy = found.accuracy[of]
    first, second = np.triu_indices(len(accuracy), k=1)
    order = np.argsort((accuracy[first] + accuracy[second]) / 2, kind="stable")
    taken = answers.take(list(found.names))
    given, truth = taken.probabilities[of].argmax(axis=2), taken.labels
    rows = [
        {"figure": f"{which} accuracy of a network, cue-conflict", "value": float(value)}
        for which, value in (("least", accuracy.min()), ("greatest", accuracy.max()))
    ]
    for which, pairs in (("lowest", order[:60]), ("highest", order[-60:])):
        label = f"60 pairs of {which} accuracy, cue-conflict"
        for metric in TRENDS:
            values = found.matrix(metric)[np.ix_(of, of)][first[pairs], second[pairs]]
            rows.append({"figure": f"mean {metric}, {label}", "value": float(values.mean())})
        one, other = given[first[pairs]], given[second[pairs]]
        wrong = (one != truth) & (other != truth)
        alike = float((one == other)[wrong].mean())
        rows.append({"figure": f"same answer where both are wrong, {label}", "value": alike})
    return rows
