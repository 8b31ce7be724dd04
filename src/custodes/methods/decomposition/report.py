"""What was found as a report: one HTML page and the same values as JSON.

Takes a judged decomposition; draws and arranges.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from custodes.measure import (
    Card,
    Cards,
    Interval,
    Plot,
    Plots,
    Prose,
    Report,
    Section,
    Table,
    over_seeds,
)
from custodes.measure.report import Cell
from custodes.methods.decomposition.base import Decomposition
from custodes.methods.decomposition.config import RunConfig, SPDConfig
from custodes.methods.decomposition.drawings import (
    contribution_scatter,
    curve_plot,
    importance_map,
    vector_panels,
)
from custodes.methods.decomposition.judging import Judgment
from custodes.methods.decomposition.metrics.stability import SHARED
from custodes.methods.decomposition.targets.residual import ResidualMLP

__all__ = ["mean_over_seeds", "run_report"]

_NULL = "random network"

_READING = """\
faithfulness: squared distance of the components' sum from the matrices, a parameter. \
reconstruction: divergence of the outputs from the target's on rows drawn anew, with \
all components, with the important ones only, with the worst masks that an attack found (the same \
for all rows), and with none, which is the scale of the others. alive: components that are \
needed on some row. active: needed on a row, on average.

MMCS and ML2R: is there a component for each known column, of its direction (1 is the same) and \
of its length (1 is the same)? In few dimensions a dead component may point along a column by \
chance, so read them of living ones, too. wrong importances: entries that are off what one feature \
alone should need, after the best permutation; 0 is solved.

The random network has the same shape and nothing learned in the decomposed matrices. A figure \
that is as good there says nothing about what the target has learned."""


def run_report(
    method: str,
    config: RunConfig,
    decomposition: Decomposition,
    judgment: Judgment,
    curve: Sequence[Mapping[str, Any]],
) -> Report:
    """The whole page."""
    sections = [
        Section("In short", [Cards(_cards(config, judgment))]),
        Section("Figures", [_figures(config, judgment), Prose(_READING)]),
    ]
    if pictures := _pictures(_shown(config, judgment), decomposition):
        sections.append(Section("What was found", [Plots([one]) for one in pictures]))
    if judgment.probes:
        sections.append(_importances(config, decomposition, judgment))
    if judgment.matchings:
        sections.append(_stability(judgment))
    sections.append(_training(config, curve))
    target = config.target.kind
    facts: dict[str, Cell] = {
        "target": decomposition.target.facts.origin or target,
        "first seed": config.first_seed,
        "steps": config.steps,
        "components": config.components,
        "processor seconds of training": float(curve[-1]["seconds"]),
    }
    seeds = f"{config.seeds} seed{'s' * (config.seeds != 1)}"
    nulls = f"{config.nulls} random network{'s' * (config.nulls != 1)}"
    summary = (
        f"{seeds} and {nulls} side by side, "
        f"{config.components} components"
        + (" a matrix, " if isinstance(config, SPDConfig) else ", ")
        + f"{config.steps:,} steps of {config.batch:,} rows."
    )
    title = f"{method.upper()} of {decomposition.target.facts.origin or target}"
    return Report(title, summary, sections, facts)


def _cards(config: RunConfig, judgment: Judgment) -> list[Card]:
    figures, real = judgment.figures, slice(0, config.seeds)
    cards = []
    if lost := judgment.whole[real].count(False):
        cards.append(Card("diverged", f"{lost} of {config.seeds}", "seeds, not in the means"))
    for name in figures:
        if name.startswith(("MMCS", "ML2R")) and not name.endswith("living"):
            cards.append(
                Card(name, mean_over_seeds(figures[name][real]), "mean over seeds", spec=".4f")
            )
        if name.startswith("wrong"):
            solved = sum(value == 0 for value in figures[name][real])
            cards.append(Card(name, f"{solved} of {config.seeds}", "seeds with none wrong"))
    scale = np.array(figures["reconstruction, none"][real])
    for kind, name in (("important", "important components"), ("worst", "worst masks")):
        share = np.array(figures[f"reconstruction, {kind}"][real]) / np.maximum(scale, 1e-30)
        cards.append(
            Card(f"error, {name}", mean_over_seeds(share.tolist()), "1: no component", spec=".2g")
        )
    return cards


def mean_over_seeds(values: Sequence[float]) -> Interval:
    """With its interval, over the seeds that did not diverge; of none, NaN."""
    finite = [value for value in values if math.isfinite(value)]
    return over_seeds(finite or [math.nan])


def _shown(config: RunConfig, judgment: Judgment) -> list[tuple[int, str]]:
    """Whom pictures are of: the first seed that did not diverge, and a random network likewise."""
    whole = judgment.whole
    seeds = [(i, f"seed {config.first_seed + i}") for i in range(config.seeds) if whole[i]]
    nulls = [(i, _NULL) for i in range(config.seeds, len(whole)) if whole[i]]
    return seeds[:1] + nulls[:1]


def _figures(config: RunConfig, judgment: Judgment) -> Table:
    columns = ["figure", "mean over seeds"]
    columns += [f"seed {config.first_seed + i}" for i in range(config.seeds)]
    columns += [_NULL if config.nulls == 1 else f"{_NULL} {i + 1}" for i in range(config.nulls)]
    rows: list[list[Cell]] = [
        [name, mean_over_seeds(values[: config.seeds]), *values]
        for name, values in judgment.figures.items()
    ]
    return Table(columns, rows, "95 % intervals are Student's t over seeds", spec=".4g")


def _numpy(tensor: Any) -> NDArray[np.float64]:
    return np.asarray(tensor.detach().cpu().double().numpy())


def _pictures(shown: Sequence[tuple[int, str]], decomposition: Decomposition) -> list[Plot]:
    """Vectors of a TMS with two hidden numbers, contributions of a residual MLP."""
    target, pictures = decomposition.target, []
    name = target.facts.columns
    if name is not None and target.weights[name].shape[2] == 2:
        sums = decomposition.sums()[name]
        for instance, caption in shown:
            svg = vector_panels(
                _numpy(target.weights[name][instance]),
                _numpy(sums[instance]),
                _numpy(decomposition.matrices(name, instance)),
                title=f"Columns of {name}",
            )
            pictures.append(Plot(svg, caption))
    if isinstance(target, ResidualMLP):
        for instance, caption in shown:
            wanted, found = _contributions(target, decomposition, instance)
            svg = contribution_scatter(wanted, found, title="Neuron contributions")
            pictures.append(Plot(svg, caption))
    return pictures


def _contributions(
    target: ResidualMLP, decomposition: Decomposition, instance: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[features, neurons of all layers] of the target, and of each feature's own component.

    (W_U W_out) x (W_in W_E) by neuron (arXiv 2506.20790, section "Compressed computation"); the
    component is the one that contributes most.
    """
    embedding = _numpy(target.embedding[instance])
    sums = decomposition.sums()
    wanted, found = [], []
    for layer in range(target.config.layers):
        into, out = f"layers.{layer}.in", f"layers.{layer}.out"
        reads = embedding @ _numpy(target.weights[into][instance])
        wanted.append(reads * (_numpy(target.weights[out][instance]) @ embedding.T).T)
        writes = (_numpy(sums[out][instance]) @ embedding.T).T
        parts = np.einsum(
            "fd,cdn->cfn", embedding, _numpy(decomposition.matrices(into, instance)), optimize=True
        )
        each = parts * writes
        best = np.argmax((each**2).sum(axis=2), axis=0)
        found.append(each[best, np.arange(len(embedding))])
    return np.concatenate(wanted, axis=1), np.concatenate(found, axis=1)


