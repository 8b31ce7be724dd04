"""Fits heads on features that are computed once, and keeps what they said of every table.

Scores are files named by all that they follow from, so that a run that was interrupted goes on and
a run with another study costs that study alone.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from custodes.classifiers import (
    FEATURES,
    CachedFeatures,
    Features,
    LabelledRow,
    StageConfig,
    Tokens,
    TokenScorer,
    Windows,
)
from custodes.classifiers.fitting import HeadFit, Targets, TrainingSet
from custodes.classifiers.training import balanced_weights
from custodes.config import write_atomically
from custodes.guard.ablations.config import AblationsConfig

__all__ = ["Arm", "Bench", "Floats", "Recipe", "Train"]

Floats = NDArray[np.float64]
Train = Sequence[LabelledRow] | Callable[[int], Sequence[LabelledRow]]
"""Rows to train on, or those of each seed."""
_LEFT_OUT = 0.1
_RATES = {"hashed": 0.02, "probe": 0.002}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an arm is fitted. `layers`: of the probe; empty: all that are kept."""

    features: str = "probe"
    layers: tuple[int, ...] = ()
    loss: str = "swim_softmax"
    window: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One variant: `scores` by table, [seeds, rows]; `x` where arms lie on an axis."""

    name: str
    scores: Mapping[str, Floats]
    x: float | None = None
    facts: Mapping[str, float] = field(default_factory=dict)


class Bench:
    """`cache` keeps features, None: nowhere; `folder` keeps scores."""

    def __init__(self, config: AblationsConfig, folder: Path, cache: Path | None) -> None:
        self.config = config
        self._folder = folder
        kind = FEATURES.load("activations")
        model = dict(config.model)
        dense: Features = kind(
            kind.Config(
                model=model.pop("kind"),
                settings=model,
                layers=config.layers,
                max_tokens=config.max_tokens,
                context_tokens=64,
                stride=8,
            )
        )
        hashed = FEATURES.load("hashed")
        self._features: dict[str, Features] = {
            "probe": dense if cache is None else cast("Features", CachedFeatures(dense, cache)),
            "hashed": hashed(hashed.Config(max_tokens=config.max_tokens)),
        }
        self._known: dict[tuple[str, int], Tokens] = {}

    def prepare(self, rows: Sequence[LabelledRow]) -> int:
        """Compute (or read) the features of rows; how many tokens the probe has of them."""
        for features in self._features:
            self._tokens(features, rows)
        return sum(len(self._known["probe", id(row)]) for row in rows)

    def judged(
        self,
        recipe: Recipe,
        train: Train,
        tables: Mapping[str, Sequence[LabelledRow]],
    ) -> dict[str, Floats]:
        """What heads of every seed, fitted on `train`, say of each table: [seeds, rows] each.

        Each seed leaves out a tenth of the training rows, whole groups and the same for all arms:
        a linear head that starts at nought would hardly differ otherwise.
        """
        # Two ways to name one recipe are one file of scores.
        recipe = replace(
            recipe,
            layers=(recipe.layers or self.config.layers) if recipe.features == "probe" else (),
            window=recipe.window or self.config.window,
        )
        found = []
        for seed in range(self.config.seeds):
            rows = train(seed) if callable(train) else train
            kept = [row for row in rows if not _left_out(row, seed)]
            found.append(self._seed(recipe, kept, tables, seed))
        return {name: np.stack([one[name] for one in found]) for name in tables}

    def _seed(
        self,
        recipe: Recipe,
        train: Sequence[LabelledRow],
        tables: Mapping[str, Sequence[LabelledRow]],
        seed: int,
    ) -> dict[str, Floats]:
        settings = self.config.model_dump(mode="json", exclude={"seeds", "budget", "resamples"})
        key = [repr(settings), repr(recipe), str(seed), _content(train)]
        key += [f"{name}:{_content(rows)}" for name, rows in tables.items()]
        place = self._folder / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:24]}.npz"
        if place.is_file():
            with np.load(place) as kept:
                return {name: kept[str(index)] for index, name in enumerate(tables)}
        scorer = self._fit(recipe, train, seed)
        said = {name: self._score(recipe, scorer, rows) for name, rows in tables.items()}
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {str(i): values for i, values in enumerate(said.values())}
        np.savez(buffer, **arrays)
        write_atomically(place, buffer.getvalue())
        return said

    def _fit(self, recipe: Recipe, train: Sequence[LabelledRow], seed: int) -> TokenScorer:
        window = recipe.window or self.config.window
        settings = StageConfig(
            name=recipe.features,
            features=recipe.features,
            loss=recipe.loss,
            windows=Windows(input=window, output=window, exchange=window),
            epochs=self.config.epochs,
            learning_rate=_RATES[recipe.features],
            rule_weight=0.0,
        )
        targets = Targets(
            labels=np.array([row.label for row in train], np.float32),
            rules=np.full(len(train), -1),
            weights=balanced_weights(train, {}),
            windows=np.full(len(train), window),
        )
        features = self._features[recipe.features]
        tokens = self._sliced(recipe, train)
        columns = self._columns(recipe)
        dim = features.dim if columns is None else columns.stop - columns.start
        data = TrainingSet(tokens=tokens, targets=targets, dim=dim)
        return TokenScorer(
            name=recipe.features,
            version="",
            rules=(),
            features=features,
            head=HeadFit(settings, outputs=1, seed=seed).run(data, lambda share: None),
            windows=settings.windows,
        )

    def _score(self, recipe: Recipe, scorer: TokenScorer, rows: Sequence[LabelledRow]) -> Floats:
        """The greatest logit that would be served, of what was read of each row."""
        found = []
        for row, tokens in zip(rows, self._sliced(recipe, rows), strict=True):
            logits = scorer.head.logits(tokens)
            length = len(row.judged.conversation[-1].content)
            (point,) = scorer.points_of(logits, tokens, length, row.judged.mode, decisive=True)
            found.append(point.logit)
        return np.array(found)

    def _columns(self, recipe: Recipe) -> slice | None:
        """Where the layers of a recipe lie: neighbors among those that are kept."""
        if recipe.features != "probe":
            return None
        kept = self.config.layers
        layers = recipe.layers or kept
        first, last = kept.index(layers[0]), kept.index(layers[-1])
        if kept[first : last + 1] != tuple(layers):
            raise AssertionError(f"layers {layers} are no neighbors among {kept}")
        width = self._features["probe"].dim // len(kept)
        return slice(first * width, (last + 1) * width)

    def _sliced(self, recipe: Recipe, rows: Sequence[LabelledRow]) -> list[Tokens]:
        columns = self._columns(recipe)
        tokens = self._tokens(recipe.features, rows)
        if columns is None:
            return tokens
        return [Tokens(each.ends, each.values[:, columns]) for each in tokens]

    def _tokens(self, features: str, rows: Sequence[LabelledRow]) -> list[Tokens]:
        """Rows are known by identity: whoever asks holds them as long as the bench lives."""
        new = [row for row in rows if (features, id(row)) not in self._known]
        if new:
            source = self._features[features]
            judged = [row.judged for row in new]
            for row, tokens in zip(
                new, source.extract(judged, limit=self.config.max_tokens), strict=True
            ):
                self._known[features, id(row)] = tokens
        return [self._known[features, id(row)] for row in rows]


def _left_out(row: LabelledRow, seed: int) -> bool:
    name = f"{seed}\0{row.example.group or row.example.id}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(name).digest()[:8], "big") < _LEFT_OUT * 2**64


def _content(rows: Sequence[LabelledRow]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        turns = [(turn.role, turn.content) for turn in row.judged.conversation]
        said = repr((row.judged.mode.value, row.label, turns))
        digest.update(said.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
