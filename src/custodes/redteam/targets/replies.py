"""Replies of a model, kept by content: the same conversation is never computed twice.

With a seed a reply depends on the model and the conversation alone, so a campaign that is taken up
again, or that meets the same prompts behind another guard, gets the very same replies. What a model
could not take is asked again the next time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from pydantic import Field

from custodes.config import Config, named_files, write_atomically
from custodes.errors import ModelRequestError
from custodes.models import MODELS, Reply, Sampling
from custodes.redteam.targets.base import Clock
from custodes.types import Conversation

__all__ = ["ModelSettings", "Replies"]

_OF_THE_CONVERSATION = (None, 400, 413, 422)
"""Statuses of refusals that another conversation might not get; others (a wrong key, no such model)
are no replies, and a campaign on them would find everything safe."""


class ModelSettings(Config):
    """The model that answers, and how."""

    model: dict[str, Any] = Field(default_factory=lambda: {"kind": "embedded"})
    """Its `kind` and settings, as everywhere."""
    system: str = ""
    """A system prompt; empty: none."""
    max_tokens: int = Field(default=96, ge=1)
    """At most so many tokens a reply."""
    temperature: float = Field(default=0.7, ge=0)
    """0 is greedy."""
    seed: int = 0
    """Of the replies."""


class Replies:
    """Asks the model for what it has not said yet. `sampling`, which may be replaced, says how."""

    def __init__(self, config: ModelSettings, cache: Path | None, clock: Clock) -> None:
        settings = dict(config.model)
        self._made_of = [dict(settings), named_files(settings)]
        kind = MODELS.load(str(settings.pop("kind", "embedded")))
        self.model = kind(kind.Config.parse(settings, origin="settings of the target's model"))
        self.description: str = self.model.description
        self._system = config.system
        self.sampling = Sampling(
            max_tokens=config.max_tokens,
            temperature=config.temperature,
            top_p=0.95 if config.temperature else 1.0,
            seed=config.seed,
        )
        self._folder = cache
        self._clock = clock
        self._known: dict[str, Reply] = {}

    def ask(self, conversations: Sequence[Conversation]) -> list[Reply]:
        """One reply a conversation; one that the model cannot take gets an empty reply."""
        whole = [self.complete(each) for each in conversations]
        keys = [self._key(each) for each in whole]
        missing = {
            key: turns
            for key, turns in zip(keys, whole, strict=True)
            if key not in self._known and not self._read(key)
        }
        if missing:
            begun = perf_counter()
            fresh = self._generate(list(missing.values()))
            self._clock.add("model", perf_counter() - begun)
            self._clock.add("replies generated", len(missing))
            for key, reply in zip(missing, fresh, strict=True):
                if reply is None:
                    self._known[key] = Reply(text="", finish="refusal")
                    self._clock.add("requests refused by the model", 1)
                else:
                    self._keep(key, reply)
        return [self._known[key] for key in keys]

    def complete(self, turns: Conversation) -> Conversation:
        """The conversation with the system prompt, where there is one."""
        from custodes.types import Message

        return (Message("system", self._system), *turns) if self._system else turns

    def _generate(self, conversations: list[Conversation]) -> list[Reply | None]:
        """None: too long, or refused by the server."""
        try:
            found: list[Reply | None] = self.model.generate(conversations, self.sampling)
            return found
        except ModelRequestError as error:
            if error.status not in _OF_THE_CONVERSATION:
                raise
            if len(conversations) == 1:
                return [None]
        return [self._generate([turns])[0] for turns in conversations]

    def _key(self, turns: Conversation) -> str:
        told = [(turn.role, turn.content) for turn in turns]
        said = [self.description, self._made_of, self.sampling.model_dump(), told]
        return hashlib.sha256(json.dumps(said, default=str).encode("ascii")).hexdigest()[:40]

    def _path(self, key: str) -> Path | None:
        return None if self._folder is None else self._folder / key[:2] / f"{key}.json"

    def _read(self, key: str) -> bool:
        path = self._path(key)
        if path is None or not path.is_file():
            return False
        values = json.loads(path.read_text(encoding="ascii"))
        self._known[key] = Reply(text=values["text"], finish=values["finish"])
        return True

    def _keep(self, key: str, reply: Reply) -> None:
        self._known[key] = reply
        if (path := self._path(key)) is not None:
            values = {"text": reply.text, "finish": reply.finish}
            write_atomically(path, json.dumps(values))
