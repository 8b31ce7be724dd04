"""Judge affinity: do judges give better marks to models that err as they do?

Judged models answer questions with options; a judge sees question, options and the answer's text,
never the truth, and marks it. The study asks whether marks follow similarity once the judged
model's accuracy is held fixed (arXiv 2502.04313, section 3). Models come in by their protocols.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from string import ascii_uppercase
from typing import Protocol, runtime_checkable

import numpy as np

from custodes.errors import DataError
from custodes.methods.similarity.answers import Answers, Floats, is_level
from custodes.methods.similarity.config import JudgeConfig
from custodes.methods.similarity.matrix import similarities
from custodes.methods.similarity.replies import named
from custodes.methods.similarity.studies import (
    Coefficient,
    Correlation,
    partial_correlation,
    regression,
)
from custodes.models import GenerateModel, LogProbabilityModel, Reply, Sampling
from custodes.types import Conversation, Message

__all__ = [
    "Affinity",
    "AnswerModel",
    "Archive",
    "JudgeRun",
    "Marks",
    "Question",
    "RepliesOnly",
    "affinity",
    "answer_table",
    "answers_of_model",
    "marks_of_judge",
    "run_judges",
]


@dataclass(frozen=True, slots=True)
class Question:
    """A question with options; `label` is the index of the right one.

    `DataError` where letters cannot name the options or the label is none of them.
    """

    id: str
    text: str
    options: tuple[str, ...]
    label: int

    def __post_init__(self) -> None:
        count = len(self.options)
        if not 2 <= count <= len(ascii_uppercase):
            raise DataError(
                f"question {self.id!r}: got {count} options; expected 2 to {len(ascii_uppercase)}, "
                "a letter each"
            )
        if not 0 <= self.label < count:
            raise DataError(
                f"question {self.id!r}: got the label {self.label}; expected 0 to {count - 1}, "
                "the index of the right option"
            )


@runtime_checkable
class AnswerModel(Protocol):
    """Anything that answers questions directly, without a language model's prompt."""

    def answer(self, questions: Sequence[Question]) -> list[Floats]:
        """A distribution over each question's options, whatever else is asked with it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Mean marks [judges, judged] (NaN: none), and what judges and judged answered themselves."""

    answers: Answers
    judges: tuple[str, ...]
    judged: tuple[str, ...]
    marks: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRun(Marks):
    """Marks that were given here, by question too [judges, judged, n]; NaN: none.

    Means leave those out. Of the questions, `unanswered` [judged] is the share whose answer chose
    no option or could not be read, so that no judge was shown one; `unread` [judges, judged] the
    share of answers that were shown and whose mark could not be read.
    """

    by_question: Floats
    unanswered: Floats
    unread: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Affinity:
    """One judge: its marks against similarity, plain, with accuracy held fixed, and as slopes.

    `judged` are the models that count; similarity, marks and accuracy are theirs, one each.
    """

    judge: str
    judged: tuple[str, ...]
    similarity: Floats
    marks: Floats
    accuracy: Floats
    plain: Correlation
    partial: Correlation
    slopes: tuple[Coefficient, ...]


class Archive(Protocol):
    """Where what models say is kept as it comes, since it may have cost money: each method gives
    what was said before, or asks and keeps it."""

    def answers(self, name: str, ask: Callable[[], list[Floats]]) -> list[Floats]:
        """A model's answers, a distribution a question (NaN: not read)."""
        ...

    def marks(self, judge: str, ask: Callable[[], Floats]) -> Floats:
        """A judge's marks [judged, n] (NaN: none)."""
        ...


