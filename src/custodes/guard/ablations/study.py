"""What a study is, and what it has to work with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from custodes.classifiers import LabelledRow
from custodes.guard.ablations.bench import Arm, Bench, Recipe, Train
from custodes.guard.ablations.claims import Claim
from custodes.guard.ablations.material import Material

__all__ = ["EXCHANGES", "V1", "V2", "Rows", "Study", "Workplace", "group_of"]

V1, V2 = "Constitutional Classifiers (2501.18837)", "CC++ (2601.04603)"
EXCHANGES = "generated exchanges"
Rows = Sequence[LabelledRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One ablation. `axis` names what `Arm.x` is; `tables` are those that it is measured on, `own`
    the rows of those that are no other study's."""

    name: str
    told: str
    arms: Sequence[Arm]
    claims: Sequence[Claim]
    tables: Sequence[str]
    axis: str = ""
    own: Mapping[str, Rows] = field(default_factory=dict)


class Workplace(NamedTuple):
    """What a study has to work with."""

    bench: Bench
    material: Material

    def arm(
        self,
        name: str,
        train: Train,
        recipe: Recipe | None = None,
        *,
        tables: Mapping[str, Rows] | None = None,
        x: float | None = None,
    ) -> Arm:
        """An arm fitted on `train`, measured on every table of prompts unless others are given."""
        over = self.material.prompts if tables is None else tables
        scores = self.bench.judged(recipe or Recipe(), train, over)
        return Arm(
            name=name,
            scores=scores,
            x=x,
            facts={"rows": len(train(0) if callable(train) else train)},
        )


def group_of(row: LabelledRow) -> str:
    """What a row belongs to: rows of one group are never parted."""
    return row.example.group or row.example.id
