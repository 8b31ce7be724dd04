"""A judge study into a run folder: `custodes method similarity judges` and `affinity`.

What models answer and how judges mark it is written as it comes, in the formats that `affinity`
reads, before anything is computed of it: it may have been paid for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from custodes.config import Run, named_files, write_atomically
from custodes.errors import DataError
from custodes.methods.similarity.answers import Floats
from custodes.methods.similarity.config import JudgesConfig, ModelSettings
from custodes.methods.similarity.inputs.jsonl import json_lines, whole
from custodes.methods.similarity.judges import (
    JudgeRun,
    Marks,
    Question,
    RepliesOnly,
    affinity,
    run_judges,
)
from custodes.methods.similarity.matrix import similarities
from custodes.methods.similarity.report import affinity_report
from custodes.models import MODELS

__all__ = ["run_judge_study", "write_affinity"]


def run_judge_study(
    config: JudgesConfig, out: Path, *, say: Callable[[str], object] | None = None
) -> Path:
    """Judges and judged of a file, into the folder `out`; returns the path of its report page.

    `artifacts/answers.jsonl` and `marks.jsonl` grow model by model, and who has said all of theirs
    in a run before is not asked again. `say` hears what was not read.
    """
    questions = _read_questions(config.questions)
    run = Run(out, config, seed=config.asking.seed)
    judges = {name: _model(settings) for name, settings in config.judges.items()}
    judged = {
        name: judges[name] if name in judges else _model(settings)
        for name, settings in config.judged.items()
    }
    asking = config.asking
    archive = _Archive(run.artifacts, config, questions)
    done = run_judges(judges, judged, questions, asking, archive=archive)
    if say is not None:
        for line in _not_read(done):
            say(line)
    return write_affinity(run, done, warn_above=asking.warn_above, seed=asking.seed)


class _Archive:
    """What a model said is in a file of its own, told by all that it was asked with, so that a
    study that failed goes on; `answers.jsonl` and `marks.jsonl` hold this run's."""

    def __init__(self, folder: Path, config: JudgesConfig, questions: Sequence[Question]) -> None:
        self._folder = folder / "said"
        self._config = config
        self._questions = questions
        self._asked = [asdict(question) for question in questions]
        self._rows: dict[str, list[Floats]] = {}
        self._answers, self._marks = folder / "answers.jsonl", folder / "marks.jsonl"
        for path in (self._answers, self._marks):
            self._keep_aside(path)
            path.write_text("", encoding="utf-8")

    def _keep_aside(self, path: Path) -> None:
        """What an earlier version kept in this one file only was paid for, too."""
        if not self._folder.exists() and path.is_file() and path.stat().st_size:
            path.replace(path.with_name(f"{path.stem}.earlier.jsonl"))

    def answers(self, name: str, ask: Callable[[], list[Floats]]) -> list[Floats]:
        self._rows[name] = rows = self._once(name, [self._config.asking.ask], ask)
        _append(
            self._answers,
            (
                {
                    "model": name,
                    "question": question.id,
                    "label": question.label,
                    "options": len(question.options),
                    "probabilities": None if np.isnan(row).any() else row.tolist(),
                }
                for question, row in zip(self._questions, rows, strict=True)
            ),
        )
        return rows

    def marks(self, judge: str, ask: Callable[[], Floats]) -> Floats:
        shown = [[row.tolist() for row in self._rows[name]] for name in self._config.judged]
        asking = self._config.asking
        told = [asking.question, asking.marks, shown]
        marks = np.stack(self._once(judge, told, lambda: list(ask())))
        _append(
            self._marks,
            (
                {"judge": judge, "judged": name, "question": question.id, "mark": float(mark)}
                for name, row in zip(self._config.judged, marks, strict=True)
                for question, mark in zip(self._questions, row, strict=True)
                if not np.isnan(mark)
            ),
        )
        return marks

    def _once(
        self, name: str, told: Sequence[object], ask: Callable[[], list[Floats]]
    ) -> list[Floats]:
        settings = (self._config.judges | self._config.judged)[name].model_dump()
        asked = [name, settings, named_files(settings), self._asked, *told]
        key = hashlib.sha256(json.dumps(asked, default=str).encode()).hexdigest()[:40]
        path = self._folder / f"{key}.json"
        if not path.is_file():
            # What was paid for is not lost to a number that JSON does not know, such as a float32.
            rows = [[None if np.isnan(value) else float(value) for value in row] for row in ask()]
            write_atomically(path, json.dumps({"model": name, "rows": rows}))
        found = json.loads(path.read_text(encoding="utf-8"))["rows"]
        return [np.array(row, dtype=np.float64) for row in found]


def _append(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _not_read(done: JudgeRun) -> list[str]:
    """A line for each model of whose answers, or judge of whose marks, some say nothing."""
    answers = [
        f"{name}: {share:.1%} of its answers could not be read, or chose nothing; they are not "
        "marked"
        for name, share in zip(done.judged, done.unanswered, strict=True)
        if share
    ]
    marks = [
        f"{name}: {share:.1%} of its marks could not be read; they are left out"
        for name, share in zip(done.judges, done.unread.mean(axis=1), strict=True)
        if share
    ]
    return answers + marks


def write_affinity(run: Run, marks: Marks, *, warn_above: float, seed: int) -> Path:
    """What the marks say of affinity, into the run's folder; returns the path of its report."""
    found = affinity(marks, seed=seed)
    for row, one in enumerate(found):
        unread = {}
        if isinstance(marks, JudgeRun):
            unread = {"unread": dict(zip(marks.judged, marks.unread[row].tolist(), strict=True))}
        run.log(judge=one.judge, partial=asdict(one.partial), plain=asdict(one.plain), **unread)
    alike = similarities(marks.answers)
    report = affinity_report(marks, found, alike, warn_above=warn_above)
    return run.report(report.values(), report.html())


def _model(settings: ModelSettings) -> object:
    backend = MODELS.load(settings.backend)
    model = backend(backend.Config.parse(settings.settings, origin=f"model {settings.backend}"))
    return RepliesOnly(model) if settings.reading == "reply" else model


def _read_questions(path: Path) -> list[Question]:
    found: dict[str, Question] = {}
    for place, value in json_lines(path):
        try:
            if not isinstance(value["options"], list):
                raise TypeError(f"options are {value['options']!r:.60}, no list")
            options = tuple(str(option) for option in value["options"])
            question = Question(
                str(value["id"]), str(value["question"]), options, whole(value["label"])
            )
        except DataError as error:
            raise DataError(f"{place}: {error}") from None
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{place}: {error!r}; expected id, question, options (texts) and label (index)"
            ) from None
        if question.id in found:
            raise DataError(f"{place}: got the id {question.id!r} again; expected one a question")
        found[question.id] = question
    if not found:
        raise DataError(f"{path}: got no questions")
    return list(found.values())
