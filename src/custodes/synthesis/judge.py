"""Ask a model whether a row falls under its rule; the yes or no is compared with the plan.

As good as the model is. An answer that is neither yes nor no is unclear and drops nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from custodes.constitution import Constitution
from custodes.data import conversation
from custodes.models import GenerateModel, Sampling
from custodes.synthesis.filters import Judge
from custodes.synthesis.prompting import render
from custodes.types import Example, Message

__all__ = ["model_judge"]

_ANSWER = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)


def model_judge(constitution: Constitution, model: GenerateModel) -> Judge:
    """A judge for `filter_rows`: every row of the plan should get yes, a refusal no."""
    sampling = Sampling(max_tokens=8)

    def judge(rows: Sequence[Example]) -> list[bool | None]:
        prompts = [(Message("user", _question(constitution, row)),) for row in rows]
        replies = model.generate(prompts, sampling)
        return [_agrees(row, reply.text) for row, reply in zip(rows, replies, strict=True)]

    return judge


def _question(constitution: Constitution, row: Example) -> str:
    turns = "\n".join(f"{turn.role}: {turn.content}" for turn in conversation(row))
    side = "reply" if "act" in row.meta else "request"
    rule = constitution.rule(row.rule or "")
    return render("label_check.j2", rule=rule, text=turns, side=side)


def _agrees(row: Example, answer: str) -> bool | None:
    match = _ANSWER.match(answer)
    if match is None:
        return None
    return (match[1].lower() == "yes") == (row.meta.get("act") != "refuse")
