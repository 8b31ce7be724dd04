"""Results as reports: one HTML page and the same values as JSON, a null model in every table.

Takes results that are already computed; arranges them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from custodes.measure import (
    Card,
    Cards,
    Plot,
    Plots,
    Prose,
    Report,
    Section,
    Series,
    Table,
    bootstrap,
    line_plot,
    over_seeds,
)
from custodes.measure.report import Cell
from custodes.methods.sae.jackknife import mean_over_pairs
from custodes.methods.sae.metrics import Quality
from custodes.methods.sae.seeds import Overlap
from custodes.methods.sae.toy import DATA, ToyPoint
from custodes.methods.sae.training import Trained

__all__ = ["compare_report", "describe_report", "mean_interval", "null_report", "pairs_interval",
           "seeds_interval", "toy_report", "train_report"]  # fmt: skip

_QUALITY = ["autoencoder", "explained variance", "mean over dimensions", "cosine", "L0", "L1",
            "dead"]  # fmt: skip
_OVERLAP = ["pair", "shared (strict)", "index agreement", "mutual nearest", "mean-max cosine",
            "matched, decoder", "matched, encoder", "optimum proven"]  # fmt: skip
_NULL_NOTE = "Rows marked null are no autoencoders that learned anything: read the others against."


def mean_interval(values: Sequence[float], seed: int = 0) -> Cell:
    """Mean of latents or features with a bootstrap interval over them; a lone one has none."""
    kept = np.array([value for value in values if np.isfinite(value)])
    if not len(kept):
        return None
    if len(kept) == 1:
        return float(kept[0])
    return bootstrap(np.mean, kept, seed=seed)


def seeds_interval(values: Sequence[float]) -> Cell:
    """Mean of seeds with `over_seeds`' interval, as there are few; a lone seed has none."""
    return over_seeds(values) if len(values) else None


def pairs_interval(values: Sequence[float]) -> Cell:
    """Mean over pairs of seeds with `mean_over_pairs`' interval; a lone pair has none."""
    found = mean_over_pairs(values)
    return found if np.isfinite(found.low) else found.value


def _quality_row(name: str, found: Quality) -> list[Cell]:
    return [name, found.explained, found.explained_mean, found.cosine, found.l0, found.l1,
            found.dead]  # fmt: skip


def _overlap_row(name: str, found: Overlap) -> list[Cell]:
    return [name, found.shared, found.agreement, found.mutual, found.mean_max, found.decoder,
            found.encoder, found.certified]  # fmt: skip


def train_report(
    trained: Sequence[Trained], nulls: Sequence[Trained], facts: Mapping[str, Cell]
) -> Report:
    """Figures of every autoencoder beside its null, and the curves of training."""
    rows = [_quality_row(one.name, one.quality) for one in trained]
    rows += [_quality_row(f"null: {one.name}, random directions", one.quality) for one in nulls]
    curves = [Series(one.name, *_thinned(one.losses)) for one in trained[:8] if len(one.losses) > 1]
    note = (
        "On rows that were not trained on. Explained variance is global: 1 - squared error / "
        "squared distance from the mean of all rows; beside it the same of each dimension alone, "
        "averaged. Dead: never active on these rows. "
    )
    blocks = [Table(_QUALITY, rows, note + _NULL_NOTE)]
    sections = [Section("Reconstruction", blocks)]
    if curves:
        plot = line_plot(curves, title="Training", x_label="step", y_label="squared error")
        sections.append(Section("Training", [Plots([Plot(plot, "first eight, smoothed")])]))
    return Report(
        "Sparse autoencoders: training",
        f"{len(trained)} autoencoders from one pass over one store.",
        sections,
        facts,
    )


def _thinned(losses: Sequence[float], points: int = 60) -> tuple[Sequence[float], Sequence[float]]:
    parts = np.array_split(np.array(losses), min(points, len(losses)))
    ends = np.cumsum([len(part) for part in parts])
    return ends.tolist(), [float(part.mean()) for part in parts]


