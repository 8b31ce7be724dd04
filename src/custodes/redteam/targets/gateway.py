"""Any address that speaks OpenAI's wire format: a gateway of custodes, or anybody's server.

A reply whose finish reason is content_filter counts as stopped, and what came before the stop is
graded all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from custodes.errors import ModelError
from custodes.models import Reply, Sampling
from custodes.models.openai import OpenAIModel
from custodes.models.remote import Remote, Timing
from custodes.redteam.probes import Probe, Seen, Want
from custodes.redteam.targets.base import Clock
from custodes.types import Conversation, Message

__all__ = ["GatewayTarget", "guard_told"]

_PATIENCE = 10.0
"""Seconds, at most, that a server may think about which guard it has."""


class GatewayTarget:
    """Asks over HTTP; nothing is cached."""

    class Config(OpenAIModel.Config):
        """The address, the key, and how replies are drawn."""

        system: str = ""
        """A system prompt; empty: none."""
        max_tokens: int = 96
        """At most so many tokens a reply."""
        temperature: float = 0.7
        """0 is greedy."""
        seed: int | None = 0
        """Passed on to the server."""

    can: frozenset[Want] = frozenset({"reply"})

    def __init__(self, config: Config, *, cache: Path | None = None) -> None:
        self.clock = Clock()
        self._config = config
        self._system = config.system
        self.sampling = Sampling(
            max_tokens=config.max_tokens, temperature=config.temperature, seed=config.seed
        )
        self.description = f"{config.model} at {config.base_url}"
        OpenAIModel(config).close()  # a missing key shows now

    def handle(self, probes: Sequence[Probe]) -> list[Seen]:
        """One request a probe, as many at once as the settings allow."""
        asked = [self._turns(probe.turns) for probe in probes]
        with OpenAIModel(self._config) as model:
            replies = model.generate(asked, self.sampling)
        return [_seen(reply) for reply in replies]

    def _turns(self, turns: Conversation) -> Conversation:
        return (Message("system", self._system), *turns) if self._system else turns


def guard_told(config: GatewayTarget.Config) -> str:
    """The guard that a gateway of custodes says judges there, by its hash; "" where none is told.

    The gateway tells it at /readyz, to everybody; other servers have no such page.
    """
    root = config.base_url.rstrip("/").removesuffix("/v1")
    patience = min(config.read_timeout, _PATIENCE)
    asked = config.model_copy(
        update={"base_url": root, "api_key_env": None, "read_timeout": patience}
    )
    remote = Remote(asked, authorize=lambda key: {}, timing=Timing())
    try:
        answer = remote.get("/readyz")
    except ModelError:  # a server that does not answer at all is for the attacks to tell
        return ""
    finally:
        remote.close()
    parts = [answer.get(str, "guard", name) for name in ("constitution", "artifact")]
    return " ".join(part for part in parts if part)


def _seen(reply: Reply) -> Seen:
    return Seen(reply=reply.text, stopped="refusal" if reply.finish == "refusal" else None)
