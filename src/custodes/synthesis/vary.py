"""Apply a task's chain of transforms to its row.

Permitted rows, and half of the restricted ones, get the mild form of a transform whose wrapper
itself breaks a rule; see `transforms/__init__.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from random import Random

from custodes.models import GenerateModel
from custodes.synthesis.task import Task, stable_seed
from custodes.synthesis.transforms import TRANSFORMS, Transform, compose
from custodes.types import Example, Message

__all__ = ["vary"]


def vary(row: Example, task: Task, *, model: GenerateModel | None = None) -> Example:
    """The row with its last request or its reply transformed, and the chain on record.

    The model is for the transforms that need one; without it they raise `ConfigError`.
    """
    if not task.transforms:
        return row
    chain = _chain(task.transforms, model)
    rng = Random(stable_seed("vary", task.shared if task.pair else task.seed))
    # Drawn for every row, so that all rows of a pair stay in step.
    mild = rng.random() < 0.5
    if task.target == "reply":
        varied = _with_last(row, lambda text: chain.to_reply(text, rng), "assistant")
        meta = {name: value for name, value in row.meta.items() if name != "onset"}
    else:
        mild = mild or not row.request_label
        varied = _with_last(row, lambda text: chain.to_request(text, rng, mild=mild), "user")
        meta = dict(row.meta)
        if chain.violates:
            meta["mild"] = mild
    jailbreak = row.kind == "harmful_request"
    return replace(
        varied,
        kind="jailbreak_prompt" if jailbreak else row.kind,
        transforms=task.transforms,
        meta={**meta, "target": task.target},
    )


def _chain(names: tuple[str, ...], model: GenerateModel | None) -> Transform:
    return _fixed(names) if model is None else _composed(names, model)


def _composed(names: tuple[str, ...], model: GenerateModel | None) -> Transform:
    loaded: list[Transform] = [TRANSFORMS.load(name) for name in names]
    bound = [
        replace(each, apply=each.bind(model), bind=None) if each.bind and model else each
        for each in loaded
    ]
    return compose(bound)


@cache
def _fixed(names: tuple[str, ...]) -> Transform:
    return _composed(names, None)


def _with_last(row: Example, change: Callable[[str], str], role: str) -> Example:
    if row.messages is None:
        return replace(row, text=change(row.text or ""))
    turns = list(row.messages)
    place = max(i for i, turn in enumerate(turns) if turn.role == role)
    turns[place] = Message(turns[place].role, change(turns[place].content))
    return replace(row, messages=tuple(turns))
