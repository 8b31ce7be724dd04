"""All figures of a finished decomposition, for every instance, on rows that it did not see."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from custodes.methods.decomposition.base import Decomposition
from custodes.methods.decomposition.config import RunConfig
from custodes.methods.decomposition.losses import faithfulness
from custodes.methods.decomposition.metrics.activity import active_per_row, alive
from custodes.methods.decomposition.metrics.columns import match_columns, match_mechanisms
from custodes.methods.decomposition.metrics.importance import wrong
from custodes.methods.decomposition.metrics.reconstruction import reconstruction
from custodes.methods.decomposition.metrics.stability import Matching, cosines, match
from custodes.methods.decomposition.targets.base import Batch, generators

__all__ = ["Judgment", "judge"]

_JUDGE = 4  # purpose of generators


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgment:
    """What was found.

    `figures`: name -> one value an instance, NaN where training diverged. `probes`: group of
    components -> importances on one-hot inputs [I, features, C]; empty where inputs have no
    features. `alive`: group -> [I, C]. `matchings`: (seed, seed, group) -> how well their living
    components match, of seeds that did not diverge; empty where they have targets of their own.
    """

    figures: dict[str, list[float]]
    probes: dict[str, NDArray[np.float64]]
    alive: dict[str, Tensor]
    matchings: dict[tuple[int, int, str], Matching]

    @property
    def whole(self) -> list[bool]:
        """Whether an instance's components are finite, that is, its training did not diverge."""
        return [math.isfinite(value) for value in self.figures["faithfulness"]]


def judge(decomposition: Decomposition, config: RunConfig, seeds: Sequence[int]) -> Judgment:
    """Every figure that the target allows; `seeds` are those of the instances, nulls last."""
    draw = generators(seeds, config.device, purpose=_JUDGE)
    batch = decomposition.target.sample(draw, config.judged_rows)
    with torch.no_grad():
        found = {
            "faithfulness": _list(faithfulness(decomposition.target.weights, _sums(decomposition)))
        }
        groups = decomposition.importances(batch)
    rebuilt = reconstruction(
        decomposition, batch, draw, steps=config.attack_steps, rate=config.attack_rate
    )
    found |= {f"reconstruction, {name}": _list(value) for name, value in rebuilt.items()}
    living = {}
    for group, importances in groups.items():
        living[group] = alive(importances, batch.weight)
        found[f"alive, {group}"] = _list(living[group].sum(dim=1).float())
        found[f"active, {group}"] = _list(active_per_row(importances, batch.weight))
    probes = _probe(decomposition)
    found |= _directions(decomposition, living) | _errors(decomposition, probes)
    whole = [math.isfinite(value) for value in found["faithfulness"]]
    real = [i for i in range(config.seeds) if whole[i]]
    compare = {} if config.target.own else _compare(decomposition, living, seeds, real)
    # Comparisons with NaN are false, so that counts of a diverged instance are 0, not NaN.
    figures = {
        name: [value if sound else math.nan for value, sound in zip(values, whole, strict=True)]
        for name, values in found.items()
    }
    return Judgment(figures=figures, probes=probes, alive=living, matchings=compare)


def _sums(decomposition: Decomposition) -> dict[str, Tensor]:
    return {name: found.detach() for name, found in decomposition.sums().items()}


def _list(values: Tensor) -> list[float]:
    return [float(value) for value in values.tolist()]


def _probe(decomposition: Decomposition) -> dict[str, NDArray[np.float64]]:
    """Importances where one feature alone is present."""
    inputs = decomposition.target.probes()
    if inputs is None:
        return {}
    weight = torch.ones(inputs.shape[:2], device=inputs.device)
    with torch.no_grad():
        found = decomposition.probed(Batch(inputs, weight, inputs.shape[1]))
    return {group: value.cpu().double().numpy() for group, value in found.items()}


def _directions(
    decomposition: Decomposition, living: Mapping[str, Tensor]
) -> dict[str, list[float]]:
    """MMCS and ML2R of the known columns, or of mechanisms that were coded by hand."""
    target = decomposition.target
    found: dict[str, list[float]] = {}
    with torch.no_grad():
        if (name := target.facts.columns) is not None:
            of_all, of_living = [], []
            for i, alive_here in enumerate(living[decomposition.group_of(name)]):
                columns, components = target.weights[name][i], decomposition.matrices(name, i)
                of_all.append(match_columns(columns, components))
                of_living.append(match_columns(columns, components[alive_here]))
            found |= {"MMCS": [m.mmcs for m in of_all], "ML2R": [m.ml2r for m in of_all]}
            found["MMCS, living"] = [m.mmcs for m in of_living]
            found["ML2R, living"] = [m.ml2r for m in of_living]
        for name, truth in target.facts.truth.items():
            matched = [
                match_mechanisms(truth[i], decomposition.matrices(name, i))
                for i in range(len(truth))
            ]
            found[f"MMCS, {name}"] = [m.mmcs for m in matched]
            found[f"ML2R, {name}"] = [m.ml2r for m in matched]
    return found


def _errors(
    decomposition: Decomposition, probes: dict[str, NDArray[np.float64]]
) -> dict[str, list[float]]:
    """Wrong causal importances by matrix, where it is known what they should be."""
    found = {}
    for name, pattern in decomposition.target.facts.patterns.items():
        group = decomposition.group_of(name)
        if group in probes and probes[group].shape[2] >= pattern.count:
            found[f"wrong importances, {name}"] = [
                float(wrong(one, pattern)) if np.isfinite(one).all() else math.nan
                for one in probes[group]
            ]
    return found


def _compare(
    decomposition: Decomposition,
    living: dict[str, Tensor],
    seeds: Sequence[int],
    real: Sequence[int],
) -> dict[tuple[int, int, str], Matching]:
    """Living components of every two of the instances `real`, matched within each group."""
    members: dict[str, list[str]] = {group: [] for group in living}
    for name in decomposition.target.weights:
        if name not in decomposition.target.facts.tied:
            members[decomposition.group_of(name)].append(name)
    found = {}
    with torch.no_grad():
        for group, names in members.items():
            if not names:
                continue
            kept = {
                i: [decomposition.matrices(name, i)[living[group][i]] for name in names]
                for i in real
            }
            for i, j in itertools.combinations(real, 2):
                found[seeds[i], seeds[j], group] = match(cosines(kept[i], kept[j]))
    return found
