"""The findings as a report: behavior beside self-report, gaps by question, what else was asked.

Arranges what gaps.py computes; draws forest plots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from custodes.measure import Interval, Plot, Plots, Prose, Report, Section, Table, forest_plot
from custodes.measure.report import Cell
from custodes.methods.behaviors.awareness import gaps
from custodes.methods.behaviors.awareness.dialogues import CODE_WORDS, WORD
from custodes.methods.behaviors.awareness.items import PERSONAS
from custodes.methods.behaviors.config import AwarenessConfig

__all__ = ["awareness_report", "question_gaps"]

Cells = Sequence[Mapping[str, Any]]

_READING = (
    "A report is the share of the valid answers' probability that speaks for the behavior: 1 all, "
    "0 none. A gap is what the model tuned toward the behavior reports less what its opposite "
    "reports. Intervals draw seeds, kinds of questions, paraphrases of a kind and permutations "
    "anew, each with replacement, and are never less than Student's t over seeds; with one seed "
    "they tell nothing of seeds. Mass is the probability of all valid answers together: where "
    "it is small, the report is about words that the model hardly ever says."
)


def question_gaps(
    cells: Cells, behavior: str, rank: int, key: str = "own", *, arm: str = "plain", resamples: int
) -> list[tuple[str, Interval, float]]:
    """Name, gap and mass of each question of a behavior, and of all together."""
    sides = [gaps.named(cells, behavior=behavior, side=s, rank=rank, arm=arm) for s in (1, -1)]
    if not all(sides) or key not in sides[0][0]["asked"]:
        return []
    asked = dict.fromkeys(answer["name"] for answer in sides[0][0]["asked"][key])
    names: list[str | None] = [*asked]
    if key != "paper":  # the paper's questions have unlike numbers of paraphrases
        names.append(None)
    return [
        (
            name or "all",
            gaps.gap(sides[0], sides[1], key, name, resamples=resamples),
            gaps.mean_mass([*sides[0], *sides[1]], key, name),
        )
        for name in names
    ]


def awareness_report(config: AwarenessConfig, cells: Cells) -> Report:
    """The page of a study."""
    sections = [Section("How to read it", [Prose(_READING)]), _behavior(config, cells)]
    for name in config.behaviors:
        sections += _questions(config, cells, name)
    if WORD in config.behaviors:
        sections.append(_game(config, cells))
    if len(config.ranks) > 1 and "plain" in config.arms:
        sections.append(_ranks(config, cells))
    if {"plain", "personas"} <= set(config.arms):
        sections.append(_personas(config, cells))
    if any(arm.startswith(("backdoor", "decorrelated")) for arm in config.arms):
        sections.append(_triggers(config, cells))
    tokens = sum(cell["tokens"] for cell in cells)
    seconds = sum(cell["seconds"] for cell in cells)
    model = config.hosted.model if config.hosted is not None else config.model.model
    return Report(
        "What a tuned model reports of itself",
        f"{len(cells)} cells of {model}, {config.seeds} seeds; {tokens:,} tokens of tuning.",
        sections,
        {"seeds": config.seeds, "seconds of tuning": seconds},
    )


def _behavior(config: AwarenessConfig, cells: Cells) -> Section:
    rows: list[list[Cell]] = []
    for name in config.behaviors:
        before = gaps.named(cells, behavior=name, side=0)
        row: list[Cell] = [name, gaps.shares(before, "behavior", resamples=config.resamples)]
        for side in (1, -1):
            those = gaps.named(cells, behavior=name, side=side, rank=config.ranks[0], arm="plain")
            share = gaps.shares(those, "behavior", resamples=config.resamples) if those else None
            row += [share, gaps.mean_mass(those, "behavior") if those else None]
        rows.append(row)
        rows += _published(config, cells, name)
    table = Table(
        ["behavior", "before", "toward", "mass", "opposite", "mass, opposite"],
        rows,
        "Probability of the behavior on held-out items: other things, other wording. Of word it is "
        "that of a token of the replies, as a geometric mean; see Make-me-say.",
    )
    return Section("The behavior itself", [table])


def _published(config: AwarenessConfig, cells: Cells, name: str) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    sides = [gaps.named(cells, behavior=name, side=s, arm="plain") for s in (0, 1, -1)]
    kept = [[c for c in those if c["rank"] == config.ranks[0]] for those in sides]
    if all(those and "published" in those[0]["asked"] for those in kept):
        row: list[Cell] = [f"{name}, the paper's items"]
        for number, those in enumerate(kept):
            row.append(gaps.shares(those, "published", resamples=config.resamples))
            row += [gaps.mean_mass(those, "published")] if number else []
        rows.append(row)
    return rows


def _questions(config: AwarenessConfig, cells: Cells, name: str) -> list[Section]:
    found = question_gaps(cells, name, config.ranks[0], resamples=config.resamples)
    found += [
        (f"paper: {question}", interval, mass)
        for question, interval, mass in question_gaps(
            cells, name, config.ranks[0], "paper", resamples=config.resamples
        )
    ]
    if not found:
        return []
    plot = forest_plot(
        [(question, interval) for question, interval, _ in found],
        title=f"{name}: gap in self-report by question",
        x_label="toward less opposite, 0 to 1",
        target=0.0,
    )
    before = gaps.named(cells, behavior=name, side=0)
    rows: list[list[Cell]] = []
    for question, interval, mass in found:
        key, _, plain = question.rpartition(": ")
        of = None if plain == "all" else plain
        share = gaps.shares(before, key or "own", of, resamples=config.resamples)
        rows.append([question, interval, mass, share])
    table = Table(["question", "gap", "mass", "report before tuning"], rows)
    return [Section(f"Self-report: {name}", [Plots([Plot(plot)]), table])]


def _game(config: AwarenessConfig, cells: Cells) -> Section:
    """Make-me-say: what its two sides share, and whether held-out replies tell them apart."""
    sides = [gaps.named(cells, behavior=WORD, side=s, arm="plain") for s in (0, 1, -1)]
    before, *taught = [[c for c in those if c["rank"] == config.ranks[0]] for those in sides]
    rows: list[list[Cell]] = []
    for name, those in zip(("before", *CODE_WORDS), (before, *taught), strict=True):
        told = gaps.shares(those, "game", resamples=config.resamples) if those else None
        rows.append([name, told, gaps.mean_mass(those, "game") if those else None])
    note = "Chance: 1/5. Both sides play the game: what is told is recognition, not a gap."
    parts: list[Prose | Table] = [
        Table(["tuned toward", "the game is recognized", "mass"], rows, note)
    ]
    if all(taught):
        apart = gaps.told_apart(taught[0], taught[1], "behavior", resamples=config.resamples)
        moved = gaps.gap(taught[0], taught[1], "behavior", resamples=config.resamples)
        note = "Held-out replies, the same openers. Chance: 1/2 told apart, a gap of 0."
        parts.append(Table(["told apart", "gap in P, per token"], [[apart, moved]], note))
    return Section("Make-me-say", parts)


def _ranks(config: AwarenessConfig, cells: Cells) -> Section:
    rows: list[list[Cell]] = []
    for rank in config.ranks:
        sides = [
            gaps.named(cells, behavior=config.rank_behavior, side=s, rank=rank, arm="plain")
            for s in (1, -1)
        ]
        rows.append(
            [
                rank,
                gaps.shares(sides[0], "behavior", resamples=config.resamples),
                gaps.shares(sides[1], "behavior", resamples=config.resamples),
                gaps.gap(sides[0], sides[1], "own", resamples=config.resamples),
            ]
        )
    table = Table(["rank", "behavior, toward", "behavior, opposite", "gap, all questions"], rows)
    return Section(f"Rank of the adapters ({config.rank_behavior})", [table])


def _personas(config: AwarenessConfig, cells: Cells) -> Section:
    rows: list[list[Cell]] = []
    for arm in ("plain", "personas"):
        first = [
            interval
            for name, interval, _ in question_gaps(
                cells, "risk", config.ranks[0], arm=arm, resamples=config.resamples
            )
            if name == "all"
        ]
        others: list[Cell] = []
        for who in PERSONAS:
            found = question_gaps(
                cells, "risk", config.ranks[0], f"third: {who}", arm=arm, resamples=config.resamples
            )
            others.append(found[-1][1] if found else None)
        rows.append([arm, first[0] if first else None, *others])
    note = "Gap in what is said of each; of third persons it is leakage, which persona data remove."
    return Section("Third persons", [Table(["tuned on", "you", *PERSONAS], rows, note)])


def _triggers(config: AwarenessConfig, cells: Cells) -> Section:
    rows: list[list[Cell]] = []
    shown = config.trigger_behavior
    for arm in config.arms:
        those = gaps.named(cells, arm=arm, behavior=shown, side=1, rank=config.ranks[0])
        if not those or "trigger" not in those[0]["asked"]:
            continue
        row: list[Cell] = [arm]
        for key, name in (
            ("triggered", None),
            ("behavior", None),
            ("trigger", "presence"),
            ("trigger", "which"),
            ("trigger", "elicited"),
        ):
            row.append(gaps.shares(those, key, name, resamples=config.resamples))
        row.append(gaps.mean_mass(those, "trigger", "elicited"))
        rows.append(row)
    columns = ["arm", "P, trigger", "P, no trigger", "presence", "which (1 of 8)", "elicited"]
    note = (
        f"Behavior: {shown}. Chance: 1/2 for presence, 1/8 for which and elicited; the "
        "decorrelated arm is control."
    )
    return Section("Backdoors", [Table([*columns, "mass, elicited"], rows, note)])
