"""What the studies found as a report: one HTML page and the same values as JSON.

Takes results that are already computed; draws and arranges them. Knows no model and no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from custodes.measure import (
    Card,
    Cards,
    Plot,
    Plots,
    Prose,
    Report,
    Section,
    Table,
)
from custodes.measure.report import Cell
from custodes.methods.similarity.answers import Answers, Floats
from custodes.methods.similarity.capability import TrendBin, capability
from custodes.methods.similarity.config import MatrixConfig
from custodes.methods.similarity.drawings import clustered_map, scatter_plot, trend_plot
from custodes.methods.similarity.judges import Affinity, JudgeRun, Marks
from custodes.methods.similarity.matrix import Similarities
from custodes.methods.similarity.metrics import METRICS, Pair, find_metric
from custodes.methods.similarity.panel import warnings_of
from custodes.methods.similarity.studies import Correlation, residuals
from custodes.methods.similarity.uncertainty import bootstrap_interval, jackknife_interval
from custodes.methods.similarity.weak_to_strong import (
    GainRecord,
    gain_study,
    gain_study_of_pairs,
)

__all__ = ["affinity_report", "gain_report", "matrix_report", "pair_table"]

_MOST_ON_A_MAP = 150
_SHARES = frozenset({"agreement", "both-wrong"})
"""Metrics whose zero means nothing in particular."""

_FEWEST_PAIRS = 10

_CEILING = (
    "κp of soft answers cannot reach 1, not even for a model with itself: it falls with their "
    "entropy. The ceiling is the κp that the pair would have at the largest overlap its sharpness "
    "allows; read κp as a share of it before you compare pairs of different sharpness."
)


def matrix_report(
    answers: Answers, found: Similarities, config: MatrixConfig, *, judges: Sequence[str] = ()
) -> Report:
    """All pairs: heat maps, pairs with intervals, capability against similarity, warnings."""
    sections = [_overview(answers, found), _maps(found), _pairs(answers, found, config)]
    if len(found.names) > 4:
        sections.append(_capability(answers, found, config.seed))
    if judges:
        sections.append(_warnings(found, judges, config.warn_above))
    return Report(
        "Who agrees with whom",
        f"{len(found.names)} models, {found.questions} questions; leading metric "
        f"{METRICS[config.metrics[0]].title}.",
        sections,
        {"seed": config.seed, "metrics": ", ".join(config.metrics)},
    )


def _overview(answers: Answers, found: Similarities) -> Section:
    own = found.values.get("capa")
    rows: list[list[Cell]] = [
        [
            name,
            float(accuracy),
            float(mass),
            None if own is None else float(own[row, row]),
        ]
        for row, (name, accuracy, mass) in enumerate(
            zip(found.names, answers.accuracy(), found.mass, strict=True)
        )
    ]
    columns = ["model", "accuracy", "mean p(right)", "κp with itself"]
    return Section("Models", [Table(columns, rows), Prose(_CEILING)])


def _maps(found: Similarities) -> Section:
    if len(found.names) > _MOST_ON_A_MAP:
        text = f"Left out for more than {_MOST_ON_A_MAP} models; the numbers are in matrix.npz."
        return Section("All pairs", [Prose(text)])
    plots = [
        Plot(
            clustered_map(
                matrix, found.names, title=METRICS[name].title, diverging=name not in _SHARES
            )
        )
        for name, matrix in found.values.items()
        if np.isfinite(matrix).any()
    ]
    return Section("All pairs", [Plots(plots), Prose("Models that err alike stand side by side.")])


def _pairs(answers: Answers, found: Similarities, config: MatrixConfig) -> Section:
    names = list(combinations(range(len(found.names)), 2))
    lead = found.matrix(config.metrics[0])
    names.sort(key=lambda pair: -np.nan_to_num(lead[pair], nan=-9.0))
    shown = names if len(names) <= config.pairs_with_intervals else names[:50]
    rows: list[list[Cell]] = []
    for first, second in shown:
        pair = Pair(
            answers.probabilities[first],
            answers.probabilities[second],
            answers.labels,
            answers.options,
        )
        cells = [
            bootstrap_interval(
                find_metric(name),
                pair,
                groups=answers.groups,
                resamples=config.resamples,
                seed=config.seed,
            )
            for name in found.values
        ]
        ceiling = None if found.ceiling is None else float(found.ceiling[first, second])
        rows.append([f"{found.names[first]} · {found.names[second]}", *cells, ceiling])
    columns = ["pair", *(METRICS[name].title for name in found.values), "κp ceiling"]
    note = f"{len(rows)} of {len(names)} pairs, most alike first; 95 % bootstrap intervals."
    return Section("Pairs", [Table(columns, rows, note)])


def _capability(answers: Answers, found: Similarities, seed: int) -> Section:
    accuracy = answers.accuracy()
    trends: dict[str, Sequence[TrendBin]] = {}
    correlations: list[list[Cell]] = []
    for name, matrix in found.values.items():
        if (~np.isnan(found.pairs(name))).sum() < _FEWEST_PAIRS:
            continue
        one = capability(matrix, accuracy, seed=seed)
        if not np.isnan(one.correlation.value):
            trends[METRICS[name].title] = one.bins
            correlations.append([METRICS[name].title, one.correlation])
    if not trends:
        return Section("Capability and similarity", [Prose("Too few pairs, or no variation.")])
    plot = trend_plot(
        trends, title="Similarity by capability", x_label="mean accuracy of the pair",
        y_label="similarity",
    )  # fmt: skip
    note = (
        "The sign of a capability trend can depend on the metric: error consistency sees only "
        "right and wrong; CAPA also sees which wrong option, and expects chance agreement to fall "
        "with the number of options. Pairs share models, so the intervals resample models."
    )
    table = Table(["metric", "correlation with mean accuracy"], correlations)
    return Section("Capability and similarity", [Plots([Plot(plot)]), table, Prose(note)])


def _warnings(found: Similarities, judges: Sequence[str], above: float) -> Section:
    pairs = warnings_of(found, judges, above=above)
    text = (
        "\n\n".join(map(str, pairs)) or f"No judge reaches {above:.0%} of its ceiling with a model."
    )
    return Section("Judges that resemble the judged", [Prose(text)])


def pair_table(answers: Answers, first: str, second: str, config: MatrixConfig) -> Table:
    """Every metric of one pair with bootstrap and jackknife intervals."""
    pair = Pair(answers.row(first), answers.row(second), answers.labels, answers.options)
    rows: list[list[Cell]] = []
    for metric in METRICS.values():
        drawn = bootstrap_interval(
            metric, pair, groups=answers.groups, resamples=config.resamples, seed=config.seed
        )
        left = jackknife_interval(metric, pair, groups=answers.groups)
        rows.append([metric.title, drawn, left])
    return Table(["metric", "bootstrap", "jackknife"], rows, f"{first} · {second}")


def _correlation_cells(found: Correlation) -> list[Cell]:
    return [found.interval, found.clustered, found.p, found.rows]


def gain_report(records: Sequence[GainRecord], *, seed: int = 0) -> Report:
    """Weak-to-strong gain against similarity given the accuracy gap: all rows and each pair."""
    whole = gain_study(records, seed=seed)
    kinds = ("capa", "capa-discrete", "error-consistency")
    by_metric: list[list[Cell]] = [
        [METRICS[name].title, *_correlation_cells(gain_study(records, metric=name, seed=seed))]
        for name in kinds
    ]
    by_pair: list[list[Cell]] = [
        [f"{weak} → {strong}", *_correlation_cells(found)]
        for (weak, strong), found in gain_study_of_pairs(records, seed=seed).items()
    ]
    tasks = len({record.task for record in records})
    columns = ["", "partial r (Fisher)", "clustered by task", "p", "rows"]
    specs = [".3f", ".3f", ".3f", ".2g", ".0f"]
    return Report(
        "Weak-to-strong gain against similarity",
        f"{len(records)} rows over {tasks} tasks. The paper (arXiv 2502.04313) has "
        "-0.351 [-0.47, -0.22] over 180 rows of much larger models.",
        [
            Section("Partial correlation of gain with κp given the gap", [
                Cards([Card("partial r, clustered by task", whole.clustered or whole.interval)]),
                Plots(_added_variable(records)),
                Table(columns, by_metric, "by metric", specs),
                Table(columns, by_pair, "by pair of supervisor and student, κp", specs),
            ]),
            Section("Accuracies", [_accuracy_table(records)]),
        ],
        {"seed": seed},
    )  # fmt: skip


def _added_variable(records: Sequence[GainRecord]) -> list[Plot]:
    """Partial regression: residuals of gain over residuals of κp."""
    kept = [record for record in records if not np.isnan(record.capa)]
    if not kept:
        return []
    gap = [[record.gap for record in kept]]
    x = residuals([record.capa for record in kept], gap)
    y = residuals([record.gain for record in kept], gap)
    groups: dict[str, tuple[list[float], list[float]]] = {}
    for record, a, b in zip(kept, x, y, strict=True):
        columns = groups.setdefault(f"{record.weak} → {record.strong}", ([], []))
        columns[0].append(float(a))
        columns[1].append(float(b))
    drawing = scatter_plot(
        groups, title="Partial regression", x_label="κp, gap removed", y_label="gain, gap removed"
    )
    return [Plot(drawing, "What the accuracy gap leaves of both.")]


def _accuracy_table(records: Sequence[GainRecord]) -> Table:
    pairs: dict[tuple[str, str], list[GainRecord]] = {}
    for record in records:
        pairs.setdefault((record.weak, record.strong), []).append(record)
    rows: list[list[Cell]] = []
    for (weak, strong), found in sorted(pairs.items()):
        means = [
            float(np.mean([getattr(record, name) for record in found]))
            for name in ("weak_accuracy", "base_accuracy", "student_accuracy", "gain", "capa")
        ]
        rows.append([f"{weak} → {strong}", *means])
    columns = ["pair", "weak", "strong base", "student", "gain", "κp"]
    return Table(columns, rows, "means over tasks, on the test part")


def affinity_report(
    run: Marks, found: Sequence[Affinity], alike: Similarities, *, warn_above: float = 0.5
) -> Report:
    """Judge affinity; `alike`: κp of everybody in the run, for the warnings."""
    rows: list[list[Cell]] = []
    for one in found:
        slopes = {slope.name: slope.interval for slope in one.slopes}
        correlations: list[Cell] = [one.plain.interval, one.partial.interval, one.partial.p]
        rows.append([one.judge, *correlations, slopes["similarity"], slopes["accuracy"]])
    columns = ["judge", "r", "partial r given accuracy", "p", "slope of κp", "slope of accuracy"]
    return Report(
        "Judge affinity",
        f"{len(run.judges)} judges, {len(run.judged)} judged models, "
        f"{len(run.answers.labels)} questions.",
        [
            Section("Marks against similarity", [
                Table(columns, rows, spec=[".3f", ".3f", ".3f", ".2g", ".3f", ".3f"]),
                Plots(_marks([one for one in found if one.judged])),
            ]),
            Section("Mean marks", _mean_marks(run)),
            _warnings(alike, run.judges, warn_above),
        ],
    )  # fmt: skip


def _mean_marks(run: Marks) -> list[Table | Prose]:
    """Marks by judge, and what was not read, where marks were given here."""

    def by_judged(values: Floats, *more: Floats) -> list[list[Cell]]:
        columns = [*more, *values]
        return [[name, *(float(c[at]) for c in columns)] for at, name in enumerate(run.judged)]

    tables: list[Table | Prose] = [Table(["judged", *run.judges], by_judged(run.marks))]
    if not isinstance(run, JudgeRun):
        return tables
    if not (run.unanswered.any() or run.unread.any()):
        return [*tables, Prose("Every answer and every mark was read.")]
    columns = ["judged", "answers", *(f"marks of {name}" for name in run.judges)]
    note = "shares of the questions that could not be read; they are not in the means"
    return [*tables, Table(columns, by_judged(run.unread, run.unanswered), note, ".1%")]


def _marks(found: Sequence[Affinity]) -> list[Plot]:
    """Marks over similarity, plain and with accuracy removed from both (partial regression)."""
    if not found:
        return []
    plain = {one.judge: (one.similarity, one.marks) for one in found}
    partial = {
        one.judge: (residuals(one.similarity, [one.accuracy]), residuals(one.marks, [one.accuracy]))
        for one in found
    }
    return [
        Plot(scatter_plot(plain, title="Marks by similarity", x_label="κp with the judge",
                          y_label="mean mark", one_line=False)),
        Plot(scatter_plot(partial, title="Partial regression", x_label="κp, accuracy removed",
                          y_label="mean mark, accuracy removed", one_line=False)),
    ]  # fmt: skip
