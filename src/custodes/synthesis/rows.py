"""From written turns to a row: label, kind, group and provenance.

Labels come from the rule alone. A prompt is harmful where its rule is restricted. An exchange is
harmful where, besides, the reply complies, be it after a refusal; refusing makes it harmless.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from custodes.constitution import Constitution, Polarity
from custodes.synthesis.task import Task
from custodes.types import Conversation, Example, Label, Message

__all__ = ["example", "labels"]


def labels(polarity: Polarity, task: Task) -> tuple[Label, Label]:
    """The label of the row, and that of its request."""
    request: Label = 1 if polarity is Polarity.RESTRICTED else 0
    return (0 if task.act == "refuse" else request), request


def _kind(task: Task, label: Label) -> str:
    if task.act is None:
        return "harmful_request" if label else "benign_request"
    if task.act == "refuse":
        return "refused_exchange"
    return "harmful_exchange" if label else "benign_exchange"


def example(
    constitution: Constitution,
    task: Task,
    *,
    turns: Conversation,
    writer: str,
    system: str | None = None,
    meta: Mapping[str, Any],
) -> Example:
    """The row of a task; a single user's turn becomes `text`, anything longer `messages`."""
    label, request_label = labels(constitution.rule(task.rule).polarity, task)
    alone = len(turns) == 1 and turns[0].role == "user"
    return Example(
        id=task.id,
        source=f"synthetic:{constitution.id}",
        licence="Apache-2.0",
        kind=_kind(task, label),
        text=turns[0].content if alone else None,
        messages=None if alone else tuple(Message(m.role, m.content) for m in turns),
        system=system,
        label=label,
        request_label=request_label,
        category=task.rule,
        lang=task.lang,
        group=task.pair or task.id,
        meta={
            "side": task.side.value,
            "style": task.style,
            **({"act": task.act} if task.act else {}),
            **({"pair": task.pair} if task.pair else {}),
            **({"split": "held_out"} if task.held_out else {}),
            **meta,
        },
        rule=task.rule,
        writer=writer,
        seed=task.seed,
    )
