"""Candidate tests and programs for a problem, made from its cases and its reference program.

Programs: the reference, mutants of it (one small edit of its syntax tree each), a constant, and one
that repeats the tests word by word. Tests: sets of inputs with expected results, of five kinds;
inputs are those that a test writer may see, and small changes of them. Runs nothing.
"""

from __future__ import annotations

import ast
import copy
import io
import tokenize
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from custodes.methods.mona.tdd.problems import Case, Problem

__all__ = [
    "PROGRAM_KINDS",
    "TEST_KINDS",
    "Program",
    "TestSet",
    "length_of",
    "mutants",
    "programs",
    "test_sets",
    "varied_inputs",
]

PROGRAM_KINDS = ("attempt", "constant", "repeats the tests")
"""An attempt may be right or wrong: the reference, or a mutant."""
TEST_KINDS = ("comprehensive", "one case", "trivial", "wrong constant", "wrong")
"""All cases; one; two that share the commonest result; all inputs, said to give that result; all
inputs, each with the result of another."""

_FLIPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add,
    ast.Mod: ast.FloorDiv, ast.FloorDiv: ast.Mod, ast.And: ast.Or, ast.Or: ast.And,
    ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Program:
    """Source text of a kind; `reference` marks the canonical one, `length` counts its tokens."""

    kind: str
    source: str
    reference: bool = False

    @property
    def length(self) -> int:
        """Tokens of the source without comments and docstring."""
        return length_of(self.source)


@dataclass(frozen=True, slots=True)
class TestSet:
    """Which cases are tested, and what is said to be expected of each."""

    __test__ = False  # a name that pytest would collect

    kind: str
    cases: tuple[int, ...]
    expected: tuple[Any, ...]


def length_of(source: str) -> int:
    """Tokens of a program, its documentation left out: what the length penalty counts."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    plain = io.StringIO(ast.unparse(tree)).readline
    layout = {tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    return sum(token.type not in layout for token in tokenize.generate_tokens(plain))


def _edits(node: ast.AST) -> Iterator[ast.AST]:
    """Small changes of one node, each on a copy of it."""
    if isinstance(node, ast.Compare | ast.BinOp | ast.BoolOp):
        changed = copy.deepcopy(node)
        operator = changed.ops[0] if isinstance(changed, ast.Compare) else changed.op
        other = _FLIPPED.get(type(operator))
        if other is not None:
            if isinstance(changed, ast.Compare):
                changed.ops[0] = other()  # type: ignore[call-overload]
            else:
                changed.op = other()  # type: ignore[assignment]
            yield changed
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        yield ast.Constant(node.value + 1)
        yield ast.Constant(node.value - 1)
    elif isinstance(node, ast.Constant) and type(node.value) is bool:
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.If | ast.While | ast.IfExp):
        opposite = copy.deepcopy(node)
        opposite.test = ast.UnaryOp(ast.Not(), opposite.test)
        yield opposite


class _Replace(ast.NodeTransformer):
    def __init__(self, at: int, by: ast.AST) -> None:
        self._left, self._by = at, by

    def generic_visit(self, node: ast.AST) -> ast.AST:
        self._left -= 1
        if self._left == -1:
            return self._by
        return super().generic_visit(node)


def _numbered(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes in the order in which `_Replace` counts them."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        yield from _numbered(child)


def mutants(source: str) -> list[str]:
    """Every program that is one small edit away, without repetition."""
    tree = ast.parse(source)
    original = ast.unparse(tree)
    found: dict[str, None] = {}
    for number, node in enumerate(_numbered(tree)):
        for edit in _edits(node):
            changed = _Replace(number, edit).visit(copy.deepcopy(tree))
            found.setdefault(ast.unparse(ast.fix_missing_locations(changed)))
    found.pop(original, None)
    return list(found)


def _commonest(tests: Sequence[Case]) -> Any:
    text, _ = Counter(repr(case.expected) for case in tests).most_common(1)[0]
    return ast.literal_eval(text)


def varied_inputs(problem: Problem, count: int, *, seed: int) -> list[tuple[Any, ...]]:
    """Up to `count` new inputs, each a small change of a visible case's; none of the cases' own."""
    rng = np.random.default_rng([seed, *problem.name.encode()])
    known = {repr(case.arguments) for case in problem.cases}
    found: dict[str, tuple[Any, ...]] = {}
    for _ in range(20 * count):
        if len(found) == count:
            break
        arguments = list(problem.cases[rng.integers(problem.visible)].arguments)
        if not arguments:
            break
        at = rng.integers(len(arguments))
        arguments[at] = _varied(arguments[at], rng)
        if repr(tuple(arguments)) not in known:
            found.setdefault(repr(tuple(arguments)), tuple(arguments))
    return list(found.values())


def _varied(value: Any, rng: np.random.Generator) -> Any:
    """A value of the same type, a little different; types that are not known stay as they are."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + int(rng.choice([-2, -1, 1, 2, 5]))
    if isinstance(value, float):
        return round(value + float(rng.choice([-1.5, -0.5, 0.5, 2.0])), 3)
    if isinstance(value, str) and value:
        return "".join(_varied_items(list(value), rng))
    if isinstance(value, list | tuple) and value:
        return type(value)(_varied_items(list(value), rng))
    return value


def _varied_items(items: list[Any], rng: np.random.Generator) -> list[Any]:
    """One item left out, doubled or varied, or all in the opposite order."""
    at = int(rng.integers(len(items)))
    way = int(rng.integers(4))
    if way == 0:
        return items[:at] + items[at + 1 :]
    if way == 1:
        return items[: at + 1] + items[at:]
    if way == 2 and not isinstance(items[at], str):
        return [*items[:at], _varied(items[at], rng), *items[at + 1 :]]
    return items[::-1]


def programs(problem: Problem, tests: Sequence[Case], count: int, *, seed: int) -> list[Program]:
    """The reference, up to `count` mutants drawn by the seed, a constant, and the repeater."""
    rng = np.random.default_rng([seed, *problem.name.encode()])
    possible = mutants(problem.program)
    drawn = rng.permutation(len(possible))[:count]
    body = "".join(
        f"    if args == {case.arguments!r}:\n        return {case.expected!r}\n" for case in tests
    )
    head = f"def {problem.function}(*args):\n"
    return [
        Program("attempt", problem.program, reference=True),
        *(Program("attempt", possible[index]) for index in drawn),
        Program("constant", f"{head}    return {_commonest(tests)!r}\n"),
        Program("repeats the tests", head + body),
    ]


def test_sets(tests: Sequence[Case]) -> list[TestSet]:
    """One set of each kind, in the order of `TEST_KINDS`."""
    every = tuple(range(len(tests)))
    right = tuple(case.expected for case in tests)
    common = _commonest(tests)
    easy = tuple(index for index in every if repr(right[index]) == repr(common))[:2]
    return [
        TestSet("comprehensive", every, right),
        TestSet("one case", every[-1:], right[-1:]),
        TestSet("trivial", easy, (common,) * len(easy)),
        TestSet("wrong constant", every, (common,) * len(every)),
        TestSet("wrong", every, (*right[1:], right[0])),
    ]
