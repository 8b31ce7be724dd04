"""`custodes reproduce relearning`: does what was unlearned come back? (arXiv 2410.08827)

The paper removes from 7 B and 8 B models and reports that relearning a part brings back 88 % of
the accuracy on the rest, for facts from pretraining. Here: the embedded model.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from custodes.methods.unlearning.config import (
    FactsConfig,
    RelearnConfig,
    RemovalConfig,
    StudyConfig,
)
from custodes.methods.unlearning.method import run_study
from custodes.models.tuning import TuneConfig

__all__ = ["PUBLISHED", "reproduce", "study_config"]

PUBLISHED = 0.88
"""Share of the accuracy before unlearning that came back, over methods (abstract)."""


def study_config(size: Literal["tiny", "full"], seed: int) -> StudyConfig:
    """full: three seeds of invented facts. tiny: one seed, few facts, two methods."""
    if size == "full":
        return StudyConfig(first_seed=seed)
    return StudyConfig(
        first_seed=seed,
        seeds=1,
        facts=FactsConfig(forget=16, neighbors=12),
        implant=TuneConfig(epochs=8, batch_rows=16, learning_rate=1e-3),
        removal=RemovalConfig(methods=("graddiff", "npo")),
        relearn=RelearnConfig(epochs=4, points=(0, 2, 4)),
        text_tokens=256,
    )


def reproduce(
    size: Literal["tiny", "full"],
    seed: int,
    out: Path,
    *,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """The study into the folder `out`; returns the path of the report page."""
    return run_study(study_config(size, seed), out, say=say).page