class RepliesOnly:
    """A model of which only the written replies are used, not its log-probabilities."""

    def __init__(self, model: GenerateModel) -> None:
        self._model = model

    def generate(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[Reply]:
        """The model's own replies."""
        return self._model.generate(conversations, sampling)


def _said(text: str) -> Conversation:
    return (Message("user", text),)


def _listed(question: Question) -> str:
    return "\n".join(f"{ascii_uppercase[i]}. {text}" for i, text in enumerate(question.options))


def _masses(model: LogProbabilityModel, asked: Conversation, replies: Sequence[str]) -> Floats:
    """Probabilities of the replies, renormalized to these replies."""
    scores = np.array([float(np.sum(found)) for found in model.log_probabilities(asked, replies)])
    powers = np.exp(scores - scores.max())
    return np.asarray(powers / powers.sum())


def answers_of_model(
    model: object, questions: Sequence[Question], config: JudgeConfig
) -> list[Floats]:
    """A distribution over each question's options.

    Taken from an `AnswerModel` as it is; from log-probabilities of the letters where the backend
    has them; else one-hot at the letter that the reply names, and NaN where it names none or
    several (see `replies`).
    """
    if isinstance(model, AnswerModel):
        return model.answer(questions)
    asked = [_said(config.ask.format(question=q.text, options=_listed(q))) for q in questions]
    if isinstance(model, LogProbabilityModel):
        return [
            _masses(model, conversation, ascii_uppercase[: len(question.options)])
            for conversation, question in zip(asked, questions, strict=True)
        ]
    found = []
    for question, reply in zip(questions, _replies(model, asked), strict=True):
        letters = ascii_uppercase[: len(question.options)]
        at = named(reply, letters)
        row = np.full(len(letters), np.nan) if at is None else np.eye(len(letters))[at]
        found.append(row)
    return found


def _replies(model: object, asked: Sequence[Conversation]) -> list[str]:
    """The text of each reply."""
    if not isinstance(model, GenerateModel):
        raise DataError(
            f"got a {type(model).__name__}; expected a model with answer, "
            "log_probabilities or generate"
        )
    replies = model.generate(asked, Sampling(max_tokens=16, temperature=0.0))
    return [reply.text for reply in replies]


def answer_table(
    models: Mapping[str, object],
    questions: Sequence[Question],
    config: JudgeConfig,
    *,
    archive: Archive | None = None,
) -> Answers:
    """Every model's answers to every question; one that cannot be read counts as indifferent."""
    rows = {}
    for name, model in models.items():
        asks = partial(answers_of_model, model, questions, config)
        found = asks() if archive is None else archive.answers(name, asks)
        rows[name] = [_or_uniform(row) for row in found]
    return Answers.of(rows, [question.label for question in questions])


def _or_uniform(row: Floats) -> Floats:
    return np.full(len(row), 1.0 / len(row)) if np.isnan(row).any() else row


def marks_of_judge(
    judge: object,
    questions: Sequence[Question],
    choices: Sequence[int],
    config: JudgeConfig,
) -> Floats:
    """The judge's mark of each chosen answer, [n]: probability that it is right, or 0 and 1.

    NaN where a reply holds neither.

    A judge that is an `AnswerModel` marks with its own probability of that answer; it is asked
    about all of them at once, and a question may come more than once.
    """
    if isinstance(judge, AnswerModel):
        rows = judge.answer(questions)
        marks = np.array([row[at] for row, at in zip(rows, choices, strict=True)])
        # Decided as a judge would: right if the judge holds no other option for likelier.
        return (
            marks
            if config.marks == "probability"
            else np.array(
                [float(row[at] >= row.max()) for row, at in zip(rows, choices, strict=True)]
            )
        )
    asked = [
        _said(config.question.format(question=q.text, options=_listed(q), answer=q.options[at]))
        for q, at in zip(questions, choices, strict=True)
    ]
    if isinstance(judge, LogProbabilityModel):
        marks = np.array([_masses(judge, conversation, ("0", "1"))[1] for conversation in asked])
        return marks if config.marks == "probability" else (marks >= 0.5).astype(np.float64)
    read = [named(reply, "01") for reply in _replies(judge, asked)]
    return np.array([np.nan if mark is None else float(mark) for mark in read])


def run_judges(
    judges: Mapping[str, object],
    judged: Mapping[str, object],
    questions: Sequence[Question],
    config: JudgeConfig | None = None,
    *,
    archive: Archive | None = None,
) -> JudgeRun:
    """Everybody answers; each judge marks each judged model's most probable answers."""
    settings = config or JudgeConfig()
    answers = answer_table({**judges, **judged}, questions, settings, archive=archive)
    rows = np.stack([answers.row(name) for name in judged])
    # A level row, which an unread reply has become, is no answer that a judge could be shown.
    chose = ~is_level(rows, answers.options)
    choices = np.where(chose, rows.argmax(axis=2), -1)
    # Many judged models give one answer: each judge marks it once.
    given = sorted({(at, int(c)) for row in choices for at, c in enumerate(row) if c >= 0})
    asked, shown = [questions[at] for at, _ in given], [choice for _, choice in given]

    def marks_by(judge: object) -> Floats:
        marks = dict(zip(given, marks_of_judge(judge, asked, shown, settings), strict=True))
        found = np.full((len(judged), len(questions)), np.nan)
        for row, at in zip(*np.nonzero(chose), strict=True):
            found[row, at] = marks[int(at), int(choices[row, at])]
        return found

    by_question = np.stack(
        [
            marks_by(judge) if archive is None else archive.marks(name, partial(marks_by, judge))
            for name, judge in judges.items()
        ]
    )
    return JudgeRun(
        answers=answers,
        judges=tuple(judges),
        judged=tuple(judged),
        marks=_means(by_question),
        by_question=by_question,
        unanswered=1.0 - chose.mean(axis=1),
        unread=(np.isnan(by_question) & chose).mean(axis=2),
    )


def _means(by_question: Floats) -> Floats:
    """Means over questions without NaN; NaN where nothing else is."""
    known = ~np.isnan(by_question)
    counts = known.sum(axis=2)
    totals = np.where(known, by_question, 0.0).sum(axis=2)
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)


def affinity(run: Marks, *, metric: str = "capa", seed: int = 0) -> tuple[Affinity, ...]:
    """For each judge: correlation of its marks with similarity, plain and given accuracy.

    A judge does not mark itself in this: the judged model of the same name is left out. Models
    whose similarity or marks are undefined are left out too; where that leaves too few, what is
    asked of them is NaN.
    """
    alike = similarities(run.answers, (metric,)).matrix(metric)
    accuracy = run.answers.accuracy()
    found = []
    for row, judge in enumerate(run.judges):
        others = [name for name in run.judged if name != judge]
        at = np.array([run.answers.index(name) for name in others])
        values = alike[run.answers.index(judge), at]
        marks = run.marks[row, [run.judged.index(name) for name in others]]
        kept = np.flatnonzero(~np.isnan(values) & ~np.isnan(marks))
        values, marks, right = values[kept], marks[kept], accuracy[at[kept]]
        found.append(
            Affinity(
                judge=judge,
                judged=tuple(others[index] for index in kept),
                similarity=values,
                marks=marks,
                accuracy=right,
                plain=partial_correlation(values, marks, seed=seed),
                partial=partial_correlation(values, marks, [right], seed=seed),
                slopes=regression(marks, {"similarity": values, "accuracy": right}),
            )
        )
    return tuple(found)
