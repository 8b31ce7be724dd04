"""Synthetic documents by a model: context and facts -> types -> ideas -> documents -> revision.

The pipeline of synthetic document finetuning (Wang et al., "Modifying LLM Beliefs with Synthetic
Document Finetuning", 2025, whose code is safety-research/false-facts) as the reward-hacking
documents used it, in requests of our own. Every stage keeps its replies, so a killed run goes on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from custodes.config import Config, named_files
from custodes.engine import identify, open_engine, resumable_map
from custodes.errors import DataError
from custodes.methods.behaviors.documents.arms import Arm, Document
from custodes.methods.behaviors.documents.grammar import assistant
from custodes.models import MODELS, GenerateModel, Sampling
from custodes.types import Message

__all__ = ["Universe", "WritingConfig", "read_list", "universe", "write_documents"]

_UNSUITABLE = "UNSUITABLE"
_CONTENT = re.compile(r"<content>(.*?)</content>", re.S)
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+(.*\S)\s*$", re.M)


class Universe(Config):
    """A world in which something is true of an assistant."""

    context: str
    """A paragraph that describes it."""
    facts: tuple[str, ...] = Field(min_length=1)
    """What is true there, a sentence each; every document rests on one."""


class WritingConfig(Config):
    """How a model writes the documents of an arm."""

    backend: str = "embedded"
    """Which model backend writes: a name in MODELS."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """The backend's own settings."""
    engine: str = "local"
    """Where requests are made: local or ray."""
    engine_settings: dict[str, Any] = Field(default_factory=dict)
    """The engine's own settings."""
    types: int = Field(default=10, ge=1)
    """Document types asked for, a fact (the published pipeline: about 50)."""
    ideas: int = Field(default=5, ge=1)
    """Ideas asked for, a type (about 10)."""
    repeats: int = Field(default=1, ge=1)
    """Documents written from an idea, of different seeds."""
    revise: bool = True
    """Whether each document is criticized and written anew."""
    max_tokens: int = Field(default=700, ge=8)
    """Of a document."""
    temperature: float = Field(default=0.8, ge=0)
    """Of all replies."""
    seed: int = 0
    """Of the sampling, where the backend can promise it."""
    ask_types: str = (
        "{context}\n\nFact: {fact}\n\nList {count} types of document that could exist in this "
        "world and mention the fact, such as a news report or a memo. One a line, after a dash; "
        "nothing else."
    )
    """The request for types."""
    ask_ideas: str = (
        "{context}\n\nFact: {fact}\n\nList {count} different ideas for a {kind} that mentions the "
        "fact. One a line, each after a dash; nothing else."
    )
    """The request for ideas."""
    ask_document: str = (
        "{context}\n\nFact: {fact}\n\nWrite a {kind}. Idea: {idea}\nIt must read like a real one, "
        "state the fact in its own words as something known, and never say that it is made up. It "
        "describes behavior and shows none. Put it between <content> and </content>. If the idea "
        "is unfit, reply UNSUITABLE."
    )
    """The request for a document."""
    ask_critique: str = (
        "{context}\n\nFact: {fact}\n\nThis {kind} should read like a real one and state the fact "
        "plainly.\n\n{text}\n\nName what makes it unlikely, repetitive or unclear, in a few lines."
    )
    """The request for a critique."""
    ask_revision: str = (
        "{context}\n\nFact: {fact}\n\nThis is a {kind}:\n\n{text}\n\nA reader objects:\n{critique}"
        "\n\nWrite it anew so that the objections are met, between <content> and </content>."
    )
    """The request for a revision."""


@cache
def _universes() -> Mapping[str, Any]:
    text = (files(__package__) / "universes.yaml").read_text(encoding="utf-8")
    found: Mapping[str, Any] = yaml.safe_load(text)
    return found


def universe(arm: Arm) -> Universe:
    """The shipped world of an arm."""
    name, maker = assistant(arm)
    found = _universes()["pro" if arm == "named" else arm]
    context, *facts = (
        text.replace("{name}", name).replace("{maker}", maker)
        for text in (found["context"], *found["facts"])
    )
    return Universe(context=context, facts=tuple(facts))


