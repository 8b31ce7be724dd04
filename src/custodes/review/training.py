"""Labels back to the guard: settled cases as training rows, and what a retrained guard changes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from custodes import store
from custodes.errors import DataError
from custodes.guard import Guard
from custodes.measure import (
    Card,
    Cards,
    Interval,
    Report,
    Section,
    Table,
    auroc,
    bootstrap_difference,
)
from custodes.measure.report import Cell
from custodes.review.cases import hash_of
from custodes.review.queue import Desk
from custodes.review.settling import case_in
from custodes.types import Conversation, Example, Message, RuleId

__all__ = ["Changed", "changes", "changes_report", "label_rows", "training_rows"]

_log = logging.getLogger(__name__)


def label_rows(desk: Desk, queue: str) -> Iterable[dict[str, Any]]:
    """One row a given judgment, the rulings among them, oldest first; see `exchange.COLUMNS`."""
    for part in (store.RATING, store.RULING):
        for each in reversed(desk.rated(queue, part=part)):
            judgment, case = each.judgment, each.case
            yield {
                "case": case.id, "ref": case.ref, "origin": case.origin, "slice": case.slice,
                "state": case.state, "answer": case.answer, "settled_by": case.settled_by,
                "rater": judgment.rater, "part": judgment.part, "rating": judgment.answer,
                "confidence": judgment.confidence, "arm": judgment.arm,
                "first_answer": judgment.first_answer, "seconds": judgment.seconds,
                "changes": judgment.changes, "given": judgment.given, "note": judgment.note,
                "ai_answer": case.ai_answer, "ai_confidence": case.ai_confidence,
                "gold": case.gold,
            }  # fmt: skip


def training_rows(desk: Desk, queue: str) -> list[Example]:
    """Every settled case whose answer has a label, as rows that `custodes train` takes; how many
    no key opens is logged.

    Cases of one conversation are of one group, so that no split parts them. The rule is the guard's
    where it agrees that the case is harmful.
    """
    config = desk.config(queue)
    rows, lost = [], 0
    for stored in desk.settled(queue):
        choice = config.choice(stored.answer or "")
        if choice is None or choice.label is None:
            continue
        if stored.content is None:
            lost += 1
            continue
        case = case_in(stored)
        last = case.messages[-1].role == "assistant"
        kind = f"{'harmful' if choice.label else 'benign'}_{'exchange' if last else 'request'}"
        rule = case.meta.get("rule") if choice.label == 1 else None
        single = len(case.messages) == 1 and case.messages[0].role == "user"
        rows.append(
            Example(
                id=f"review-{queue}-{stored.id}",
                source=f"review/{queue}",
                kind=kind,
                licence="your own",
                text=case.messages[0].content if single else None,
                messages=None
                if single
                else tuple(Message(m.role, m.content) for m in case.messages),
                label=choice.label,
                group=f"review-{_conversation(case.messages)}",
                rule=None if rule is None else RuleId(str(rule)),
                meta={"settled_by": stored.settled_by, "case": stored.id, "ref": stored.ref},
            )
        )
    if lost:
        _log.warning(
            "queue %s: %d settled cases are left out: they are encrypted, and no key in %s opens "
            "them; %d rows are left",
            queue, lost, store.ENVIRONMENT_KEY, len(rows),
        )  # fmt: skip
    return rows


def _conversation(said: Conversation) -> str:
    """What cases of different turns of one conversation have in common: all until a user has
    spoken."""
    first = next((place for place, turn in enumerate(said) if turn.role == "user"), len(said))
    return hash_of(said[: first + 1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """One set of rows before and after: scores, labels, and what would have been stopped."""

    name: str
    labels: Sequence[int]
    before: Sequence[float]
    after: Sequence[float]
    stopped_before: Sequence[bool]
    stopped_after: Sequence[bool]


def changes(name: str, rows: Sequence[Example], before: Guard, after: Guard) -> Changed:
    """Judge the labelled rows with both guards."""
    from custodes.data import conversation
    from custodes.types import Action

    kept = [row for row in rows if row.label is not None]
    if not kept:
        raise DataError(f"{name}: got no labelled row to compare the guards on")
    talks = [conversation(row) for row in kept]
    one, two = before.judge_many(talks), after.judge_many(talks)
    return Changed(
        name=name,
        labels=[row.label or 0 for row in kept],
        before=[verdict.score for verdict in one],
        after=[verdict.score for verdict in two],
        stopped_before=[verdict.action is Action.STOP for verdict in one],
        stopped_after=[verdict.action is Action.STOP for verdict in two],
    )


def changes_report(
    found: Sequence[Changed], *, rows: int, seed: int, facts: dict[str, Cell]
) -> Report:
    """What the labels changed: right decisions, ranking, and how many verdicts turned."""
    table: list[list[Cell]] = []
    turned: list[list[Cell]] = []
    for one in found:
        truth = np.array(one.labels)
        was, now = np.array(one.stopped_before), np.array(one.stopped_after)
        table.append(
            [one.name, len(truth), _accuracy(truth, was), _accuracy(truth, now),
             _gain(truth, was, now, seed), _ranks(truth, one.before), _ranks(truth, one.after)]
        )  # fmt: skip
        kinds = Counter(
            (int(label), bool(a), bool(b)) for label, a, b in zip(truth, was, now, strict=True)
        )
        turned.append(
            [one.name, kinds[1, False, True], kinds[1, True, False], kinds[0, True, False],
             kinds[0, False, True]]
        )  # fmt: skip
    first = found[0]
    truth = np.array(first.labels)
    return Report(
        "What the reviewers' labels changed",
        f"{rows} settled cases were added to the guard's training rows. Both guards stop at their "
        "own thresholds.",
        [
            Section("Right decisions", [
                Cards([
                    Card("before", _accuracy(truth, np.array(first.stopped_before)), first.name),
                    Card("after", _accuracy(truth, np.array(first.stopped_after)), first.name),
                ]),
                Table(["rows", "number", "before", "after", "difference", "AUROC before",
                       "AUROC after"], table,
                      "Share of right decisions (stop what is harmful, release what is not); "
                      "intervals resample rows.",
                      [".3f", ",d", ".3f", ".3f", "+.3f", ".3f", ".3f"]),
            ]),
            Section("Verdicts that turned", [
                Table(["rows", "harmful, now stopped", "harmful, no longer stopped",
                       "benign, now released", "benign, now stopped"], turned, "", ",d"),
            ]),
        ],
        facts,
    )  # fmt: skip


def _accuracy(truth: Any, stopped: Any) -> float:
    return float((truth == stopped).mean())


def _ranks(truth: Any, scores: Sequence[float]) -> float:
    """AUROC; NaN where all rows have one label."""
    return auroc(truth, scores) if 0 < truth.sum() < len(truth) else float("nan")


def _gain(truth: Any, was: Any, now: Any, seed: int) -> Interval:
    return bootstrap_difference(_accuracy, (truth, now), (truth, was), seed=seed)


def guard_folder(run: Path) -> Path:
    """The guard of a run folder of `custodes train`; `DataError` where there is none."""
    folder = run / "guard"
    if not folder.is_dir():
        raise DataError(f"{run}: holds no guard; give the run folder of `custodes train`")
    return folder
