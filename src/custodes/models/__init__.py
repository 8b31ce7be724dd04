"""Ask a model: generate, stream, log-probabilities, activations.

Knows vendors and tensors; knows nothing of constitutions, guards or HTTP servers.
"""

from custodes.config import Registry
from custodes.models.base import (
    ActivationModel,
    Activations,
    Ending,
    GenerateModel,
    LogProbabilityModel,
    Passage,
    Reply,
    Sampling,
    StreamModel,
    SwapModel,
    WatchedModel,
)

__all__ = [
    "MODELS",
    "ActivationModel",
    "Activations",
    "Ending",
    "GenerateModel",
    "LogProbabilityModel",
    "Passage",
    "Reply",
    "Sampling",
    "StreamModel",
    "SwapModel",
    "WatchedModel",
]

MODELS = Registry(
    "models",
    {
        "scripted": "custodes.models.scripted:ScriptedModel",
        "embedded": "custodes.models.embedded:EmbeddedModel",
        "transformers": "custodes.models.transformers:TransformersModel",
        "openai": "custodes.models.openai:OpenAIModel",
        "anthropic": "custodes.models.anthropic:AnthropicModel",
    },
)
"""name -> class; every class takes its own `Config` (attribute `Config`) as its only argument."""