def _importances(config: RunConfig, decomposition: Decomposition, judgment: Judgment) -> Section:
    """A map a group of components, of the first seed and of a random network."""
    patterns = {
        decomposition.group_of(name): pattern
        for name, pattern in reversed(list(decomposition.target.facts.patterns.items()))
    }
    plots = []
    for group, values in judgment.probes.items():
        pattern = patterns.get(group)
        fits = pattern is not None and values.shape[2] >= max(pattern.count, values.shape[1])
        for instance, caption in _shown(config, judgment):
            svg = importance_map(values[instance], pattern if fits else None, title=group)
            plots.append(Plot(svg, caption))
    note = (
        "How much each component is needed where one feature alone is present. Where every "
        "feature has a component of its own, the diagonal is dark and nothing else is; a matrix "
        "that works as a whole has as many dark columns as its rank."
    )
    return Section("Importances on one-hot inputs", [Prose(note), Plots(plots)])


def _stability(judgment: Judgment) -> Section:
    rows: list[list[Cell]] = [
        [f"{group}: seeds {first} and {second}", matching.mean, matching.shared]
        for (first, second, group), matching in judgment.matchings.items()
    ]
    table = Table(
        ["components", "mean cosine", f"share at {SHARED:g} or more"],
        rows,
        "living components of two seeds on one target, matched one to one",
    )
    return Section("Do seeds agree?", [table])


def _training(config: RunConfig, curve: Sequence[Mapping[str, Any]]) -> Section:
    losses = [name for name in curve[0] if name not in ("step", "seconds", "total")]
    whom = [(slice(0, config.seeds), "mean over seeds")]
    if config.nulls:
        whom.append((slice(config.seeds, None), _NULL))
    plots = [
        Plot(curve_plot(curve, losses, instances, title="Losses"), caption)
        for instances, caption in whom
        if any(np.isfinite(line["total"][instances]).any() for line in curve)
    ]
    return Section("Training", [Plots(plots)])
