"""The page: every statement with its verdict first, then each ablation with tables and plots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from custodes.guard.ablations.claims import (
    MARGIN,
    METRICS,
    Claim,
    Labelled,
    Metric,
    difference,
    level,
    verdict,
)
from custodes.guard.ablations.config import AblationsConfig
from custodes.guard.ablations.study import Study
from custodes.measure import (
    Card,
    Cards,
    Interval,
    Plot,
    Plots,
    Prose,
    Report,
    Section,
    Series,
    Table,
    auroc,
    forest_plot,
    line_plot,
)
from custodes.measure.report import Cell

__all__ = ["Finding", "Level", "Measured", "ablations_report", "measure_study"]

_TITLE = "Ablations of Constitutional Classifiers"
_VERDICTS = ("agrees", "does not", "cannot tell")


@dataclass(frozen=True, slots=True)
class Finding:
    """A claim, by how much its arm is ahead on each metric (`gains`), what the other arm reaches
    (`against`), and what that says by each."""

    claim: Claim
    gains: Mapping[Metric, Interval]
    against: Mapping[Metric, Interval]
    budget: float

    def verdict(self, metric: Metric) -> str:
        """agrees, does not, or cannot tell."""
        chance = self.budget if metric == "recall" else 0.5
        return verdict(self.claim, self.gains[metric], self.against[metric], chance=chance)


@dataclass(frozen=True, slots=True)
class Level:
    """How an arm does on a table; `seeds`: the least and the greatest AUROC of its seeds."""

    arm: str
    table: str
    values: Mapping[Metric, Interval]
    seeds: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Measured:
    """A study with its figures."""

    study: Study
    levels: Sequence[Level]
    findings: Sequence[Finding]


def measure_study(
    study: Study, tables: Mapping[str, Labelled], config: AblationsConfig
) -> Measured:
    """Levels of every arm on every table of the study, and its claims."""
    arms = {arm.name: arm for arm in study.arms}
    levels = []
    for name in study.tables:
        for arm in study.arms:
            table = tables[name]
            values = {m: level(m, arm, name, table, config=config) for m in METRICS}
            areas = [auroc(table.labels, each) for each in arm.scores[name]]
            levels.append(Level(arm.name, name, values, (min(areas), max(areas))))
    findings = []
    for claim in study.claims:
        pair = (arms[claim.arm], arms[claim.against])
        over = tables[claim.table]
        gains = {m: difference(m, pair, claim.table, over, config=config) for m in METRICS}
        reached = {m: level(m, pair[1], claim.table, over, config=config) for m in METRICS}
        findings.append(Finding(claim, gains, reached, config.budget))
    return Measured(study, levels, findings)


def ablations_report(
    measured: Sequence[Measured],
    config: AblationsConfig,
    *,
    counts: Mapping[str, int],
) -> Report:
    """The whole page; `counts` of rows stand at its foot."""
    findings = [finding for one in measured for finding in one.findings]
    said = Counter(finding.verdict("recall") for finding in findings)
    summary = (
        f"{len(measured)} ablations of the papers, {config.seeds} fits an arm. Of "
        f"{len(findings)} statements {said['agrees']} are found here, {said['does not']} are not, "
        f"and of {said['cannot tell']} these rows cannot tell (by recall at {config.budget:.0%} "
        "false refusals). The papers' classifiers are large, their data private; what is compared "
        "is the direction of an effect, not its size."
    )
    if config.size == "tiny":
        summary += (
            "\n\nThis is the tiny size: its language model is a script and its rows are generated. "
            "It shows that everything runs; its figures say nothing about the papers."
        )
    overview = Section(
        "What the papers say, and what is found",
        [
            Cards([Card(name, said[name], spec="d") for name in _VERDICTS]),
            Table(
                ["statement", "source", "compared", "recall", "AUROC", "by recall", "by AUROC"],
                [_told(finding) for finding in findings],
                "Difference of the two arms, 95 % intervals by paired bootstrap over groups of "
                f"rows, mean of {config.seeds} fits, widened to hold every fit's own. Found: the "
                f"interval lies above 0, or, where the paper says that nothing is lost, above "
                f"-{MARGIN}, and the arm that it is compared with is above chance.",
                "+.3f",
            ),
            Prose(
                "The statements stand as custodes' notes on the papers have them; sizes of effects "
                "in the first paper were not checked against its text. Many intervals are looked "
                "at: of those at 95 %, one in twenty misses."
            ),
        ],
    )
    sections = [overview, *(_section(one, config) for one in measured)]
    facts: dict[str, Cell] = {**counts, "seed": config.seed, "fits an arm": config.seeds}
    return Report(_TITLE, summary, sections, facts)


def _told(finding: Finding) -> list[Cell]:
    claim = finding.claim
    return [
        claim.statement,
        claim.source,
        f"{claim.arm} - {claim.against}, {claim.table}",
        finding.gains["recall"],
        finding.gains["AUROC"],
        finding.verdict("recall"),
        finding.verdict("AUROC"),
    ]


def _section(measured: Measured, config: AblationsConfig) -> Section:
    study = measured.study
    columns = ["table", "arm", f"recall at {config.budget:.0%}", "AUROC", "AUROC of fits"]
    facts = list(dict.fromkeys(name for arm in study.arms for name in arm.facts))
    by_name = {arm.name: arm for arm in study.arms}
    rows: list[list[Cell]] = []
    for each in measured.levels:
        low, high = each.seeds
        cells: list[Cell] = [each.table, each.arm, *(each.values[m] for m in METRICS)]
        known = by_name[each.arm].facts
        rows.append([*cells, f"{low:.3f} to {high:.3f}", *(_fact(known.get(n)) for n in facts)])
    plots = [Plot(svg, caption) for svg, caption in _plots(measured)]
    return Section(study.name, [Prose(study.told), Table([*columns, *facts], rows), Plots(plots)])


def _fact(value: float | None) -> str | None:
    if value is None:
        return None
    return f"{value:,d}" if isinstance(value, int) else f"{value:.3f}"


def _plots(measured: Measured) -> list[tuple[str, str]]:
    study = measured.study
    places = {arm.name: arm.x for arm in study.arms}
    found = []
    for name in study.tables:
        levels = [each for each in measured.levels if each.table == name]
        if study.axis:
            series = [_series(metric, levels, places) for metric in METRICS]
            svg = line_plot(
                series,
                title=f"{study.name}: {name}",
                x_label=study.axis,
                y_label="recall, AUROC",
                log=study.axis not in ("layer", "layers joined"),
            )
        else:
            bars = [(each.arm, each.values["AUROC"]) for each in levels]
            svg = forest_plot(bars, title=f"{study.name}: {name}", x_label="AUROC")
        found.append((svg, name))
    return found


def _series(metric: Metric, levels: Sequence[Level], places: Mapping[str, float | None]) -> Series:
    on = [(x, each.values[metric]) for each in levels if (x := places[each.arm]) is not None]
    on.sort(key=lambda pair: pair[0])
    values = [value for _, value in on]
    return Series(
        metric,
        [x for x, _ in on],
        [value.value for value in values],
        [value.low for value in values],
        [value.high for value in values],
    )
