"""Fit one stage: labelled rows -> features (cached) -> head -> scorer.

Every row pulls with a weight that gives harmful and benign rows of a mode the same total. Knows
nothing of where rows come from, nor of thresholds and cascades.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from custodes.classifiers.adapting import AdapterFit
from custodes.classifiers.cache import CachedFeatures
from custodes.classifiers.features import FEATURES, Tokens
from custodes.classifiers.fitting import HeadFit, Targets, TrainingSet
from custodes.classifiers.heads import Head
from custodes.classifiers.rows import LabelledRow, sample_rows
from custodes.classifiers.scorer import TokenScorer
from custodes.classifiers.stage import StageConfig
from custodes.errors import ConfigError, DataError
from custodes.types import RuleId

__all__ = ["balanced_weights", "fit_stage"]

_BETWEEN_FITS = 1000
"""Between the seeds of one stage's fits, so that guards of neighboring seeds share none."""


def fit_stage(
    rows: Sequence[LabelledRow],
    config: StageConfig,
    *,
    rules: Sequence[RuleId],
    seed: int,
    cache: Path | None = None,
    progress: Callable[[str, float], None] = lambda stage, share: None,
) -> TokenScorer:
    """Train a scorer on `rows`; `rules` are the restricted rules it learns to name.

    `cache` keeps dense features between trainings. `DataError` where a label is missing.
    """
    kind = FEATURES.load(config.features)
    features = kind(kind.Config.parse(config.settings, origin=f"settings of {config.features}"))
    modes = getattr(features, "modes", config.modes)
    if strange := [mode.value for mode in config.modes if mode not in modes]:
        raise ConfigError(
            f"stage {config.name}: got modes with {', '.join(strange)}, but {config.features} "
            f"features read {', '.join(modes)} alone: name those in modes"
        )
    kept = [
        row
        for mode in config.modes
        for row in sample_rows(
            [row for row in rows if row.judged.mode is mode], config.most_rows.get(mode)
        )
    ]
    present = {row.label for row in kept}
    if present != {0, 1}:
        raise DataError(
            f"training {config.name}: got rows of labels {sorted(present)}, expected both 0 "
            "(benign) and 1 (harmful)"
        )
    judged = [row.judged for row in kept]
    done = 0

    def count(rows_done: int) -> None:
        nonlocal done
        done += rows_done
        progress(f"{config.name}: features", done / len(judged))

    targets = Targets(
        labels=np.array([row.label for row in kept], np.float32),
        rules=_rule_indices(kept, rules),
        weights=balanced_weights(kept),
        windows=np.array([config.windows.of(row.judged.mode) for row in kept]),
    )
    outputs = 1 + len(rules)
    if config.adapter is not None:
        tuned = AdapterFit(config, outputs=outputs, seed=seed).run(
            judged, targets, features, lambda share: progress(f"{config.name}: adapter", share)
        )
        features.adapt(tuned.adapter)
        head = tuned.head
    else:
        source = features
        if features.cached and cache is not None:
            source = CachedFeatures(features, cache, count)
        tokens: list[Tokens] = source.extract(judged, limit=features.max_tokens)
        data = TrainingSet(tokens=tokens, targets=targets, dim=features.dim)
        head = _averaged_fits(config, data, outputs, seed, progress)
    return TokenScorer(
        name=config.name,
        version="",
        rules=tuple(rules),
        features=features,
        head=head,
        windows=config.windows,
    )


def _averaged_fits(
    config: StageConfig,
    data: TrainingSet,
    outputs: int,
    seed: int,
    progress: Callable[[str, float], None],
) -> Head:
    """The mean of `config.fits` heads; the first is the one that this seed alone gives."""
    heads = []
    for number in range(config.fits):
        fit = HeadFit(config, outputs=outputs, seed=seed + _BETWEEN_FITS * number)

        def count(share: float, done: int = number) -> None:
            progress(f"{config.name}: head", (done + share) / config.fits)

        heads.append(fit.run(data, count))
    return Head.averaged(heads)


def _rule_indices(rows: Sequence[LabelledRow], rules: Sequence[RuleId]) -> NDArray[np.int64]:
    places = {rule: index for index, rule in enumerate(rules)}
    return np.array([places.get(row.rule, -1) if row.rule else -1 for row in rows])


def balanced_weights(rows: Sequence[LabelledRow]) -> NDArray[np.float32]:
    """Weights [n] of mean 1 with equal totals for both labels of each mode."""
    keys = [(row.judged.mode, row.label) for row in rows]
    counts = {key: keys.count(key) for key in set(keys)}
    modes = {mode: sum(n for (m, _), n in counts.items() if m == mode) for mode, _ in counts}
    return np.array([modes[key[0]] / (2 * counts[key]) for key in keys], np.float32)
