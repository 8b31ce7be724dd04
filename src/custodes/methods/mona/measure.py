"""Figures over seeds: intervals of means, and curves with their bands. Pure functions.

Runs of different seeds are independent, so intervals are Student's t over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from custodes.measure import Interval, over_seeds
from custodes.methods.mona.gridworld.board import Floats

__all__ = ["ArmRuns", "Curve", "group_runs"]

Point = Mapping[str, float]
"""A moment of training: `step`, `observed`, `true`, `hack`, and whatever else was measured."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A figure along training: mean over seeds and the interval's ends, [points] each."""

    steps: Floats
    mean: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRuns:
    """One arm: the seeds, and the points of each run in order, as many in every run."""

    arm: str
    seeds: tuple[int, ...]
    runs: tuple[tuple[Point, ...], ...]

    def last(self, name: str) -> list[float]:
        """The figure at the end of each run."""
        return [float(points[-1][name]) for points in self.runs]

    def final(self, name: str) -> Interval:
        """Mean at the end of training, with its interval over seeds."""
        return over_seeds(self.last(name))

    def curve(self, name: str) -> Curve:
        """The figure along training."""
        values = np.array([[float(point[name]) for point in points] for points in self.runs])
        ends = [over_seeds(column) for column in values.T]
        return Curve(
            np.array([float(point["step"]) for point in self.runs[0]]),
            values.mean(axis=0),
            np.array([end.value if math.isnan(end.low) else end.low for end in ends]),
            np.array([end.value if math.isnan(end.high) else end.high for end in ends]),
        )


def group_runs(rows: Sequence[Mapping[str, Any]]) -> list[ArmRuns]:
    """Rows of `arm`, `seed`, `points` by arm, in order of first appearance."""
    arms = dict.fromkeys(str(row["arm"]) for row in rows)
    return [
        ArmRuns(
            arm=arm,
            seeds=tuple(int(row["seed"]) for row in rows if row["arm"] == arm),
            runs=tuple(tuple(row["points"]) for row in rows if row["arm"] == arm),
        )
        for arm in arms
    ]
