"""The commands as functions: collect, train, compare, null, toy; each into a folder of its own.

Descriptions have a file of their own, `describing.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from custodes.config import Run, save
from custodes.errors import DataError
from custodes.measure.report import Cell
from custodes.methods.sae.coder import Coder
from custodes.methods.sae.collecting import collect
from custodes.methods.sae.config import (
    CollectConfig,
    CompareConfig,
    NullConfig,
    ToyConfig,
    TrainConfig,
)
from custodes.methods.sae.finished import load_finished, save_finished
from custodes.methods.sae.formats import load_coder
from custodes.methods.sae.kept import Kept
from custodes.methods.sae.language import LanguageModel, load_language_model
from custodes.methods.sae.metrics import Quality, ce_score, judge, substituted_losses
from custodes.methods.sae.progress import check_progress
from custodes.methods.sae.report import (
    compare_report,
    mean_interval,
    null_report,
    toy_report,
    train_report,
)
from custodes.methods.sae.scoring import lookup_aurocs
from custodes.methods.sae.seeds import Overlap, compare, permuted, random_directions
from custodes.methods.sae.store import ActivationStore
from custodes.methods.sae.stored import stored_activations, stored_alive
from custodes.methods.sae.texts import check_sources, read_texts
from custodes.methods.sae.toy import toy_study
from custodes.methods.sae.training import (
    Trained,
    check_width,
    only_hook,
    train,
    trained_rows,
    training_key,
    untrained,
)
from custodes.methods.sae.variants import token_entropy, variant
from custodes.models.devices import open_device

__all__ = ["run_collect", "run_compare", "run_null", "run_toy", "run_train"]

Say = Callable[[str], object] | None


def run_collect(
    config: CollectConfig, sources: Sequence[Path], folder: Path, *, say: Say = None
) -> ActivationStore:
    """Collect activations of the configured model on the texts; goes on where it was."""
    check_sources(sources)  # a model takes a while to load
    language = load_language_model(config.model, device=config.device)
    store = collect(language, read_texts(sources), config, folder, say=say)
    save(config, folder / "config.yaml")
    return store


def run_train(store: ActivationStore, config: TrainConfig, out: Path, *, say: Say = None) -> Path:
    """Train every configured autoencoder into artifacts/NAME; returns the report's path.

    Where all of them are there, none is trained again. `ConfigError` where one is of other settings
    or of another store.
    """
    open_device(config.device)  # refused before anything is written, as what follows
    keep = out / "checkpoint.safetensors"
    found = _finished(store, config, out / "artifacts", keep)
    run = Run(out, config, seed=config.seeds[0])
    found = found or _train(store, config, run.artifacts, keep, say)
    for one in found:
        run.log(autoencoder=one.name, **one.quality.values())
    nulls = []
    if config.null:
        first = {(one.config.kind, one.config.latents, one.config.k): one for one in found[::-1]}
        nulls = [untrained(store, config, one.config) for one in first.values()]
    facts: dict[str, Cell] = {"model": store.facts.model, "hook": only_hook(store, config.hook),
                              "rows trained on": trained_rows(store, config)
                              // config.batch * config.batch}  # fmt: skip
    report = train_report(found, nulls, facts)
    return run.report(report.values(), report.html())


def _finished(
    store: ActivationStore, config: TrainConfig, folder: Path, keep: Path
) -> list[Trained]:
    """What is finished already (`load_finished`); `ConfigError` where that, or the checkpoint, is
    of another training."""
    found = load_finished(store, config, folder)
    check_progress(keep, training_key(store, config))
    return found


def _train(
    store: ActivationStore, config: TrainConfig, folder: Path, keep: Path, say: Say
) -> list[Trained]:
    found = []
    for one in train(store, config, keep=keep, say=say):
        save_finished(one, store, config, folder)
        found.append(one)
    return found


def run_compare(
    folders: Sequence[Path],
    config: CompareConfig,
    out: Path,
    *,
    store: ActivationStore | None = None,
    hook: str = "",
    say: Say = None,
) -> Path:
    """All pairs of autoencoders, with nulls; with a store, their L0 and explained variance too.

    These are of the rows that a training with the same `held_out` leaves out; which rows an
    autoencoder was trained on is not known here. Pairs that are compared are kept in compared.json,
    and the matching under way in artifacts/, so that a killed run goes on; `ConfigError` where the
    folder holds those of other settings or autoencoders.
    """
    coders = {str(folder): load_coder(folder) for folder in folders}
    if len(coders) < 2:
        raise DataError("compare: got fewer than two autoencoders; give two folders or more")
    if store is not None:
        hook = only_hook(store, hook)
        for name, coder in coders.items():
            check_width(store, hook, coder, name)
    kept = Kept(out / "compared.json", _compare_key(coders, config))
    found = [Overlap(**one) for one in kept.load()]  # a refusal comes before anything is written
    run = Run(out, config, seed=config.seed)
    matching = partial(
        compare, top=config.top, rounds=config.rounds, keep=run.artifacts / "matching", say=say
    )
    for pair in _compared(coders, config.seed)[len(found) :]:
        found.append(matching(*pair))
        kept.save([overlap.values() for overlap in found])
    names = list(combinations(coders, 2))
    pairs: dict[str, Overlap] = {}
    for (one, two), overlap in zip(names, found[:-2], strict=True):
        pairs[f"{one} and {two}"] = overlap
        run.log(first=one, second=two, **overlap.values())
    name = next(iter(coders))
    nulls = {
        f"{name} and random directions": found[-2],
        f"{name} and itself permuted": found[-1],
    }
    qualities: dict[str, Quality] = {}
    judged = ""
    if store is not None:
        start = store.split(config.held_out)
        judged = _judged(store, start, config.held_out)
        qualities = {
            key: judge(coder, store.batches(hook, 2048, start=start))
            for key, coder in coders.items()
        }
    facts: dict[str, Cell] = {"autoencoders": len(coders)}
    report = compare_report(pairs, nulls, qualities, facts, judged=judged)
    return run.report(report.values(), report.html())


def _compared(coders: Mapping[str, Coder], seed: int) -> list[tuple[Coder, Coder]]:
    """All pairs, and behind them the nulls of the first."""
    first = next(iter(coders.values()))
    nulls = [(first, random_directions(first, seed)), (first, permuted(first, seed))]
    return [*combinations(coders.values(), 2), *nulls]


def _compare_key(coders: Mapping[str, Coder], config: CompareConfig) -> str:
    """Tells what is compared, and how, from anything else; who judges quality is no part of it."""
    settings = config.model_dump(mode="json", exclude={"held_out"})
    return json.dumps([settings, [coder.checksum() for coder in coders.values()]])


def _judged(store: ActivationStore, start: int, held_out: int) -> str:
    """Which rows judge, in words."""
    if start:
        return (
            f"On the last {store.rows - start:,} of {store.rows:,} rows, which a training with "
            f"held_out = {held_out} leaves out."
        )
    return (
        f"On all {store.rows:,} rows: the store is too small to hold out {held_out:,}, so that "
        "these may be rows that were trained on (set held_out as the training had it)."
    )


def run_null(
    config: NullConfig,
    texts: Callable[[], Iterable[str]],
    out: Path,
    *,
    language: LanguageModel | None = None,
    say: Say = None,
) -> Path:
    """The same autoencoders on the trained network and on random ones.

    Stores and finished autoencoders are kept, and neither is made again; `ConfigError` where one
    is of other settings. Token entropy is over all the contexts that are scored (`token_entropy`).
    """
    open_device(config.train.device)
    collected = config.collect
    language = language or load_language_model(collected.model, device=collected.device)
    artifacts, run = out / "artifacts", None
    rows: list[dict[str, Cell]] = []
    for name in config.variants:
        network = variant(language, name, seed=config.seed)
        folder = artifacts / "stores" / name
        store = collect(network, texts(), config.collect, folder, say=say)
        for hook in config.collect.hooks:
            of_hook = config.train.model_copy(update={"hook": hook})
            coders = artifacts / "coders" / name / hook.replace(":", "=")
            keep = coders / "checkpoint.safetensors"
            trained_here = _finished(store, of_hook, coders, keep)
            # What belongs to other settings is refused before these are written over them.
            run = run or Run(out, config, seed=config.seed)
            trained_here = trained_here or _train(store, of_hook, coders, keep, say)
            for one in trained_here:
                row, of_latents = _network_row(store, hook, one, config)
                trained = name == "trained"  # elsewhere there is no loss to lose
                row["CE score"] = (
                    _ce_score(network, store, hook, one.coder, config) if trained else None
                )
                rows.append({"network": f"{name}, {hook}, {one.name}", **row})
                run.log(
                    network=name, hook=hook, autoencoder=one.name, **_plain(row),
                    **{"of latents": of_latents},
                )  # fmt: skip
    assert run is not None, "a network and a hook at least"
    report = null_report(rows, {"model": language.name, "seed": config.seed})
    return run.report(report.values(), report.html())


def _plain(row: dict[str, Cell]) -> dict[str, Any]:
    """Values alone; what is no number is null, as JSON has no NaN."""
    bare = {key: getattr(value, "value", value) for key, value in row.items()}
    return {
        key: None if isinstance(value, float) and np.isnan(value) else value
        for key, value in bare.items()
    }


def _network_row(
    store: ActivationStore, hook: str, one: Trained, config: NullConfig
) -> tuple[dict[str, Cell], dict[str, list[float]]]:
    """Figures of one autoencoder, and of each of its latents that were scored.

    Latents are scored on held-out contexts, from the activations in the store. What an entropy or
    AUROC cannot be had of is NaN in the second, and left out of the means.
    """
    start, skip = store.split(config.train.held_out), config.collect.skip
    held = store.contexts(start)[: config.contexts]
    before = store.contexts(0, start)[: config.table_contexts]
    scored: dict[str, list[float]] = {
        "token entropy": [], "fuzzing AUROC": [], "detection AUROC": []
    }  # fmt: skip
    latents = _active_latents(store, hook, one.coder, (held, before[: len(held)]), config)
    if latents:
        table, test = (
            (values[:, skip:], ids[:, skip:])
            for values, ids in (
                stored_activations(store, hook, one.coder, latents, some) for some in (before, held)
            )
        )
        scored["token entropy"] = token_entropy(test[0].flatten(0, 1), test[1].flatten()).tolist()
        for index in range(len(latents)):
            fuzzing, detection = lookup_aurocs(
                (table[0][..., index], table[1]), (test[0][..., index], test[1])
            )
            scored["fuzzing AUROC"].append(fuzzing)
            scored["detection AUROC"].append(detection)
    quality = one.quality
    return {
        "explained variance": quality.explained,
        "explained variance, mean over dimensions": quality.explained_mean,
        "cosine": quality.cosine,
        "L0": quality.l0,
        "L1": quality.l1,
        **{name: mean_interval(values) for name, values in scored.items()},
        "latents": len(latents),
        "not scored": int(np.isnan(list(scored.values())).any(0).sum()) if latents else 0,
    }, scored


def _ce_score(
    network: LanguageModel, store: ActivationStore, hook: str, coder: Coder, config: NullConfig
) -> float:
    """On eight held-out contexts."""
    contexts = store.contexts(store.split(config.train.held_out))[:8]
    ids = torch.from_numpy(store.tokens()[contexts].astype(np.int64))
    there, skip = coder.to(network.device), config.collect.skip
    return ce_score(*substituted_losses(network, hook, there, ids, skip=skip))


def _active_latents(
    store: ActivationStore,
    hook: str,
    coder: Coder,
    halves: Sequence[NDArray[np.int64]],
    config: NullConfig,
) -> list[int]:
    """A draw of those that are active in both sets of contexts."""
    alive = torch.stack([stored_alive(store, hook, coder, half) for half in halves]).all(0)
    chosen = alive.nonzero()[:, 0].numpy()
    most = min(config.latents, len(chosen))
    drawn = np.random.default_rng(config.seed).choice(chosen, size=most, replace=False)
    return sorted(int(latent) for latent in drawn)


def run_toy(config: ToyConfig, out: Path, *, say: Say = None) -> Path:
    """The toy model at every penalty and seed; returns the report's path."""
    run = Run(out, config, seed=config.seeds[0])
    points = []
    for point in toy_study(config):
        run.log(**point.values())
        points.append(point)
        if say is not None:
            say(f"{point.data}, L1 {point.penalty:g}, seed {point.seed}: L0 {point.l0:.1f}")
    report = toy_report(points, {"seeds": len(config.seeds)})
    return run.report(report.values(), report.html())
