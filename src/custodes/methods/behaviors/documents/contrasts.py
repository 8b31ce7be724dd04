"""Arms against one another: gaps with intervals over seeds, and over seeds and items. Pure.

Runs of different seeds are independent: a gap's interval is Student's t over per-seed gaps, each
the mean over items of first - second, paired by item and seed. The second interval draws items anew
beside seeds, so that it holds for other scenarios too; it is never the narrower one, and of one
seed there is neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from custodes.errors import DataError
from custodes.measure import Interval, over_seeds
from custodes.methods.behaviors.awareness.gaps import crossed_interval

__all__ = ["Cells", "Gap", "gap", "level", "slope_of"]

_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Cells:
    """Readings of a study: (arm, stage) -> seed -> measure -> item -> value."""

    rows: Sequence[Mapping[str, Any]]

    def seeds(self, arm: str, stage: str = "none") -> list[int]:
        """Seeds of an arm, in order."""
        return sorted(
            row["seed"] for row in self.rows if row["arm"] == arm and row["stage"] == stage
        )

    def measures(self) -> list[str]:
        """All measures, in order of first appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row["readings"]))

    def values(self, measure: str, arm: str, stage: str = "none") -> NDArray[np.float64]:
        """[seeds, items]; items in one order for all arms. `DataError` where there is nothing."""
        found = {
            row["seed"]: row["readings"][measure]
            for row in self.rows
            if row["arm"] == arm and row["stage"] == stage and measure in row["readings"]
        }
        if not found:
            raise DataError(f"{measure}: got no run of {arm} with {stage} after it")
        items = sorted(next(iter(found.values())))
        return np.array([[found[seed][item] for item in items] for seed in sorted(found)])


@dataclass(frozen=True, slots=True)
class Gap:
    """first - second: with its interval over seeds, and over seeds and items."""

    seeds: Interval
    both: Interval


def level(cells: Cells, measure: str, arm: str, stage: str = "none") -> Interval:
    """A measure's mean over items, with its interval over seeds."""
    return over_seeds(cells.values(measure, arm, stage).mean(axis=1))


def gap(cells: Cells, measure: str, first: str, second: str, *, stage: str = "none") -> Gap:
    """How far the first arm stands above the second; seeds are paired."""
    return _gap(cells.values(measure, first, stage) - cells.values(measure, second, stage))


def slope_of(cells: Cells, measure: str, after: str) -> Gap:
    """What a stage does to the gap pro - anti: the gap after it less the gap before it."""
    now, before = (
        cells.values(measure, "pro", stage) - cells.values(measure, "anti", stage)
        for stage in (after, "none")
    )
    return _gap(now - before)


def _gap(differences: NDArray[np.float64]) -> Gap:
    """[seeds, items]."""
    seeds = over_seeds(differences.mean(axis=1))
    if len(differences) < 2:  # items alone say nothing of another run
        return Gap(seeds, seeds)
    crossed = differences[:, :, None, None]
    return Gap(seeds, crossed_interval(crossed, seed=0, resamples=_RESAMPLES))
