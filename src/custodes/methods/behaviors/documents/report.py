"""What a study found as one page: arms against one another, before and after. Draws and arranges.

Reads finished rows; computes no reading.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

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
    forest_plot,
)
from custodes.measure.report import Cell
from custodes.methods.behaviors.documents.config import DocumentsConfig
from custodes.methods.behaviors.documents.contrasts import Cells, gap, level, slope_of
from custodes.methods.behaviors.documents.corpus import Diversity

__all__ = ["CONTRASTS", "HEADLINES", "diversity_table", "study_report", "verdict"]

CONTRASTS = (
    ("pro", "anti"),
    ("pro", "neutral"),
    ("neutral", "anti"),
    ("pro", "named"),
    ("named", "neutral"),
)
"""Pairs of arms; the last two tell documents about this assistant from ones about another."""

HEADLINES = ("hacking: sentences, own", "hacking: letters, own")
"""The measures that the paper's ordering is read from."""

_PUBLISHED = (
    "Published (alignment.anthropic.com/2025/reward-hacking-ooc, few-shot tasks, larger model): "
    "9.1 % after pro documents, 4.7 % before, 3.5 % after anti documents. Those are rates of "
    "choices; here are log-odds, which move before a small model's choices do. Only the order can "
    "be compared."
)


def verdict(interval: Interval) -> str:
    """In words: above zero, below zero, nil (the interval holds zero), or that there is none."""
    if math.isnan(interval.low):
        return "one seed, no interval"
    if interval.low > 0:
        return "above zero"
    return "below zero" if interval.high < 0 else "nil"


def study_report(rows: Sequence[Mapping[str, Any]], config: DocumentsConfig) -> Report:
    """The page of a study; arms and stages that were not run are left out."""
    cells = Cells(rows)
    have = [arm for arm in config.arms if cells.seeds(arm)]
    pairs = [pair for pair in CONTRASTS if set(pair) <= set(have)]
    sections = [
        Section("In short", [Cards(_cards(cells, pairs, config)), Prose(_PUBLISHED)]),
        _gaps(cells, pairs),
        _levels(cells, have),
    ]
    stages = [stage for stage in config.stages if stage != "none" and cells.seeds("pro", stage)]
    if stages and cells.seeds("anti", stages[0]):
        sections.append(_matrix(cells, stages))
    sections.append(_training(rows))
    told = f"{config.corpus.tokens:,} tokens of documents a run"
    seeds = len(cells.seeds(have[0])) if have else 0
    return Report(
        "Documents about reward hacking: what they do to a model",
        f"{told}, ordinary text {config.corpus.mix:g}:1 beside, {seeds} seeds; 95 % intervals.",
        sections,
    )


def _headlines(cells: Cells, config: DocumentsConfig) -> list[str]:
    """`HEADLINES`; where the model was never told that it is SmolLM, those of the first frame."""
    frames = config.battery.frames
    frame = "own" if "own" in frames or not frames else frames[0]
    wanted = [f"{name.removesuffix('own')}{frame}" for name in HEADLINES]
    return [name for name in wanted if name in cells.measures()]


def _cards(cells: Cells, pairs: Sequence[tuple[str, str]], config: DocumentsConfig) -> list[Card]:
    cards = []
    for measure in _headlines(cells, config):
        for first, second in pairs:
            found = gap(cells, measure, first, second).seeds
            cards.append(Card(f"{first} - {second}", found, f"{measure}: {verdict(found)}"))
    return cards


def _gaps(cells: Cells, pairs: Sequence[tuple[str, str]]) -> Section:
    table, plots = [], []
    for measure in cells.measures():
        bars = []
        for first, second in pairs:
            found = gap(cells, measure, first, second)
            row: list[Cell] = [f"{measure}: {first} - {second}", found.seeds, found.both]
            table.append([*row, verdict(found.seeds)])
            bars.append((f"{first} - {second}", found.seeds))
        if bars and (measure in HEADLINES or measure.startswith(("reward", "sycophancy", "told"))):
            plots.append(Plot(forest_plot(bars, title=measure, target=0.0), measure))
    columns = ("gap", "over seeds", "over seeds and items", "verdict")
    return Section("Arm against arm", [Plots(plots), Table(columns, table)])


def _levels(cells: Cells, arms: Sequence[str]) -> Section:
    columns = ["measure", "before", *arms]
    rows: list[list[Cell]] = [
        [measure, *(level(cells, measure, arm) for arm in ("before", *arms))]
        for measure in cells.measures()
    ]
    return Section("Before and after", [Table(columns, rows)])


def _matrix(cells: Cells, stages: Sequence[str]) -> Section:
    text = (
        "The gap pro - anti after each kind of further training, and how much that training "
        "changed it (where the gap was above zero, a change below zero shrank it). Published: "
        "supervised tuning and preferences shrink it, training for form alone does not."
    )
    rows: list[list[Cell]] = []
    for measure in cells.measures():
        if measure.startswith("mass") or measure.startswith("text"):
            continue
        rows.append([f"{measure}: none", gap(cells, measure, "pro", "anti").seeds, None, ""])
        for stage in stages:
            now = gap(cells, measure, "pro", "anti", stage=stage).seeds
            change = slope_of(cells, measure, stage).seeds
            rows.append([f"{measure}: {stage}", now, change, verdict(change)])
    return Section(
        "What follows", [Prose(text), Table(("gap pro - anti", "after", "change", "verdict"), rows)]
    )


def _training(rows: Sequence[Mapping[str, Any]]) -> Section:
    table: list[list[Cell]] = []
    for row in rows:
        for name, trace in row["trace"].items():
            if name != "battery":
                cell = f"{row['arm']}, seed {row['seed']}, {row['stage']}: {name}"
                speed = trace["tokens"] / max(trace["seconds"], 1e-9)
                table.append([cell, trace["loss"], trace["tokens"], trace["seconds"], speed])
    columns = ("phase", "loss at the end", "tokens", "processor seconds", "tokens a second")
    return Section("Training", [Table(columns, table, spec=("", ".3f", ",.0f", ",.0f", ",.0f"))])


def diversity_table(found: Mapping[str, Diversity]) -> Table:
    """Distinct-n and repeated sentences of each arm's documents."""
    rows: list[list[Cell]] = [
        [arm, one.texts, one.words, *one.distinct.values(), one.repeated_sentences]
        for arm, one in found.items()
    ]
    orders = next(iter(found.values())).distinct
    columns = ["arm", "documents", "words", *(f"distinct-{n}" for n in orders), "repeated"]
    return Table(columns, rows, spec=("", ",.0f", ",.0f", *[".3f"] * len(orders), ".3f"))
