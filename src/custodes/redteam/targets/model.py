"""A model with nothing before it and nothing behind it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from custodes.errors import ModelRequestError
from custodes.models import LogProbabilityModel, SwapModel
from custodes.redteam.probes import Probe, Seen, Want
from custodes.redteam.targets.base import Clock
from custodes.redteam.targets.replies import ModelSettings, Replies

__all__ = ["ModelTarget", "capabilities", "inside"]


class ModelTarget:
    """Every reply leaves as it is."""

    class Config(ModelSettings):
        """The model."""

    def __init__(self, config: Config, *, cache: Path | None = None) -> None:
        self.clock = Clock()
        self.replies = Replies(config, cache, self.clock)
        self.can = capabilities(self.replies)
        self.description = self.replies.description

    def handle(self, probes: Sequence[Probe]) -> list[Seen]:
        """Replies in one batch; the rest one by one."""
        asked = [probe for probe in probes if probe.want == "reply"]
        said = iter(self.replies.ask([probe.turns for probe in asked]))
        return [_said(next(said)) if p.want == "reply" else inside(self.replies, p) for p in probes]


def _said(reply: object) -> Seen:
    text, finish = getattr(reply, "text", ""), getattr(reply, "finish", "stop")
    return Seen(reply=text, stopped="refusal" if finish == "refusal" else None)


def capabilities(replies: Replies) -> frozenset[Want]:
    """What the model answers."""
    found: set[Want] = {"reply"}
    if isinstance(replies.model, LogProbabilityModel):
        found.add("likelihood")
    if isinstance(replies.model, SwapModel):
        found.add("gradient")
    return frozenset(found)


def inside(replies: Replies, probe: Probe) -> Seen:
    """What the model itself says of a continuation: its likelihood, or swaps that raise it."""
    turns = replies.complete(probe.turns)
    try:
        if probe.want == "likelihood":
            (logs,) = replies.model.log_probabilities(turns, [probe.continuation])
            return Seen(value=float(logs.mean()) if len(logs) else None)
        pieces, swaps = replies.model.swaps(turns, probe.suffix, probe.continuation, top=32)
    except ModelRequestError:  # too long for the model
        return Seen()
    return Seen(pieces=pieces, swaps=swaps)
