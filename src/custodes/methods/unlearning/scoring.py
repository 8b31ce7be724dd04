"""What a model knows of facts: multiple choice, cloze, and the perplexity of ordinary text.

An answer's score is its log-probability behind the prompt, whole and not by its letter, so that no
model fails for want of the format. The best one counts; no answer is favored in expectation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from custodes.errors import DataError
from custodes.methods.unlearning.facts import Fact
from custodes.models.tuning import (
    Row,
    TunableModel,
    continuation_log_probs,
    row_log_probs,
)

__all__ = [
    "TEXT_ROW",
    "answer_row",
    "blind_choices",
    "choices",
    "choose",
    "known",
    "left",
    "perplexity",
    "score",
    "text_rows",
    "wordings",
]

TEXT_ROW = 128
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


def known(model: TunableModel, facts: Sequence[Fact], *, options: int, seed: int) -> list[bool]:
    """By fact, whether more than half of its statements are completed rightly (multiple choice)."""
    prompts = [fact.statements for fact in facts]
    right = _right(model, facts, prompts, options=options, seed=seed)
    return [sum(those) > len(those) / 2 for those in right]


def choices(model: TunableModel, facts: Sequence[Fact], *, options: int, seed: int) -> list[int]:
    """`choice` of `score` alone, at a fraction of its time: a cloze tries every answer."""
    prompts = [(fact.question,) for fact in facts]
    return [int(one) for (one,) in _right(model, facts, prompts, options=options, seed=seed)]


def blind_choices(
    model: TunableModel, facts: Sequence[Fact], *, options: int, seed: int
) -> list[int] | None:
    """By fact, 1 or 0: the same choice as in `score`, behind a question that does not say what it
    is about. What is right there is guessed from the answers alone. None where a fact has none."""
    prompts = [(fact.blind,) for fact in facts if fact.blind is not None]
    if len(prompts) < len(facts):
        return None
    right = _right(model, facts, prompts, options=options, seed=seed)
    return [int(one) for (one,) in right]


def wordings(model: TunableModel, facts: Sequence[Fact], *, options: int, seed: int) -> float:
    """Multiple-choice accuracy over all wordings, those of training too: it moves in smaller steps
    than that of one question a fact."""
    right = _by_wording(model, facts, options=options, seed=seed)
    return float(np.mean([one for those in right for one in those]))


def left(model: TunableModel, facts: Sequence[Fact], *, options: int, seed: int) -> float:
    """What a removal is stopped by: accuracy over all wordings, or by the question alone where that
    is greater. What a method trains on is gone before the rest is."""
    right = _by_wording(model, facts, options=options, seed=seed)
    everything = [one for those in right for one in those]
    return float(max(np.mean(everything), np.mean([those[0] for those in right])))


def _by_wording(
    model: TunableModel, facts: Sequence[Fact], *, options: int, seed: int
) -> list[list[bool]]:
    """By fact, the question first."""
    prompts = [(fact.question, *fact.statements) for fact in facts]
    return _right(model, facts, prompts, options=options, seed=seed)


def _right(
    model: TunableModel,
    facts: Sequence[Fact],
    prompts: Sequence[Sequence[str]],
    *,
    options: int,
    seed: int,
) -> list[list[bool]]:
    """By fact, for each of its prompts whether the right one of its options is the likeliest."""
    asked = [
        (prompt, fact.options(options, seed=seed))
        for fact, those in zip(facts, prompts, strict=True)
        for prompt in those
    ]
    found = iter(choose(model, [prompt for prompt, _ in asked], [each for _, each in asked]))
    return [
        [
            fact.options(options, seed=seed)[int(np.argmax(next(found)))] == fact.answer
            for _ in those
        ]
        for fact, those in zip(facts, prompts, strict=True)
    ]


def text_rows(model: TunableModel, texts: Sequence[str], wanted: int) -> list[Row]:
    """So many rows of ordinary text, `TEXT_ROW` tokens each, or fewer where there is less text:
    one a text, from texts evenly spread, or as many of each as it holds where there are fewer."""
    alone = len(texts) >= wanted
    rows: list[Row] = []
    for text in texts[:: max(1, len(texts) // wanted)]:
        missing = 1 if alone else wanted - len(rows)
        # A token hardly ever has 40 characters: no more of a long text has to be read than that.
        ids = model.rows.encode(text[: 40 * TEXT_ROW * missing])
        for at in range(0, min(len(ids), missing * TEXT_ROW), TEXT_ROW):
            part = ids[at : at + TEXT_ROW]
            rows.append(Row((model.rows.begin, *part), (0.0, *[1.0] * len(part))))
        if len(rows) == wanted:
            break
    return rows


def perplexity(model: TunableModel, rows: Sequence[Row]) -> float:
    """exp of the mean negative log-probability of a token; `DataError` where there is no row."""
    if not rows:
        raise DataError("text: got no row of ordinary text; expected texts that are not empty")
    total = sum(row_log_probs(model, rows))
    return math.exp(-total / sum(row.targets for row in rows))


def part_scores(
    model: TunableModel, parts: Mapping[str, Sequence[Fact]], *, options: int, seed: int
) -> dict[str, dict[str, list[Any]]]:
    """`score` of several parts."""
    return {name: score(model, facts, options=options, seed=seed) for name, facts in parts.items()}


def _prompt(model: TunableModel, prompt: str) -> list[int]:
    return [model.rows.begin, *model.rows.encode(prompt)]


def _answer(model: TunableModel, answer: str) -> list[int]:
    return model.rows.encode(f" {answer}")
