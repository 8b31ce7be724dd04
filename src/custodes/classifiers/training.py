"""Fit one stage: labelled rows -> features (cached) -> head -> scorer.

Every row pulls with a weight that gives harmful and benign rows of a mode the same total; rows of
a rule that was edited can be given more of it. Knows nothing of where rows come from, nor of
thresholds and cascades.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

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
from custodes.models.devices import open_device
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
    emphasis: Mapping[RuleId, float] | None = None,
    cache: Path | None = None,
    progress: Callable[[str, float], None] = lambda stage, share: None,
) -> TokenScorer:
    """Train a scorer on `rows`; `rules` are the restricted rules it learns to name.

    `emphasis`: how many times as much a row weighs that was written for a rule. `cache` keeps
    dense features between trainings. `DataError` where a label is missing.
    """
    open_device(config.device)  # told before features are computed, which may take long
    kind = FEATURES.load(config.features)
    features = kind(kind.Config.parse(config.settings, origin=f"settings of {config.features}"))
    modes = getattr(features, "modes", config.modes)
    if strange := [mode.value for mode in config.modes if mode not in modes]:
        raise ConfigError(
            f"stage {config.name}: got modes with {', '.join(strange)}, but {config.features} "
            f"features read {', '.join(modes)} alone: name those in modes"
        )
    kept = _chosen(rows, config)
    judged = [row.judged for row in kept]
    done = 0

    def count(rows_done: int) -> None:
        nonlocal done
        done += rows_done
        progress(f"{config.name}: features", done / len(judged))

    permitted = _permitted(kept, rules) if config.rules == "both" else []
    sides = _sides(rules, permitted) if permitted else None
    targets = Targets(
        labels=np.array([row.label for row in kept], np.float32),
        rules=_rule_indices(kept, rules, permitted),
        weights=balanced_weights(kept, emphasis or {}, config.sources),
        windows=np.array([config.windows.of(row.judged.mode) for row in kept]),
    )
    outputs = 1 + len(rules) + len(permitted)
    if config.adapter is not None:
        tuned = AdapterFit(config, outputs=outputs, seed=seed, sides=sides).run(
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
        head = _averaged_fits(config, data, outputs, sides, seed, progress)
    return TokenScorer(
        name=config.name,
        version="",
        rules=tuple(rules),
        features=features,
        head=head,
        windows=config.windows,
        serves=config.serves,
    )


def _chosen(rows: Sequence[LabelledRow], config: StageConfig) -> list[LabelledRow]:
    """The rows that the stage is trained on; `DataError` where a label is missing."""
    wanted = [
        row
        for row in rows
        if row.label == 0 or not config.kinds or row.example.kind in config.kinds
    ]
    kept = [
        row
        for mode in config.modes
        for row in sample_rows(
            [row for row in wanted if row.judged.mode is mode], config.most_rows.get(mode)
        )
    ]
    present = {row.label for row in kept}
    if present != {0, 1}:
        of_kinds = f", the harmful ones of kinds {', '.join(config.kinds)}" if config.kinds else ""
        raise DataError(
            f"training {config.name}: got rows of labels {sorted(present)}, expected both 0 "
            f"(benign) and 1 (harmful){of_kinds}"
        )
    return kept


def _averaged_fits(
    config: StageConfig,
    data: TrainingSet,
    outputs: int,
    sides: NDArray[np.float32] | None,
    seed: int,
    progress: Callable[[str, float], None],
) -> Head:
    """The mean of `config.fits` heads; the first is the one that this seed alone gives."""
    heads = []
    for number in range(config.fits):
        fit = HeadFit(config, outputs=outputs, seed=seed + _BETWEEN_FITS * number, sides=sides)

        def count(share: float, done: int = number) -> None:
            progress(f"{config.name}: head", (done + share) / config.fits)

        heads.append(fit.run(data, count))
    return Head.averaged(heads)


def _rule_indices(
    rows: Sequence[LabelledRow], rules: Sequence[RuleId], permitted: Sequence[RuleId]
) -> NDArray[np.int64]:
    """The place of each harmful row's rule among `rules`, and of each benign row's among
    `permitted` behind them; -1: it has none."""
    broken = {rule: place for place, rule in enumerate(rules)}
    kept = {rule: place for place, rule in enumerate(permitted, start=len(rules))}
    named = [(broken, row.rule) if row.label else (kept, row.example.rule) for row in rows]
    return np.array([-1 if rule is None else places.get(rule, -1) for places, rule in named])


def _permitted(rows: Sequence[LabelledRow], rules: Sequence[RuleId]) -> list[RuleId]:
    """The rules that benign rows were written for, but restricted ones (of a request refused)."""
    named = {row.example.rule for row in rows if row.label == 0 and row.example.rule}
    return sorted(named - set(rules))


def _sides(rules: Sequence[RuleId], permitted: Sequence[RuleId]) -> NDArray[np.float32]:
    """See `Head`."""
    return np.array([0.0, *[1.0] * len(rules), *[-1.0] * len(permitted)], np.float32)


def balanced_weights(
    rows: Sequence[LabelledRow],
    emphasis: Mapping[RuleId, float],
    sources: Mapping[str, float] = MappingProxyType({}),
) -> NDArray[np.float32]:
    """Weights [n] of mean 1 with equal totals for both labels of each mode; of rows of one mode
    and label, those of a rule in `emphasis`, or of a source in `sources`, weigh so many times as
    much."""
    named = [row.example.rule for row in rows]
    weights = np.array([emphasis.get(rule, 1.0) if rule else 1.0 for rule in named])
    weights *= np.array([sources.get(row.example.source, 1.0) for row in rows])
    modes = np.array([row.judged.mode.value for row in rows])
    labels = np.array([row.label for row in rows])
    for mode in np.unique(modes):
        half = (modes == mode).sum() / 2
        for label in (0, 1):
            those = (modes == mode) & (labels == label)
            weights[those] *= half / max(weights[those].sum(), 1e-12)
    return weights.astype(np.float32)
