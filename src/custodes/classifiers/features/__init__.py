"""Features by name."""

from custodes.classifiers.features.base import Features, FeatureStream, Judged, Tokens
from custodes.config import Registry

__all__ = ["FEATURES", "FeatureStream", "Features", "Judged", "Tokens"]

FEATURES = Registry(
    "features",
    {
        "hashed": "custodes.classifiers.features.hashed:HashedFeatures",
        "activations": "custodes.classifiers.features.activations:ActivationFeatures",
        "encoder": "custodes.classifiers.features.encoder:EncoderFeatures",
        "guarded": "custodes.classifiers.features.guarded:GuardedFeatures",
    },
)
"""name -> class; every class takes its own `Config` as its only argument."""
