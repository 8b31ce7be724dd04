"""CAPA and its family: who agrees with whom, beyond chance and beyond accuracy.

Implements "Great Models Think Alike and this Undermines AI Oversight" (arXiv 2502.04313): the
metrics with intervals, all pairs at once, the three studies, and panels of overseers that err
differently. Knows nothing of guards, servers or other methods.

Names are imported on first use, so that the command line can list its commands without them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from custodes.methods.similarity.answers import Answers, harden, temper
    from custodes.methods.similarity.matrix import (
        AnswerFile,
        Similarities,
        similarities,
        stream_similarities,
        tiled_similarities,
    )
    from custodes.methods.similarity.metrics import (
        METRICS,
        Metric,
        Pair,
        agreement,
        agreement_when_both_wrong,
        capa,
        cohen_kappa,
        error_consistency,
        error_correlation,
        fleiss_kappa,
        jensen_shannon,
        scott_pi,
        self_similarity_ceiling,
    )
    from custodes.methods.similarity.panel import (
        Likeness,
        Panel,
        binary_answers,
        choose_panel,
        likeness,
        warnings_of,
    )
    from custodes.methods.similarity.uncertainty import (
        Null,
        bootstrap_interval,
        jackknife_interval,
        permutation_null,
    )

__all__ = [
    "METRICS",
    "AnswerFile",
    "Answers",
    "Likeness",
    "Metric",
    "Null",
    "Pair",
    "Panel",
    "Similarities",
    "agreement",
    "agreement_when_both_wrong",
    "binary_answers",
    "bootstrap_interval",
    "capa",
    "choose_panel",
    "cohen_kappa",
    "error_consistency",
    "error_correlation",
    "fleiss_kappa",
    "harden",
    "jackknife_interval",
    "jensen_shannon",
    "likeness",
    "permutation_null",
    "scott_pi",
    "self_similarity_ceiling",
    "similarities",
    "stream_similarities",
    "temper",
    "tiled_similarities",
    "warnings_of",
]

_HOMES = {
    "answers": (
        "Answers",
        "harden",
        "temper",
    ),
    "matrix": (
        "AnswerFile",
        "Similarities",
        "similarities",
        "stream_similarities",
        "tiled_similarities",
    ),
    "metrics": (
        "METRICS",
        "Metric",
        "Pair",
        "agreement",
        "agreement_when_both_wrong",
        "capa",
        "cohen_kappa",
        "error_consistency",
        "error_correlation",
        "fleiss_kappa",
        "jensen_shannon",
        "scott_pi",
        "self_similarity_ceiling",
    ),
    "panel": (
        "Likeness",
        "Panel",
        "binary_answers",
        "choose_panel",
        "likeness",
        "warnings_of",
    ),
    "uncertainty": (
        "Null",
        "bootstrap_interval",
        "jackknife_interval",
        "permutation_null",
    ),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
