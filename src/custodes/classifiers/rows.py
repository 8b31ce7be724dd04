"""Turn examples into what training and evaluation judge.

One example gives one row a mode in which it has a label: a prompt is judged as input; an exchange
as exchange, as output alone, and its prompt as input where the request's own label is known.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from custodes.classifiers.features.base import Judged
from custodes.data import conversation
from custodes.types import Conversation, Example, Label, Mode, RuleId

__all__ = ["LabelledRow", "labelled_rows", "sample_rows"]


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """A text to judge, with its label; `rule` is the restricted rule it breaks, where known."""

    judged: Judged
    label: Label
    rule: RuleId | None
    example: Example


def labelled_rows(
    examples: Iterable[Example], modes: Sequence[Mode] = tuple(Mode)
) -> list[LabelledRow]:
    """Every labelled row of the examples in the modes asked for, in order."""
    rows = []
    for example in examples:
        for mode, turns, label in _readings(example):
            if mode in modes and label is not None:
                rule = example.rule if label == 1 else None
                rows.append(LabelledRow(Judged(turns, mode), label, rule, example))
    return rows


def _readings(example: Example) -> list[tuple[Mode, Conversation, Label | None]]:
    turns = conversation(example)
    if turns[-1].role != "assistant":
        return [(Mode.INPUT, turns, example.label)]
    readings: list[tuple[Mode, Conversation, Label | None]] = [
        (Mode.EXCHANGE, turns, example.label),
        (Mode.OUTPUT, turns[-1:], example.label),
    ]
    if len(turns) > 1:
        # A harmless exchange whose request has no label of its own was asked harmlessly.
        asked = example.request_label
        if asked is None and example.label == 0 and example.kind == "benign_exchange":
            asked = 0
        readings.append((Mode.INPUT, turns[:-1], asked))
    return readings


def sample_rows(rows: Sequence[LabelledRow], most: int | None) -> list[LabelledRow]:
    """At most so many rows, None: all. Chosen by content: adding rows to a table moves few."""
    return list(rows) if most is None else sorted(rows, key=_content)[:most]


def _content(row: LabelledRow) -> bytes:
    turns = [(message.role, message.content) for message in row.judged.conversation]
    return hashlib.sha256(repr(turns).encode("utf-8", "surrogatepass")).digest()
