"""Parameter decomposition: APD and SPD as one library.

Implements "Interpretability in Parameter Space" (APD, arXiv 2501.14926) and "Stochastic Parameter
Decomposition" (SPD, arXiv 2506.20790): targets, both methods side by side over seeds, figures with
a random-network null. Knows nothing of guards, servers or other methods.

Names are imported on first use, so that the command line can list its commands without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from custodes.methods.decomposition.apd import APD, attributions
    from custodes.methods.decomposition.config import APDConfig, SPDConfig, TargetConfig
    from custodes.methods.decomposition.method import Result, decompose, load_decomposition
    from custodes.methods.decomposition.metrics.columns import match_columns
    from custodes.methods.decomposition.metrics.importance import dense_error, identity_error
    from custodes.methods.decomposition.metrics.reconstruction import reconstruction
    from custodes.methods.decomposition.metrics.stability import match
    from custodes.methods.decomposition.presets import preset_config
    from custodes.methods.decomposition.spd import SPD
    from custodes.methods.decomposition.targets.module import ModuleTarget

__all__ = [
    "APD",
    "SPD",
    "APDConfig",
    "ModuleTarget",
    "Result",
    "SPDConfig",
    "TargetConfig",
    "attributions",
    "decompose",
    "dense_error",
    "identity_error",
    "load_decomposition",
    "match",
    "match_columns",
    "preset_config",
    "reconstruction",
]

_HOMES = {
    "apd": ("APD", "attributions"),
    "config": ("APDConfig", "SPDConfig", "TargetConfig"),
    "method": ("Result", "decompose", "load_decomposition"),
    "metrics.columns": ("match_columns",),
    "metrics.importance": ("dense_error", "identity_error"),
    "metrics.reconstruction": ("reconstruction",),
    "metrics.stability": ("match",),
    "presets": ("preset_config",),
    "spd": ("SPD",),
    "targets.module": ("ModuleTarget",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
