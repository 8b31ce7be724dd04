"""What is judged: rows of the public sets as conversations, and how some are put together.

Nothing here is trained on. Random choices are by seed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from custodes.data import conversation, load, split
from custodes.synthesis.transforms import TRANSFORMS
from custodes.types import Conversation, Example, Message, Mode

HERE = Path(__file__).parent
RANKED = ("openai_moderation", "toxicchat_train")
CAUGHT = ("harmbench", "advbench", "simplesafetytests", "adaptive_attack_prompts")
BENIGN = ("cyberseceval_mitre_frr", "arena_hard_v01", "flask", "writingbench_short", "humaneval")
ATTACKED = ("advbench", "simplesafetytests")
"""The plain requests that templates and transforms are put around."""
TRANSFORMED = ("base64", "leetspeak", "payload_splitting", "rot13", "reversed_words", "morse")
COPYRIGHT = "copyright"


@dataclass(frozen=True, slots=True)
class Item:
    """One text to judge; `group`: items that share a base request."""

    conversation: Conversation
    label: int
    group: str


def prompt_of(row: Example) -> str:
    """The first thing that a user says."""
    return next(turn.content for turn in conversation(row) if turn.role == "user")


def prompts(name: str, *, limit: int | None = None) -> list[Item]:
    """The labelled prompts of a set; HarmBench without its copyright rows (no harm to people)."""
    rows = [row for row in load(name) if row.label is not None]
    if name == "harmbench":
        rows = [row for row in rows if COPYRIGHT not in (row.category or "")]
    found = [
        Item((Message("user", prompt_of(row)),), int(row.label or 0), row.group or row.id)
        for row in rows
    ]
    return found[:limit]


def replies(name: str, *, limit: int | None = None) -> list[Item]:
    """Labelled exchanges, the reply to be judged in its context."""
    return _exchanges(load(name))[:limit]


def gptfuzz_replies(*, limit: int | None = None) -> list[Item]:
    """Those of GPTFuzz's labelled replies that runs/replies.py keeps from training."""
    parts = split(load("gptfuzz_labelled_train"), {"train": 0.7, "kept": 0.3}, seed=0)
    return some(_exchanges(parts["kept"]), limit, seed=0)


def _exchanges(rows: Sequence[Example]) -> list[Item]:
    found = []
    for row in rows:
        turns = conversation(row)
        if row.label is not None and turns[-1].role == "assistant":
            found.append(Item(turns, int(row.label), row.group or row.id))
    return found


def some(items: Sequence[Item], most: int | None, *, seed: int) -> list[Item]:
    """At most so many of them, None: all, at random by the seed."""
    chosen = np.random.default_rng(seed).permutation(len(items))[:most]
    return [items[i] for i in chosen]


def people() -> list[Item]:
    """The pool that thresholds are set on: people's prompts that nothing was trained on, as
    runs/people.py parts them."""
    halves = split(load("arena_1k_prompts"), {"train": 0.5, "pool": 0.5}, seed=0)
    rows = [*halves["pool"], *load("self_instruct")]
    return [Item((Message("user", prompt_of(row)),), 0, row.group or row.id) for row in rows]


def templated(seed: int, *, each: int = 4) -> list[Item]:
    """Every jailbreak template around `each` plain harmful requests."""
    rng = random.Random(seed)
    asked = [item for name in ATTACKED for item in prompts(name)]
    found = []
    for row in load("pyrit_templates"):
        template = prompt_of(row)
        for item in rng.sample(asked, each):
            text = _filled(template, item.conversation[-1].content)
            found.append(Item((Message("user", text),), 1, row.group or row.id))
    return found


def _filled(template: str, request: str) -> str:
    for hole in ("{{ prompt }}", "{{prompt}}", "{prompt}", "[INSERT PROMPT HERE]"):
        if hole in template:
            return template.replace(hole, request)
    return f"{template}\n\n{request}"


def transformed(name: str, items: Sequence[Item], seed: int) -> list[Item]:
    """The items' prompts under one transform of the synthesis."""
    transform = TRANSFORMS.load(name)
    rng = random.Random(seed)
    found = []
    for item in items:
        text = transform.apply(item.conversation[-1].content, rng)
        found.append(Item((Message("user", text),), item.label, item.group))
    return found


def languages() -> Iterator[tuple[str, list[Item]]]:
    """Benign prompts by language, where a set says which it is."""
    by: dict[str, list[Item]] = {}
    for row in load("cyberseceval_mitre_frr_multilingual"):
        items = by.setdefault(str(row.lang), [])
        items.append(Item((Message("user", prompt_of(row)),), 0, row.group or row.id))
    yield from sorted(by.items())


def contrast() -> list[Item]:
    """The matched pairs beside this file."""
    lines = (HERE / "contrast.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [
        Item((Message("user", row["text"]),), int(row["label"]), f"pair-{row['pair']}")
        for row in rows
    ]


def mode_of(item: Item) -> Mode:
    """Input where a user speaks last, else exchange."""
    return Mode.INPUT if item.conversation[-1].role == "user" else Mode.EXCHANGE
