"""All pairs at once: the same metrics for hundreds or thousands of models by matrix products.

Questions stream through in blocks, so memory holds one block and a few M x M sums; a file of any
size can be cut into tiles of model pairs and mapped by an engine (`local` or `ray`). Blocks may be
numpy arrays or torch tensors on any device. Knows no file format but `.npy`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from custodes.engine import Engine
from custodes.errors import DataError
from custodes.methods.similarity.answers import Answers, Floats, Integers
from custodes.methods.similarity.gram import Gram

__all__ = [
    "AnswerFile",
    "Block",
    "Similarities",
    "Tile",
    "similarities",
    "stream_similarities",
    "tiled_similarities",
]

_QUESTIONS_AT_ONCE = 1024

Block = tuple[Any, Integers, Integers]
"""Answers [M, b, O] (numpy or torch), labels [b], options [b] of b questions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarities:
    """Every asked metric for every pair of M models.

    `values`: metric -> [M, M], symmetric; the diagonal is the model with itself (for soft answers
    κp(a, a) is below 1). `ceiling` [M, M]: the κp that the pair's sharpness allows (where `capa`
    was asked for). `accuracy` [M] counts choices, the first of equals, and a level row as a guess
    (NaN where only `capa` was asked for: choices were not looked at); `mass` [M] is the mean
    probability of the right option.
    """

    names: tuple[str, ...]
    questions: int
    accuracy: Floats
    mass: Floats
    values: Mapping[str, Floats]
    ceiling: Floats | None = None

    def matrix(self, metric: str) -> Floats:
        """One metric's matrix; `DataError` names those that were computed."""
        if metric not in self.values:
            raise DataError(f"got the metric {metric!r}; computed were {', '.join(self.values)}")
        return self.values[metric]

    def pairs(self, metric: str) -> Floats:
        """The metric of each pair i < j, [M (M - 1) / 2], in the order of `numpy.triu_indices`."""
        return self.matrix(metric)[np.triu_indices(len(self.names), k=1)]


def similarities(answers: Answers, metrics: Sequence[str] = ("capa",)) -> Similarities:
    """All pairs of a table that is in memory."""
    blocks = _slices(answers.probabilities, answers.labels, answers.options)
    return stream_similarities(blocks, answers.names, metrics, trusted=True)


def stream_similarities(
    blocks: Iterable[Block],
    names: Sequence[str],
    metrics: Sequence[str] = ("capa",),
    *,
    trusted: bool = False,
) -> Similarities:
    """All pairs of a table that comes in blocks of questions and is never held whole.

    `trusted` skips the check that each row is a distribution, for blocks already checked.
    """
    gram = Gram(metrics)
    for block, labels, options in blocks:
        if len(block) != len(names):
            raise DataError(f"got a block of {len(block)} models for {len(names)} names")
        gram.update(block, None, labels, options, trusted=trusted)
    values = gram.values()
    first, _ = gram.accuracy()
    mass, _ = gram.mass()
    return Similarities(
        names=tuple(names),
        questions=gram.questions,
        accuracy=first,
        mass=mass,
        values={name: values[name] for name in metrics},
        ceiling=values.get("ceiling"),
    )


def _slices(
    table: Any, labels: Integers, options: Integers, size: int = _QUESTIONS_AT_ONCE
) -> Iterator[Block]:
    for start in range(0, len(labels), size):
        part = slice(start, start + size)
        yield table[:, part], labels[part], options[part]


@dataclass(frozen=True, slots=True)
class Tile:
    """The pairs of models [left) x [right) of a file."""

    left: tuple[int, int]
    right: tuple[int, int]


TileResult = dict[str, Floats]


@dataclass(frozen=True, slots=True)
class AnswerFile:
    """Answers [M, n, O] in a `.npy` file that every worker can read, with labels and options [n].

    `names` None: `model 0`, `model 1`...
    """

    path: Path
    labels: Integers
    options: Integers
    names: Sequence[str] | None = None

    def open(self) -> Floats:
        """The table, mapped into memory; `DataError` where it is no such file."""
        try:
            table: Floats = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"{self.path}: cannot be mapped as a .npy file: {error}") from error
        if table.ndim != 3 or (self.names is not None and len(self.names) != len(table)):
            named = "" if self.names is None else f" and {len(self.names)} names"
            raise DataError(
                f"{self.path}: got shape {table.shape}{named}; expected [models, questions, "
                "options] and one name a model"
            )
        if len(self.labels) != table.shape[1] or len(self.options) != table.shape[1]:
            raise DataError(
                f"{self.path}: got {len(self.labels)} labels and {len(self.options)} option counts "
                f"for {table.shape[1]} questions; expected one of each a question"
            )
        return table


def tiled_similarities(
    source: AnswerFile,
    metrics: Sequence[str] = ("capa",),
    *,
    engine: Engine,
    tile: int = 500,
) -> Similarities:
    """All pairs of the models in a file, tile by tile on an engine.

    A tile holds two blocks of at most `tile` models by 1,024 questions; its result is
    `tile` x `tile`, so thousands of models need little memory in any one place.
    """
    models = len(source.open())
    if tile < 1:
        raise DataError(f"tile: got {tile}, expected at least 1 model")
    edges = [(start, min(start + tile, models)) for start in range(0, models, tile)]
    tiles = [Tile(a, b) for i, a in enumerate(edges) for b in edges[i:]]
    results = engine.map(partial(_tile_function, source, tuple(metrics)), tiles)
    names = source.names or [f"model {index}" for index in range(models)]
    pairs = zip(tiles, results, strict=True)
    return _assemble(pairs, tuple(names), len(source.labels), metrics)


def _tile_function(
    source: AnswerFile, metrics: tuple[str, ...]
) -> Callable[[Sequence[Tile]], list[TileResult]]:
    table = source.open()

    def one(tile: Tile) -> TileResult:
        gram = Gram(metrics)
        left = _slices(table[slice(*tile.left)], source.labels, source.options)
        right = _slices(table[slice(*tile.right)], source.labels, source.options)
        for (first, gold, counts), (second, _, _) in zip(left, right, strict=True):
            gram.update(first, None if tile.left == tile.right else second, gold, counts)
        return {**gram.values(), "accuracy": gram.accuracy()[0], "mass": gram.mass()[0]}

    return lambda tiles: [one(tile) for tile in tiles]


def _assemble(
    results: Iterable[tuple[Tile, TileResult]],
    names: tuple[str, ...],
    questions: int,
    metrics: Sequence[str],
) -> Similarities:
    models = len(names)
    kept = [*metrics, *(["ceiling"] if "capa" in metrics else [])]
    whole = {name: np.empty((models, models)) for name in kept}
    accuracy, mass = np.empty(models), np.empty(models)
    for tile, values in results:
        left, right = slice(*tile.left), slice(*tile.right)
        for name in kept:
            whole[name][left, right] = values[name]
            whole[name][right, left] = values[name].T
        if tile.left == tile.right:
            accuracy[left], mass[left] = values["accuracy"], values["mass"]
    return Similarities(
        names=names,
        questions=questions,
        accuracy=accuracy,
        mass=mass,
        values={name: whole[name] for name in metrics},
        ceiling=whole.get("ceiling"),
    )
