"""What a queue's newest ratings say about agreement: for the console and for reports."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from custodes.measure import Interval, Report, Section, Table
from custodes.measure.report import Cell
from custodes.review.agreement import (
    Agreement,
    ItemSplit,
    RaterScore,
    Ratings,
    agreement,
    drift,
    item_splits,
    rater_scores,
    truth_by_dawid_skene,
)
from custodes.review.queue import Desk
from custodes.store import Rated

__all__ = [
    "NEWEST",
    "QueueAgreement",
    "Told",
    "agreement_of",
    "agreement_report",
    "queue_agreement",
]

NEWEST = 3_000
"""Ratings that are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What raters may see: of cases that are done and no checks, and nothing of the AI. A figure of
    two ratings can give away either, and whoever knows what others said, or the AI, judges nothing
    any more. `figures`: None where no such case was judged by two."""

    figures: Agreement | None
    raters: list[RaterScore]
    splits: list[ItemSplit]
    ratings: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueAgreement:
    """`splits`: cases that split people; `told`: what raters may see of all this. `drift`: (when,
    agreement with the case's settled answer) over time. `dawid_skene`: rater -> estimated share of
    right answers. `titles`, `ids`: ref -> what a case is called."""

    at: float
    ratings: int
    figures: Agreement
    raters: list[RaterScore]
    splits: list[ItemSplit]
    told: Told
    drift: list[tuple[float, Interval]]
    dawid_skene: dict[str, float]
    titles: dict[str, str]
    ids: dict[str, int]


def queue_agreement(
    desk: Desk, queue: str, *, newest: int = NEWEST, seed: int = 0
) -> QueueAgreement:
    """Over the newest ratings; `DataError` where no case was judged by two. `seed`: of the
    bootstrap."""
    config = desk.config(queue)
    rated = desk.rated(queue, limit=newest)
    return agreement_of(rated, tuple(c.name for c in config.choices), at=desk.now, seed=seed)


def agreement_of(
    rated: list[Rated], answers: tuple[str, ...], *, at: float, seed: int = 0
) -> QueueAgreement:
    """Over these ratings, newest first."""
    ordered = rated[::-1]
    rows = [(r.case.ref, r.judgment.rater, r.judgment.answer or "") for r in ordered]
    ratings = Ratings(rows, answers)
    cases = {r.case.ref: r.case for r in ordered}
    done = [row for row in rows if cases[row[0]].state == "done" and cases[row[0]].kind == "case"]
    figures = agreement(ratings, seed=seed)
    _, quality = truth_by_dawid_skene(ratings)
    settled = [
        (r.judgment.given or 0.0, r.judgment.answer == r.case.answer)
        for r in ordered
        if r.case.answer is not None and r.case.needed > 1
    ]
    return QueueAgreement(
        at=at,
        ratings=len(rated),
        figures=figures,
        raters=rater_scores(
            ratings,
            gold={ref: case.gold for ref, case in cases.items() if case.gold is not None},
            ai={ref: case.ai_answer for ref, case in cases.items() if case.ai_answer is not None},
            seed=seed,
        ),
        splits=item_splits(ratings, 12),
        told=_told(Ratings(done, answers), seed),
        drift=drift(settled) if len(settled) >= 16 else [],
        dawid_skene=quality,
        titles={ref: case.title for ref, case in cases.items()},
        ids={ref: case.id for ref, case in cases.items()},
    )


def _told(done: Ratings, seed: int) -> Told:
    two = any(number > 1 for number in Counter(item for item, _, _ in done.rows).values())
    return Told(
        figures=agreement(done, seed=seed) if two else None,
        raters=rater_scores(done, gold={}, ai={}, seed=seed),
        splits=item_splits(done, 12),
        ratings=len(done.rows),
    )


def agreement_report(found: QueueAgreement, queue: str) -> Report:
    """The same as a page."""
    figures = found.figures
    rows: list[list[Cell]] = [
        ["equal answers", figures.observed],
        ["Krippendorff's alpha", figures.alpha],
        ["Fleiss' kappa", figures.fleiss],
        ["Gwet's AC1", figures.ac1],
        ["Gwet's AC2, answers in order", figures.ac2],
    ]
    for (one, two), kappa in figures.cohen.items():
        rows.append([f"Cohen's kappa of {one} and {two}", kappa])
    raters: list[list[Cell]] = [
        [r.rater, r.ratings, r.others, r.gold, r.ai, found.dawid_skene.get(r.rater)]
        for r in found.raters
    ]
    splits: list[list[Cell]] = [
        [found.titles[split.item], ", ".join(f"{n} {a}" for a, n in split.given.items())]
        for split in found.splits
    ]
    over: list[list[Cell]] = [[f"window {n}", share] for n, (_, share) in enumerate(found.drift, 1)]
    return Report(
        f"Agreement in {queue}",
        f"{figures.items} cases that two people judged at least, {figures.raters} raters, "
        f"{found.ratings:,} ratings.",
        [
            Section("Figures", [Table(["figure", "value"], rows, "Intervals resample cases.")]),
            Section("Raters", [
                Table(["rater", "ratings", "with others", "on checks", "with the AI",
                       "Dawid-Skene"], raters,
                      "Dawid-Skene: estimated share of right answers, if raters err "
                      "independently."),
            ]),
            Section("Cases that split raters", [Table(["case", "answers"], splits)]),
            Section("Over time", [
                Table(["time", "agreement with the settled answer"], over,
                      "Windows of equal counts.")
            ]),
        ],
    )  # fmt: skip
