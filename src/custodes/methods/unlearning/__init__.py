"""Unlearning: are facts removed from a model, or only hidden?

Implements the protocol of "Do Unlearning Methods Remove Information from Language Model Weights?"
(arXiv 2410.08827), which answers the evaluation problem that arXiv 2501.04952 names: implant facts
or take known ones, remove them by five methods, teach a part again and test the rest. Knows nothing
of guards, servers or other methods.

Names are imported on first use, so that the command line can list its commands without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from custodes.methods.unlearning.capitals import capitals
    from custodes.methods.unlearning.config import RemovalConfig, StudyConfig
    from custodes.methods.unlearning.facts import Fact, read_facts, split_facts, write_facts
    from custodes.methods.unlearning.grammar import invent
    from custodes.methods.unlearning.measure import recovery, recovery_over
    from custodes.methods.unlearning.method import Study, run_study
    from custodes.methods.unlearning.removal import remove

__all__ = [
    "Fact",
    "RemovalConfig",
    "Study",
    "StudyConfig",
    "capitals",
    "invent",
    "read_facts",
    "recovery",
    "recovery_over",
    "remove",
    "run_study",
    "split_facts",
    "write_facts",
]

_HOMES = {
    "capitals": ("capitals",),
    "config": ("RemovalConfig", "StudyConfig"),
    "facts": ("Fact", "read_facts", "split_facts", "write_facts"),
    "grammar": ("invent",),
    "measure": ("recovery", "recovery_over"),
    "method": ("Study", "run_study"),
    "removal": ("remove",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
