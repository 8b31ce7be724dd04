"""Sparse autoencoders, honestly: seeds, random networks, descriptions from both ends.

Implements "Sparse Autoencoders Trained on the Same Data Learn Different Features" (arXiv
2501.16615), "Automated Interpretability Metrics Do Not Distinguish Trained and Random
Transformers" (2501.17727v2) and "Enhancing Automated Interpretability with Output-Centric
Feature Descriptions" (2501.08319). Knows nothing of guards, servers or other methods.

Names are imported on first use, so that the command line can list its commands without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from custodes.methods.sae.coder import Coder
    from custodes.methods.sae.collecting import collect
    from custodes.methods.sae.config import (
        CoderConfig,
        CollectConfig,
        CompareConfig,
        DescribeConfig,
        NullConfig,
        ToyConfig,
        TrainConfig,
    )
    from custodes.methods.sae.features import (
        Features,
        coder_features,
        direction_features,
        neuron_features,
    )
    from custodes.methods.sae.formats import load_coder, save_coder
    from custodes.methods.sae.language import LanguageModel, load_language_model
    from custodes.methods.sae.matching import Assignment, match, nearest
    from custodes.methods.sae.metrics import Quality, ce_score, judge
    from custodes.methods.sae.seeds import Overlap, compare, permuted, random_directions
    from custodes.methods.sae.store import ActivationStore, write_store
    from custodes.methods.sae.texts import read_texts
    from custodes.methods.sae.training import Trained, train, untrained
    from custodes.methods.sae.variants import token_entropy, variant

__all__ = [
    "ActivationStore",
    "Assignment",
    "Coder",
    "CoderConfig",
    "CollectConfig",
    "CompareConfig",
    "DescribeConfig",
    "Features",
    "LanguageModel",
    "NullConfig",
    "Overlap",
    "Quality",
    "ToyConfig",
    "TrainConfig",
    "Trained",
    "ce_score",
    "coder_features",
    "collect",
    "compare",
    "direction_features",
    "judge",
    "load_coder",
    "load_language_model",
    "match",
    "nearest",
    "neuron_features",
    "permuted",
    "random_directions",
    "read_texts",
    "save_coder",
    "token_entropy",
    "train",
    "untrained",
    "variant",
    "write_store",
]

_HOMES = {
    "coder": ("Coder",),
    "collecting": ("collect",),
    "config": (
        "CoderConfig",
        "CollectConfig",
        "CompareConfig",
        "DescribeConfig",
        "NullConfig",
        "ToyConfig",
        "TrainConfig",
    ),
    "features": (
        "Features",
        "coder_features",
        "direction_features",
        "neuron_features",
    ),
    "formats": (
        "load_coder",
        "save_coder",
    ),
    "language": (
        "LanguageModel",
        "load_language_model",
    ),
    "matching": (
        "Assignment",
        "match",
        "nearest",
    ),
    "metrics": (
        "Quality",
        "ce_score",
        "judge",
    ),
    "seeds": (
        "Overlap",
        "compare",
        "permuted",
        "random_directions",
    ),
    "store": (
        "ActivationStore",
        "write_store",
    ),
    "texts": ("read_texts",),
    "training": (
        "Trained",
        "train",
        "untrained",
    ),
    "variants": (
        "token_entropy",
        "variant",
    ),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
