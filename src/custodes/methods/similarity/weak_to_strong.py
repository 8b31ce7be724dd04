"""The weak-to-strong study: does a student gain more from a supervisor that errs differently?

Protocol of arXiv 2502.04313, section 4, at small size. A task's first part trains the weak
supervisor and the strong base (a head on frozen features) on the truth; the second part, labeled
by the weak supervisor's probabilities, trains the student; the third tests all of them.
gain = accuracy(student) - accuracy(strong base). Similarity is that of weak supervisor and strong
base on the test part. Knows supervisors by their protocol only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from custodes.config import write_atomically
from custodes.errors import DataError
from custodes.methods.similarity.answers import Floats, Integers
from custodes.methods.similarity.metrics import METRICS, Pair, pair_ceiling
from custodes.methods.similarity.studies import Correlation, partial_correlation
from custodes.methods.similarity.supervisors import Predictor, Supervisor
from custodes.methods.similarity.tasks import BinaryTask, split_task

__all__ = [
    "GainRecord",
    "Student",
    "gain_study",
    "gain_study_of_pairs",
    "read_records",
    "run_pairs",
]


@dataclass(frozen=True, slots=True)
class Student:
    """A strong model: how its base reads the truth, and how it learns from weak labels.

    For a head on frozen features both are the same; a fine-tuned student's base is the head.
    """

    name: str
    base: Supervisor
    learner: Supervisor


@dataclass(frozen=True, slots=True, kw_only=True)
class GainRecord:
    """One weak supervisor, one student, one task. All accuracies are on the test part.

    `sizes` of the three parts and `seed` of the split; None in logs of version 0.1.
    """

    task: str
    weak: str
    strong: str
    weak_accuracy: float
    base_accuracy: float
    student_accuracy: float
    capa: float
    ceiling: float
    capa_discrete: float
    error_consistency: float
    test: int
    sizes: tuple[int, int, int] | None = None
    seed: int | None = None

    @property
    def gain(self) -> float:
        """What training on weak labels gained over the strong base (the paper's gain)."""
        return self.student_accuracy - self.base_accuracy

    @property
    def gap(self) -> float:
        """How much better the strong base is than its supervisor."""
        return self.base_accuracy - self.weak_accuracy


def _binary(probability: Floats) -> Floats:
    return np.stack([1 - probability, probability], axis=1)


def _accuracy(probability: Floats, labels: Integers) -> float:
    return float(((probability >= 0.5) == labels).mean())


def run_pairs(
    tasks: Sequence[BinaryTask],
    weak: Sequence[Supervisor],
    strong: Sequence[Student],
    *,
    sizes: tuple[int, int, int],
    seed: int,
    log: Path | None = None,
) -> Iterator[GainRecord]:
    """Every pair on every task, as they come; a supervisor is not paired with itself.

    With `log` (a `.jsonl` file) each record is appended as soon as it is there, and pairs that the
    file already holds, of these sizes and this seed, are read instead of trained. Records that do
    not say theirs are taken for such where their test part has this size.
    """
    done = {
        _key(record): record
        for record in ([] if log is None else _resume(log))
        if (record.sizes, record.seed) == (sizes, seed)
        or (record.sizes is None and record.seed is None and record.test == sizes[2])
    }
    for task in tasks:
        run = _TaskRun(task, sizes, seed)
        for supervisor in weak:
            for student in strong:
                if supervisor.name == student.base.name:
                    continue
                known = done.get((task.name, supervisor.name, student.name))
                record = known or run.record(supervisor, student)
                if known is None and log is not None:
                    _append(log, record)
                yield record


class _TaskRun:
    """One task's split, and what was fitted on its truth."""

    def __init__(self, task: BinaryTask, sizes: tuple[int, int, int], seed: int) -> None:
        self._task = task
        self._sizes = sizes
        self._seed = seed
        self._split = split_task(task, sizes, seed=seed)
        self._fitted: dict[str, Predictor] = {}
        self._test = self._texts(self._split.test)

    def _texts(self, rows: Integers) -> list[str]:
        return [self._task.texts[row] for row in rows]

    def _taught_by_truth(self, supervisor: Supervisor) -> Predictor:
        if supervisor.name not in self._fitted:
            rows = self._split.weak_train
            gold = self._task.labels[rows].astype(np.float64)
            fitted = supervisor.fit(self._texts(rows), gold, seed=self._seed)
            self._fitted[supervisor.name] = fitted
        return self._fitted[supervisor.name]

    def record(self, supervisor: Supervisor, student: Student) -> GainRecord:
        weak, base = self._taught_by_truth(supervisor), self._taught_by_truth(student.base)
        texts = self._texts(self._split.strong_train)
        taught = student.learner.fit(texts, weak(texts), seed=self._seed)
        labels = self._task.labels[self._split.test]
        says = {"weak": weak(self._test), "base": base(self._test), "student": taught(self._test)}
        pair = Pair.of(_binary(says["weak"]), _binary(says["base"]), labels)
        right = {name: _accuracy(probability, labels) for name, probability in says.items()}
        return GainRecord(
            task=self._task.name,
            weak=supervisor.name,
            strong=student.name,
            weak_accuracy=right["weak"],
            base_accuracy=right["base"],
            student_accuracy=right["student"],
            capa=METRICS["capa"].of(pair),
            ceiling=pair_ceiling(pair),
            capa_discrete=METRICS["capa-discrete"].of(pair),
            error_consistency=METRICS["error-consistency"].of(pair),
            test=len(labels),
            sizes=self._sizes,
            seed=self._seed,
        )


def _key(record: GainRecord) -> tuple[str, str, str]:
    return record.task, record.weak, record.strong


def _resume(log: Path) -> list[GainRecord]:
    """The records of an earlier run; a line that a kill cut is taken off, to be written again."""
    if not log.exists():
        return []
    whole = log.read_bytes()
    kept = whole[: whole.rfind(b"\n") + 1]
    if kept != whole:
        write_atomically(log, kept)
    return read_records(log)


def _append(log: Path, record: GainRecord) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(record)) + "\n")