def compare_report(
    pairs: Mapping[str, Overlap],
    nulls: Mapping[str, Overlap],
    qualities: Mapping[str, Quality],
    facts: Mapping[str, Cell],
    *,
    judged: str = "",
) -> Report:
    """Pairs of autoencoders with nulls below, the mean over pairs, L0 and variance if known.

    `judged`: which rows those are of.
    """
    rows = [_overlap_row(name, found) for name, found in pairs.items()]
    rows += [_overlap_row(f"null: {name}", found) for name, found in nulls.items()]
    cards = [
        Card(label, pairs_interval([getattr(one, name) for one in pairs.values()]), note)
        for label, name, note in (
            ("shared (strict)", "shared", "same partner in both, both cosines ≥ .7"),
            ("index agreement", "agreement", "same partner in both"),
            ("mutual nearest", "mutual", "decoder"),
            ("mean-max cosine", "mean_max", "decoder"),
        )
    ]
    note = (
        "Intervals (95 %) leave one autoencoder out at a time, with all its pairs; of two "
        "autoencoders there is none. A permuted autoencoder must share 100 %, random directions "
        "about nothing. "
    )
    sections = [Section("Shared features", [Cards(cards), Table(_OVERLAP, rows, note)])]
    if qualities:
        table = Table(_QUALITY, [_quality_row(*one) for one in qualities.items()], judged)
        sections.append(Section("What was compared", [table]))
    else:
        warning = "No store was given, so L0 and explained variance are not known (--store)."
        sections.append(Section("What was compared", [Prose(warning)]))
    return Report(
        "Sparse autoencoders: do seeds agree?",
        f"{len(pairs)} pairs, decoder and encoder matched separately at the greatest total cosine.",
        sections,
        facts,
    )


def null_report(rows: Sequence[Mapping[str, Cell]], facts: Mapping[str, Cell]) -> Report:
    """Random networks beside the trained one; one row a network and hook."""
    names = list(rows[0]) if rows else ["network"]
    table: list[list[Cell]] = [[row[name] for name in names] for row in rows]
    note = (
        "AUROC is of token lookup: the mean activation of each token on other texts, no judge. "
        "The CE score (1: the autoencoder saves all that zeros cost) says something of the "
        "trained network only, and is computed for that. Entropy of active latents over tokens, in "
        "nats, weighted by activation in all held-out contexts (the paper's is over max-activating "
        "examples). Not scored: latents too rare for an AUROC or an entropy, left out of its mean."
    )
    return Report(
        "Sparse autoencoders: would a random network do?",
        "The same autoencoder trained on networks that learned nothing.",
        [Section("Networks", [Table(names, table, note)])],
        facts,
    )


def describe_report(
    scores: Mapping[str, Mapping[str, Sequence[float]]],
    facts: Mapping[str, Cell],
    *,
    intruders: Mapping[str, Sequence[float]],
) -> Report:
    """Mean of each score by method with bootstrap intervals over features.

    `intruders`: row -> figures of features, as `find_intruders` gives them.
    """
    names = list(next(iter(scores.values())))
    rows: list[list[Cell]] = [
        [method, *(mean_interval(found[name]) for name in names)]
        for method, found in scores.items()
    ]
    note = (
        "Input: active texts above neutral ones, strictly. Output: the true description among "
        "three sets of steered texts, fit under clamps up less that under clamps down, chance "
        ".333. Detection: AUROC, chance .5. The null row scores each feature by another one's "
        "description; a lone feature has none."
    )
    sections = [Section("Methods", [Table(["method", *names], rows, note)])]
    if intruders:
        found_among: list[list[Cell]] = [
            [name, mean_interval(values)] for name, values in intruders.items()
        ]
        note = (
            "Is the intruder the text least like the others, which are a feature's own top "
            "examples but one? No description is asked for. Features with fewer than three "
            "examples are left out."
        )
        table = Table(["intruder", "found"], found_among, note)
        sections.append(Section("Intruders", [table]))
    return Report(
        "Sparse autoencoders: descriptions from both ends",
        "Judge and explainer are named below; figures hold for them alone.",
        sections,
        facts,
    )


def toy_report(points: Sequence[ToyPoint], facts: Mapping[str, Cell]) -> Report:
    """Explained variance against L0 on the three data sets, and MMCS by penalty."""
    frontier, rows = [], []
    for name in DATA:
        chosen = [point for point in points if point.data == name]
        penalties = sorted({point.penalty for point in chosen})
        groups = [[one for one in chosen if one.penalty == penalty] for penalty in penalties]
        means = sorted(
            (float(np.mean([one.l0 for one in group])),
             float(np.mean([one.explained for one in group]))) for group in groups
        )  # fmt: skip
        frontier.append(Series(name, [one for one, _ in means], [two for _, two in means]))
        for penalty, group in zip(penalties, groups, strict=True):
            found = [one.mmcs for one in group if one.mmcs is not None]
            cells: list[Cell] = [seeds_interval([getattr(one, figure) for one in group])
                                 for figure in ("explained", "l0")]  # fmt: skip
            rows.append([f"{name}, L1 {penalty:g}", *cells, seeds_interval(found)])
    plot = line_plot(frontier, title="What sparsity costs", x_label="L0",
                     y_label="explained variance")  # fmt: skip
    note = "Means over seeds with Student's t intervals (95 %)."
    table = Table(["data", "explained variance", "L0", "MMCS"], rows, note)
    return Report(
        "Sparse autoencoders: the toy model",
        "Sparse inputs, a Gaussian control of the same covariance, outputs of a random MLP.",
        [Section("Frontier", [Plots([Plot(plot)]), table])],
        facts,
    )
