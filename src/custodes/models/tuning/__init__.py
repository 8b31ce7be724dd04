"""Fine-tune a causal language model, and score what it would say: packed, without padding.

    model = open_tunable(TunableConfig())
    rows = [model.rows.chat("Which one?", "B"), ...]
    trace = tune(model, rows, TuneConfig(rank=16))
    option_log_probs(model, ["Which one?"], [["A", "B"]], end=True)
    model.drop()

Knows models and rows; knows nothing of what is taught or why.
"""

from custodes.models.tuning.loop import Trace, TuneConfig, cross_entropy, fit, rate_share, tune
from custodes.models.tuning.model import (
    AdapterConfig,
    TunableConfig,
    TunableModel,
    open_tunable,
)
from custodes.models.tuning.packed import Packed, pack_rows
from custodes.models.tuning.preference import dpo_loss, tune_preferences
from custodes.models.tuning.rows import CHATML, Row, RowMaker
from custodes.models.tuning.scoring import (
    continuation_log_probs,
    option_log_probs,
    row_log_probs,
)

__all__ = [
    "CHATML",
    "AdapterConfig",
    "Packed",
    "Row",
    "RowMaker",
    "Trace",
    "TunableConfig",
    "TunableModel",
    "TuneConfig",
    "continuation_log_probs",
    "cross_entropy",
    "dpo_loss",
    "fit",
    "open_tunable",
    "option_log_probs",
    "pack_rows",
    "rate_share",
    "row_log_probs",
    "tune",
    "tune_preferences",
]
