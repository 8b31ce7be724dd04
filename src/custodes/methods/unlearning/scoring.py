"""What a model knows of facts: multiple choice, cloze, and the perplexity of ordinary text.

An answer's score is its log-probability behind the prompt, whole and not by its letter, so that no
model fails for want of the format. The best one counts; no answer is favored in expectation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from custodes.methods.unlearning.facts import Fact
from custodes.models.tuning import (
    Row,
    TunableModel,
    continuation_log_probs,
    row_log_probs,
)

__all__ = ["answer_row", "choose", "perplexity", "score", "text_rows", "wordings"]

_WINDOW = 128
"""Tokens of a row of ordinary text."""


def answer_row(model: TunableModel, prompt: str, answer: str) -> Row:
    """The prompt, masked, and a space and the answer, to be learned; no end of text behind it."""
    before = _prompt(model, prompt)
    after = _answer(model, answer)
    return Row((*before, *after), (*[0.0] * len(before), *[1.0] * len(after)))


def choose(
    model: TunableModel, prompts: Sequence[str], options: Sequence[Sequence[str]]
) -> list[list[float]]:
    """Log-probability of each option behind its prompt."""
    return continuation_log_probs(
        model,
        [_prompt(model, prompt) for prompt in prompts],
        [[_answer(model, option) for option in those] for those in options],
    )


def score(
    model: TunableModel, facts: Sequence[Fact], *, options: int, seed: int
) -> dict[str, list[Any]]:
    """By fact: `choice` (1 right, 0 wrong), `probability` of the right option among the options,
    `cloze` (1, 0; null without a cloze)."""
    asked = [fact.options(options, seed=seed) for fact in facts]
    tried = [fact for fact in facts if fact.cloze is not None]
    everything = [(fact.answer, *fact.wrong) for fact in tried]
    found = choose(
        model,
        [fact.question for fact in facts] + [fact.cloze or "" for fact in tried],
        [*asked, *everything],
    )
    picked = [
        (fact.answer, those, np.array(logs))
        for fact, those, logs in zip(facts, asked, found[: len(facts)], strict=True)
    ]
    cloze = {
        fact.id: int(np.argmax(logs) == 0)
        for fact, logs in zip(tried, found[len(facts) :], strict=True)
    }
    return {
        "choice": [int(those[int(np.argmax(logs))] == answer) for answer, those, logs in picked],
        "probability": [
            float(np.exp(logs - np.logaddexp.reduce(logs))[those.index(answer)])
            for answer, those, logs in picked
        ],
        "cloze": [cloze.get(fact.id) for fact in facts],
    }


def wordings(model: TunableModel, facts: Sequence[Fact], *, options: int, seed: int) -> float:
    """Multiple-choice accuracy over all wordings, those of training too: what the removal is
    stopped by, since it moves in smaller steps than one question a fact."""
    asked = [
        (prompt, fact.answer, fact.options(options, seed=seed))
        for fact in facts
        for prompt in (fact.question, *fact.statements)
    ]
    found = choose(model, [one[0] for one in asked], [one[2] for one in asked])
    right = [
        those[int(np.argmax(logs))] == answer
        for (_, answer, those), logs in zip(asked, found, strict=True)
    ]
    return float(np.mean(right))


def text_rows(model: TunableModel, texts: Sequence[str], tokens: int) -> list[Row]:
    """Rows of ordinary text, one a text, from texts evenly spread, to about so many tokens."""
    wanted = max(1, tokens // _WINDOW)
    step = max(1, len(texts) // wanted)
    rows: list[Row] = []
    for text in texts[::step] if len(texts) >= wanted else texts:
        ids = model.rows.encode(text[: 40 * _WINDOW])
        cut = [ids[at : at + _WINDOW] for at in range(0, len(ids), _WINDOW)]
        for part in cut[: 1 if len(texts) >= wanted else None]:
            rows.append(Row((model.rows.end, *part), (0.0, *[1.0] * len(part))))
    return rows[:wanted]


def perplexity(model: TunableModel, rows: Sequence[Row]) -> float:
    """exp of the mean negative log-probability of a token."""
    total = sum(row_log_probs(model, rows))
    return math.exp(-total / sum(row.targets for row in rows))


def part_scores(
    model: TunableModel, parts: Mapping[str, Sequence[Fact]], *, options: int, seed: int
) -> dict[str, dict[str, list[Any]]]:
    """`score` of several parts."""
    return {name: score(model, facts, options=options, seed=seed) for name, facts in parts.items()}


def _prompt(model: TunableModel, prompt: str) -> list[int]:
    return [model.rows.end, *model.rows.encode(prompt)]


def _answer(model: TunableModel, answer: str) -> list[int]:
    return model.rows.encode(f" {answer}")
