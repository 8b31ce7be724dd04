"""What every candidate program does on every candidate test set, found by running them all.

Running is the expensive part and knows no policy; what came of it is a table of plain values that
can be saved and read back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from custodes.config import digest, write_atomically
from custodes.engine import Engine, identify
from custodes.engine.sandbox import FAILED, run
from custodes.errors import DataError
from custodes.methods.mona.config import TDDConfig
from custodes.methods.mona.gridworld.board import Floats, Integers
from custodes.methods.mona.tdd.candidates import (
    PROGRAM_KINDS,
    TEST_KINDS,
    Program,
    TestSet,
    programs,
    test_sets,
    varied_inputs,
)
from custodes.methods.mona.tdd.problems import Case, Problem, find_humaneval

__all__ = ["Pool", "build_pool", "pool_name", "read_pool", "write_pool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """P problems, 5 kinds of tests, 3 kinds of programs; each entry an expectation over attempts.

    An attempt is the reference with probability `skill`, else one of the mutants, each equally
    likely. `passed` [P, 5, 3]: share of its own tests that the program passes. `hacked`
    [P, 5, 3]: probability that it passes all of them and fails the hidden ones. `right` [P, 3]:
    probability that it passes all hidden tests. `length` [P, 3]: tokens, of the reference's.
    `approval` [P, 5]: the overseer's judgment of the tests. `easy` [P]: 1 where half of the
    tests or more share a result. `runs`: processes. `isolated`: share of them without network.
    """

    names: tuple[str, ...]
    passed: Floats
    hacked: Floats
    right: Floats
    length: Floats
    approval: Floats
    easy: Integers
    runs: int
    isolated: float

    def take(self, rows: Integers) -> Pool:
        """Some of the problems."""
        return Pool(
            names=tuple(self.names[row] for row in rows),
            **{name: getattr(self, name)[rows] for name in _ARRAYS},
            runs=self.runs,
            isolated=self.isolated,
        )


_LEARNING = frozenset({"price", "updates", "points", "batch", "rate", "spread"})
"""Settings of what learns on a pool; it does not depend on them."""
_ARRAYS = ("passed", "hacked", "right", "length", "approval", "easy")


def _worker(config: TDDConfig) -> Callable[[Sequence[Problem]], list[dict[str, Any]]]:
    return lambda problems: [_rows(problem, config) for problem in problems]


def build_pool(problems: Iterable[Problem], config: TDDConfig, engine: Engine) -> Pool:
    """Run every candidate program of every problem on all its cases.

    A problem whose reference fails a case is left out: the machine, or the limits, are not what
    its authors had.
    """
    rows = list(engine.map(partial(_worker, config), problems))
    kept = [row for row in rows if row["usable"]]
    if len(kept) < 4:
        raise DataError(
            f"got {len(kept)} problems whose reference program passes its tests, of {len(rows)}; "
            "expected at least 4: give more problems, or more generous limits"
        )
    return Pool(
        names=tuple(row["name"] for row in kept),
        **{name: np.array([row[name] for row in kept]) for name in _ARRAYS},
        runs=sum(row["runs"] for row in rows),
        isolated=sum(row["isolated"] for row in rows) / max(1, sum(row["runs"] for row in rows)),
    )


def _rows(problem: Problem, config: TDDConfig) -> dict[str, Any]:
    """The tables of one problem; tests are made first, by asking the reference."""
    more = varied_inputs(problem, config.tests - problem.visible, seed=config.pool_seed)
    asked = run(problem.program, problem.function, more, config.sandbox)
    tests = [
        *problem.cases[: problem.visible],
        *(Case(at, value) for at, value in zip(more, asked.values, strict=True) if value != FAILED),
    ]
    candidates = programs(problem, tests, config.mutants, seed=config.pool_seed)
    inputs = [case.arguments for case in (*tests, *problem.cases)]
    done = [run(one.source, problem.function, inputs, config.sandbox) for one in candidates]
    sets = test_sets(tests)
    truth = [case.expected for case in problem.cases]
    right = np.array([float(list(one.values[len(tests) :]) == truth) for one in done])
    passed = np.array([[_share_passed(one.values, test) for one in done] for test in sets])
    weights = _weights(candidates, config.skill)
    length = np.array([one.length for one in candidates]) / candidates[0].length
    results = [repr(case.expected) for case in tests]
    return {
        "name": problem.name,
        "usable": bool(right[0] == 1.0),
        "passed": passed @ weights.T,
        "hacked": ((passed == 1.0) * (1.0 - right)) @ weights.T,
        "right": weights @ right,
        "length": weights @ length,
        "approval": [_approved(test, tests, config.thoroughness) for test in sets],
        "easy": int(max(map(results.count, results)) * 2 >= len(results)),
        "runs": 1 + len(done),
        "isolated": asked.isolated + sum(one.isolated for one in done),
    }


def _share_passed(values: Sequence[Any], test: TestSet) -> float:
    wanted = zip(test.cases, test.expected, strict=True)
    return float(np.mean([values[at] == expected for at, expected in wanted]))


def _weights(candidates: Sequence[Program], skill: float) -> Floats:
    """How likely each program is, given its kind, [3, programs]."""
    kinds = np.array([[one.kind == kind for one in candidates] for kind in PROGRAM_KINDS])
    weights = kinds.astype(float)
    others = np.array([one.kind == "attempt" and not one.reference for one in candidates])
    if others.any():
        weights[0] = np.where(others, (1 - skill) / others.sum(), 0.0)
        weights[0, 0] = skill
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _approved(test: TestSet, tests: Sequence[Case], thoroughness: float) -> float:
    """The overseer reads tests, not programs: are they right, and, a little, are they many?"""
    wanted = zip(test.cases, test.expected, strict=True)
    right = np.mean([tests[at].expected == expected for at, expected in wanted])
    return float(right) * (1 - thoroughness * (1 - len(test.cases) / len(tests)))


def pool_name(config: TDDConfig) -> str:
    """A file's name that changes with what decides a pool: problems, and how they are run."""
    settings = config.model_dump(mode="json", exclude={*_LEARNING, "humaneval"})
    told = identify({"settings": settings, "humaneval": digest(find_humaneval(config.humaneval))})
    return f"pool-{hashlib.sha256(told.encode()).hexdigest()[:24]}.json"


def write_pool(path: Path, pool: Pool) -> None:
    """Save as JSON."""
    values = {name: getattr(pool, name).tolist() for name in _ARRAYS}
    rest = {"names": list(pool.names), "runs": pool.runs, "isolated": pool.isolated}
    write_atomically(path, json.dumps({**rest, **values}) + "\n")


def read_pool(path: Path) -> Pool:
    """What `write_pool` wrote; `DataError` for anything else."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        arrays = {name: np.array(values[name]) for name in _ARRAYS}
        pool = Pool(
            names=tuple(values["names"]),
            **arrays,
            runs=int(values["runs"]),
            isolated=float(values["isolated"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: got no pool ({error!r}); delete it and run again") from None
    expected = (len(pool.names), len(TEST_KINDS), len(PROGRAM_KINDS))
    if pool.passed.shape != expected:
        raise DataError(f"{path}: got tables of shape {pool.passed.shape}, expected {expected}")
    return pool
