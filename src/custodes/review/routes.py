"""Routing of files: T from cases whose answer is known, then new cases to the AI or to people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import Field

from custodes.config import Config, write_atomically
from custodes.data.tables import iterate_lines
from custodes.errors import DataError
from custodes.measure import Report
from custodes.review.cases import Case, case_to_record, read_case
from custodes.review.complementarity import complementarity_report
from custodes.review.routing import (
    Aim,
    Objective,
    Rows,
    SliceCalibration,
    audit,
    choose_threshold,
    fit_confidence_by_slice,
    fit_deferral,
)

__all__ = ["Dealt", "Known", "RouteConfig", "deal", "read_known", "route_known", "write_accepted"]


class RouteConfig(Config):
    """How cases are routed."""

    aim: Aim = "accuracy"
    """What T is chosen for; see `Objective`."""
    risk: float = Field(default=0.05, gt=0, lt=1)
    """Errors among accepted cases, for aim risk."""
    person_cost: float = Field(default=0.05, ge=0)
    """Cost of a person's answer, in errors, for aim cost."""
    audit: float = Field(default=0.02, ge=0, le=1)
    """Share of accepted cases that people see all the same."""
    seed: int = Field(default=0, ge=0)
    """Of the halves, the bootstrap and the audit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """T, the calibration it is for, and the groups that it was not chosen on."""

    threshold: float
    calibration: SliceCalibration
    rows: Rows
    deferred: np.ndarray
    seed: int
    chosen_on: str

    @property
    def accepted(self) -> float:
        """The AI's share of the other groups."""
        return float((self.rows.confidence >= self.threshold).mean())

    def report(self, name: str) -> Report:
        """The complementarity report on the groups that T was not chosen on."""
        return complementarity_report(
            self.rows,
            {
                f"T = {self.threshold:.3f}": self.rows.confidence >= self.threshold,
                "learned deferral by slice": self.deferred,
            },
            title="Who should judge what",
            summary=f"{name}: {self.chosen_on}, every figure from the other groups.",
            seed=self.seed,
        )


def read_known(path: Path) -> Rows:
    """A row for each person's answer in the file; see `custodes review route --help`."""
    people, ai, sure, groups, slices = [], [], [], [], []
    for place, record in iterate_lines(path):
        try:
            truth, view = str(record["truth"]), record["opinions"][0]
            answers = _answers(record["people"])
            confidence = float(view["confidence"])
            right = float(str(view["answer"]) == truth)
            group = str(record["id"] if record.get("group") is None else record["group"])
            if not 0 <= confidence <= 1:
                raise ValueError(f"got confidence {confidence:g}, expected 0 to 1")
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise DataError(
                f"{place}: {error!r}; expected id, truth, opinions [{{answer, confidence}}] and "
                "people (a list of their answers)"
            ) from None
        for answer in answers:
            people.append(float(answer == truth))
            ai.append(right)
            sure.append(confidence)
            groups.append(group)
            slices.append(str(record.get("slice") or view["answer"]))
    return Rows(
        confidence=np.array(sure), ai=np.array(ai), people=np.array(people),
        groups=groups, slices=slices,
    )  # fmt: skip


def _answers(people: object) -> list[str]:
    """People's answers; of a string each letter would pass for one."""
    if not isinstance(people, list):
        raise TypeError(f"people: got {people!r:.40}")
    return [str(answer) for answer in people]


def route_known(path: Path, config: RouteConfig) -> Known:
    """Choose on one half of the groups; keep the other for the report.

    For risk in thirds: calibration by slice orders cases by their errors, so that a bound on the
    errors of the very same cases would not keep its confidence.
    """
    rows = read_known(path)
    names = sorted(set(map(str, rows.groups)))
    if len(names) < 20:
        raise DataError(f"{path}: got {len(names)} groups, expected at least 20 to halve")
    order = np.random.default_rng(config.seed).permutation(len(names))
    apart = config.aim == "risk"
    size = len(names) // (3 if apart else 2)
    part = {names[place]: number // size for number, place in enumerate(order)}
    parts = np.array([part[str(group)] for group in rows.groups])
    last = 2 if apart else 1
    calibration = fit_confidence_by_slice(rows.take(parts == 0))
    chooses, other = rows.take(parts == last - 1), rows.take(parts >= last)
    chooses = replace(chooses, confidence=calibration(chooses))
    other = replace(other, confidence=calibration(other))
    aim = Objective(aim=config.aim, risk=config.risk, person_cost=config.person_cost)
    return Known(
        threshold=choose_threshold(chooses, aim),
        calibration=calibration,
        rows=other,
        deferred=fit_deferral(chooses).accepts(other.confidence, other.slices),
        seed=config.seed,
        chosen_on="the calibration comes from one third of the groups, T from another"
        if apart
        else "T and the calibration come from one half of the groups",
    )


@dataclass(frozen=True, slots=True)
class Dealt:
    """New cases: the AI's, people's, and the AI's that people see too."""

    accepted: list[Case]
    asked: list[Case]
    audited: list[Case]


def deal(cases: Sequence[Case], known: Known, config: RouteConfig) -> Dealt:
    """Route new cases by T; a case without the AI's view goes to people."""
    seen = [case for case in cases if case.view is not None]
    asked = [case for case in cases if case.view is None]
    if not seen:
        return Dealt([], asked, [])
    views = [case.view for case in seen if case.view is not None]
    rows = Rows(
        confidence=np.array([view.confidence for view in views]),
        ai=np.zeros(len(views)),
        people=np.zeros(len(views)),
        groups=[case.ref for case in seen],
        slices=[case.slice or view.answer for case, view in zip(seen, views, strict=True)],
    )
    accepts = known.calibration(rows) >= known.threshold
    looked = audit(accepts, config.audit, seed=config.seed)
    asked += [case for case, taken in zip(seen, accepts, strict=True) if not taken]
    return Dealt(
        [case for case, taken in zip(seen, accepts, strict=True) if taken],
        asked,
        [case for case, taken in zip(seen, looked, strict=True) if taken],
    )


def write_accepted(path: Path, cases: Sequence[Case]) -> None:
    """Accepted cases as JSONL, which `read_case` reads again."""
    lines = [json.dumps(case_to_record(case)) for case in cases]
    for line in lines:
        read_case(json.loads(line))
    write_atomically(path, "".join(line + "\n" for line in lines))
