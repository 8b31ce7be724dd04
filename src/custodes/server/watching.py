"""Bring a guard that reads the model's own passes and the models that reply together.

At the start, and at every reload: a gateway whose guard cannot see its upstreams does not start.
"""

from __future__ import annotations

from collections.abc import Mapping

from custodes.errors import ConfigError
from custodes.guard import Guard
from custodes.server.upstreams.base import Upstream
from custodes.server.upstreams.local import LocalUpstream
from custodes.types import Mode

__all__ = ["bind"]


def bind(guard: Guard, upstreams: Mapping[str, Upstream]) -> None:
    """Let the stage with features `guarded`, where there is one, read the upstreams' model.

    `ConfigError` where an upstream is not in this process, or another model than the one that the
    stage was trained on, and where no stage judges prompts. Loads the models.
    """
    features = guard.guarded
    if features is None:
        return
    for mode in Mode:
        guard.cascade.serving(mode)
    for name, upstream in upstreams.items():
        if not isinstance(upstream, LocalUpstream):
            raise ConfigError(
                f"upstream {name}: another process replies, but the guard has a stage that reads "
                "the model's own passes (features: guarded); expected a model in this process "
                "alone: take the upstream away, or serve a guard without that stage"
            )
        features.bind(upstream.resident(), name=f"upstream {name}")