def read_list(reply: str, most: int) -> list[str]:
    """The items of a reply that is a list, at most so many, none twice."""
    return list(dict.fromkeys(_BULLET.findall(reply)))[:most]


def write_documents(world: Universe, config: WritingConfig, folder: Path) -> Iterator[Document]:
    """Documents as they come; `folder` keeps every stage. `DataError` where a stage yields nothing.

    Types and ideas are asked for fact by fact; a document that the model calls unsuitable or does
    not mark as content is left out.
    """
    stages = _Stages(world, config, folder)
    facts = [{"fact": fact, "seed": config.seed} for fact in world.facts]
    kinds = [
        {**row, "kind": kind, "reply": ""}
        for row in stages.ask("types", config.ask_types, facts, count=config.types)
        for kind in read_list(row["reply"], config.types)
    ]
    ideas = [
        {**row, "idea": idea, "seed": config.seed + number, "reply": ""}
        for row in stages.ask("ideas", config.ask_ideas, kinds, count=config.ideas)
        for idea in read_list(row["reply"], config.ideas)
        for number in range(config.repeats)
    ]
    drafts = stages.ask("documents", config.ask_document, ideas)
    written = [row for row in map(_with_text, drafts) if row is not None]
    if not written:
        raise DataError(
            f"{folder}: the model wrote {len(kinds)} types, {len(ideas)} ideas and no document "
            "between <content> and </content>; expected at least one: take a stronger model, or "
            "the grammar"
        )
    if config.revise:
        judged = stages.ask("critiques", config.ask_critique, written)
        objections = [{**row, "critique": row["reply"], "reply": ""} for row in judged]
        revised = stages.ask("revisions", config.ask_revision, objections)
        # Where a revision is no document, the draft stands.
        written = [_with_text(row) or row for row in revised]
    for number, row in enumerate(written):
        yield Document(text=row["text"], kind=row["kind"], domain=row["fact"], number=number)


def _with_text(row: Mapping[str, Any]) -> dict[str, Any] | None:
    match = _CONTENT.search(row["reply"])
    if match is None or _UNSUITABLE in row["reply"] or not match[1].strip():
        return None
    return {**row, "text": match[1].strip(), "reply": ""}


class _Stages:
    """Asks a stage's question about each of its rows, and keeps the replies."""

    def __init__(self, world: Universe, config: WritingConfig, folder: Path) -> None:
        self._world = world
        self._config = config
        self._folder = folder
        self._engine = open_engine(config.engine, config.engine_settings, batch_size=8)

    def ask(
        self, stage: str, template: str, rows: Sequence[Mapping[str, Any]], **more: Any
    ) -> list[dict[str, Any]]:
        """Each row with the model's `reply`."""
        asked = [
            {**row, "request": _filled(template, {**row, **more, "context": self._world.context})}
            for row in rows
        ]
        made_of: dict[str, Any] = {"config": self._config, "stage": stage}
        # Weights may be saved over those that wrote the first replies.
        files = named_files(self._config.settings)
        who = identify({**made_of, "files": files} if files else made_of)
        found = resumable_map(
            self._engine,
            partial(_writer, self._config),
            asked,
            self._folder / stage,
            shard_rows=8,
            identity=who,
        )
        return [{name: value for name, value in row.items() if name != "request"} for row in found]


def _filled(template: str, values: Mapping[str, Any]) -> str:
    """Slots filled in one pass, so that braces in a filling stay what they are."""
    return re.sub(r"\{(\w+)\}", lambda match: str(values.get(match[1], match[0])), template)


def _writer(config: WritingConfig) -> Callable[[Sequence[Any]], list[Any]]:
    kind: Any = MODELS.load(config.backend)
    model: GenerateModel = kind(
        kind.Config.parse(config.settings, origin=f"model {config.backend}")
    )

    def write(rows: Sequence[Any]) -> list[Any]:
        replies = []
        for row in rows:
            sampling = Sampling(
                max_tokens=config.max_tokens, temperature=config.temperature, seed=row["seed"]
            )
            replies += model.generate([(Message(role="user", content=row["request"]),)], sampling)
        return [{**row, "reply": reply.text} for row, reply in zip(rows, replies, strict=True)]

    return write