def read_records(path: Path) -> list[GainRecord]:
    """Records of a log; a last line cut by a kill is left out, any other bad line is an error."""
    found = []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        try:
            value = json.loads(line)
            if value.get("sizes") is not None:
                value["sizes"] = tuple(value["sizes"])
            found.append(GainRecord(**value))
        except (TypeError, ValueError, AttributeError) as error:
            if number == len(lines) and not line.endswith("\n"):
                break
            raise DataError(f"{path}:{number}: got no record of the study ({error})") from None
    return found


def gain_study(
    records: Sequence[GainRecord], *, metric: str = "capa", seed: int = 0
) -> Correlation:
    """Partial correlation of gain with similarity given the accuracy gap, clustered by task.

    The paper: -0.351 [-0.47, -0.22] over 180 rows (arXiv 2502.04313, section 4).
    Rows whose similarity is NaN (both perfect) are left out.
    """
    similarity = np.array([getattr(record, metric.replace("-", "_")) for record in records])
    usable = [row for row, value in zip(records, similarity, strict=True) if not np.isnan(value)]
    return partial_correlation(
        similarity[~np.isnan(similarity)],
        [record.gain for record in usable],
        [[record.gap for record in usable]],
        clusters=[record.task for record in usable],
        seed=seed,
    )


def gain_study_of_pairs(
    records: Sequence[GainRecord], *, metric: str = "capa", seed: int = 0
) -> Mapping[tuple[str, str], Correlation]:
    """The same within each pair of weak supervisor and student."""
    pairs = sorted({(record.weak, record.strong) for record in records})
    return {
        pair: gain_study(
            [record for record in records if (record.weak, record.strong) == pair],
            metric=metric,
            seed=seed,
        )
        for pair in pairs
    }
