"""Examples -> a scorer: features, heads, losses, training, calibration, artifacts.

Knows no policy, no cascade and no stream protocol of servers. What needs torch or scikit-learn is
imported where it is used, so that a hashed scorer loads with numpy alone.
"""

from custodes.classifiers.artifact import load_scorer, save_scorer
from custodes.classifiers.base import Point, Scorer, Stream, judged_text, split_conversation
from custodes.classifiers.cache import CachedFeatures
from custodes.classifiers.calibrate import (
    Threshold,
    benign_rows_needed,
    fit_calibration,
    threshold_for_budget,
)
from custodes.classifiers.features import FEATURES, Features, FeatureStream, Judged, Tokens
from custodes.classifiers.heads import Head
from custodes.classifiers.losses import LOSSES
from custodes.classifiers.prompted import PromptedConfig, PromptedScorer
from custodes.classifiers.rows import LabelledRow, labelled_rows, sample_rows
from custodes.classifiers.scorer import Calibration, TokenScorer, Windows
from custodes.classifiers.stage import StageConfig
from custodes.classifiers.training import fit_stage

__all__ = [
    "FEATURES",
    "LOSSES",
    "CachedFeatures",
    "Calibration",
    "FeatureStream",
    "Features",
    "Head",
    "Judged",
    "LabelledRow",
    "Point",
    "PromptedConfig",
    "PromptedScorer",
    "Scorer",
    "StageConfig",
    "Stream",
    "Threshold",
    "TokenScorer",
    "Tokens",
    "Windows",
    "benign_rows_needed",
    "fit_calibration",
    "fit_stage",
    "judged_text",
    "labelled_rows",
    "load_scorer",
    "sample_rows",
    "save_scorer",
    "split_conversation",
    "threshold_for_budget",
]
