"""Judge affinity with local models: a demonstration that the runner runs, and no more.

Judged: small learners of persona tasks, each from four disjoint training parts. Judges: SmolLM2 by
log-probabilities, and learners from a fifth part. All are far weaker than the paper's models, and
the questions are few: half a minute of one core is all that it asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from weak_to_strong import model

from custodes.data import find
from custodes.errors import DataError
from custodes.methods.similarity.config import JudgeConfig, WeakToStrongConfig
from custodes.methods.similarity.judges import Question, affinity, run_judges
from custodes.methods.similarity.supervision import Crew
from custodes.methods.similarity.tasks import BinaryTask, read_persona_tasks, split_task

PARTS, TRAIN, TEST = 5, 40, 14


class Learned:
    """One learner a task, as a model that answers questions."""

    def __init__(self, predictors: dict[str, Any]) -> None:
        self._predictors = predictors

    def answer(self, questions: Sequence[Question]) -> list[np.ndarray]:
        found = []
        for question in questions:
            task, _, statement = question.text.partition("\n")
            yes = float(self._predictors[task]([statement])[0])
            found.append(np.array([yes, 1 - yes]))
        return found


def figures(options: Any) -> list[dict]:
    try:
        tasks = read_persona_tasks(find("persona_evals"))
    except DataError as error:
        print(f"  skipped: {error}")
        return []
    tasks = tasks[::45]
    names = ("words", "characters", *(["minilm"] if options.size == "full" else []))
    settings = WeakToStrongConfig(weak=names, strong=names[:1], minilm=options.minilm)
    crew = Crew(settings, options.work / "judges-features", model)
    learners = {one.name: one for one in crew.weak}
    splits = {task.name: split_rows(task, options.seed) for task in tasks}
    crew.prepare([task.texts[row] for task in tasks for part in splits[task.name] for row in part])

    def learned(learner: Any, part: int) -> Learned:
        return Learned({
            task.name: learner.fit(
                [task.texts[row] for row in splits[task.name][part]],
                task.labels[splits[task.name][part]].astype(np.float64),
                seed=options.seed,
            )
            for task in tasks
        })  # fmt: skip

    judged = {
        f"{name}/{part}": learned(one, part)
        for name, one in learners.items()
        for part in range(PARTS - 1)
    }
    judges = {f"{name}/judge": learned(one, PARTS - 1) for name, one in learners.items()}
    questions = [question for task in tasks for question in questions_of(task, splits)]
    run = run_judges({"smollm2": model(), **judges}, judged, questions, JudgeConfig())
    rows = []
    for one in affinity(run, seed=options.seed):
        figure = (
            f"DEMONSTRATION, judge {one.judge}: partial r of mark with κp given accuracy, "
            f"{one.partial.rows} judged, {len(questions)} questions"
        )
        rows.append({"figure": figure, "value": one.partial.interval, "seeds": (options.seed,)})
    return rows


def split_rows(task: BinaryTask, seed: int) -> list[np.ndarray]:
    """Training parts, the last one the judges', and a test part."""
    whole = split_task(task, ((PARTS - 1) * TRAIN, TRAIN, TEST), seed=seed)
    shuffled = np.random.default_rng(seed).permutation(whole.weak_train)
    return [*np.split(shuffled, PARTS - 1), whole.strong_train, whole.test]


def questions_of(task: BinaryTask, splits: dict[str, list[np.ndarray]]) -> list[Question]:
    return [
        Question(
            f"{task.name}/{row}",
            f"{task.name}\n{task.texts[row]}",
            ("Yes", "No"),
            0 if task.labels[row] else 1,
        )
        for row in splits[task.name][-1]
    ]
