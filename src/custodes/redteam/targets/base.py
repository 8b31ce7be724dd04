"""What a target is: probes in, what was seen of each out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import ConfigDict

from custodes.config import Config, Registry
from custodes.redteam.probes import Probe, Seen, Want

__all__ = ["TARGETS", "Clock", "Target", "TargetConfig", "make_target"]

_HERE = "custodes.redteam.targets"

TARGETS = Registry(
    "targets",
    {
        "gateway": f"{_HERE}.gateway:GatewayTarget",
        "guard": f"{_HERE}.guard:GuardTarget",
        "guarded": f"{_HERE}.guarded:GuardedTarget",
        "model": f"{_HERE}.model:ModelTarget",
    },
)
"""name -> class that takes its own `Config` and the folder of cached replies."""


@dataclass
class Clock:
    """Seconds spent, by what they were spent on."""

    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, what: str, seconds: float) -> None:
        """Count them in."""
        self.seconds[what] = self.seconds.get(what, 0.0) + seconds


class Target(Protocol):
    """A system under attack."""

    can: frozenset[Want]
    """What it answers."""
    description: str
    """For reports."""
    clock: Clock
    """Where its time went."""

    def handle(self, probes: Sequence[Probe]) -> list[Seen]:
        """What comes back of each, in order; ungraded."""
        ...


class TargetConfig(Config):
    """Which target: its `kind`, and beside it the target's own settings."""

    model_config = ConfigDict(extra="allow")

    kind: str = "guarded"
    """A name of `TARGETS`, or a dotted path."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """The target's own settings."""
        return self.model_extra or {}


def make_target(config: TargetConfig, *, cache: Path | None = None) -> Target:
    """Build a target; `cache` keeps what its model said. `ConfigError` for a wrong setting."""
    kind = TARGETS.load(config.kind)
    settings = kind.Config.parse(config.settings, origin=f"settings of the target {config.kind}")
    target: Target = kind(settings, cache=cache)
    return target
