"""One setting of autoencoders, trained in many seeds, and what its seeds share.

Every seed, every pair and every null is kept by itself under --work/seeds/SETTING, so that one seed
more costs its own training and its pairs alone.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from kept import full, once
from stores import HELD_OUT, LAYER, Rows, hook_of

from custodes.methods.sae import (
    Coder,
    TrainConfig,
    compare,
    judge,
    load_coder,
    permuted,
    random_directions,
    save_coder,
)
from custodes.methods.sae.training import run_trainers

__all__ = ["NULLS", "Cell", "Shares", "learning_rate", "mean", "shared", "trained"]

Shares = dict[str, list[float]]
NULLS = ("null: shared", "null: shared with itself permuted")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """`k` of topk, `sparsity` of relu and gated; so many `rows` train."""

    kind: str = "topk"
    latents: int
    k: int = 0
    sparsity: float = 1.0
    layer: int = LAYER
    rows: int

    @property
    def name(self) -> str:
        """Of its folder."""
        middle = f"k{self.k}" if self.kind == "topk" else f"s{self.sparsity:g}"
        return f"layer{self.layer}-{self.kind}-{self.latents}-{middle}-{self.rows}"


def learning_rate(latents: int) -> float:
    """3e-3 at 9,216, by 1 / sqrt(F); the package's own is for runs a thousand times as long."""
    return min(3e-3 * (9216 / latents) ** 0.5, 6e-3)


def config_of(options: argparse.Namespace, cell: Cell, seeds: Sequence[int]) -> TrainConfig:
    """A latent idle for 131,072 rows is dead in every cell, or few rows would revive none."""
    coder: dict[str, Any] = {"latents": cell.latents, "k": cell.k or 1, "precision": "auto",
                             "sparsity": cell.sparsity}  # fmt: skip
    if full(options):
        coder["learning_rate"] = learning_rate(cell.latents)
    config = TrainConfig.parse({
        "hook": hook_of(cell.layer), "kinds": (cell.kind,), "latents": (cell.latents,),
        "k": (cell.k or 1,), "seeds": tuple(seeds), "coder": coder, "rows": cell.rows,
        "batch": 2048 if full(options) else 128, "held_out": HELD_OUT[options.size],
        "dead_after": 131_072 if full(options) else 1000, "warm_up": 20, "null": False,
        # Large states rarely: a write of gigabytes takes as long as many steps.
        "checkpoint": max(20, 20 * cell.latents * len(seeds) // 9216),
    })  # fmt: skip
    return config.settled()


def trained(
    options: argparse.Namespace, data: Rows, cell: Cell, seeds: Sequence[int]
) -> tuple[Path, list[dict[str, Any]]]:
    """The folder of seedN/, and each seed's figures on rows of shards that were not read; seeds
    that are missing are trained side by side."""
    folder = options.work / "seeds" / cell.name
    missing = [seed for seed in seeds if not (folder / f"seed{seed}.json").exists()]
    config = config_of(options, cell, missing or seeds)
    apart = {"seeds", "checkpoint", "null", "threads"}
    settings = {**config.model_dump(mode="json", exclude=apart), **data.identity}
    once(folder / "settings.json", dict, settings)
    if missing:
        keep = folder / f"checkpoint-{'-'.join(map(str, missing))}.safetensors"
        trainers, _ = run_trainers(data.store, config, keep=keep, say=print)
        metadata = {"model_name": data.store.facts.model, "hook_name": config.hook}
        for seed, trainer in zip(missing, trainers, strict=True):
            coder = trainer.finish()
            save_coder(coder, folder / f"seed{seed}", metadata={**metadata, "seed": seed})
            once(folder / f"seed{seed}.json", lambda coder=coder: quality(coder, data, config))
        for left in folder.glob("checkpoint-*.safetensors"):
            left.unlink()
    return folder, [once(folder / f"seed{seed}.json", dict) for seed in seeds]


def quality(coder: Coder, data: Rows, config: TrainConfig) -> dict[str, Any]:
    size = max(128, min(2048, 2**24 // coder.latents))  # all latents of a batch are in memory
    rows = data.store.batches(config.hook, size, start=data.start, stop=data.stop)
    return judge(coder, rows).values()


def shared(options: argparse.Namespace, data: Rows, cell: Cell) -> Shares:
    """Figures over pairs of seeds (in the order of `combinations`), over seeds, and of nulls."""
    seeds = sorted(options.seeds)
    folder, qualities = trained(options, data, cell, seeds)

    def coder(seed: int) -> Coder:
        return load_coder(folder / f"seed{seed}")

    def matched(name: str, one: int, other: Any) -> dict[str, Any]:
        def run() -> dict[str, Any]:
            found = compare(coder(one), other(), keep=folder / name).values()
            shutil.rmtree(folder / name, ignore_errors=True)
            return found

        return once(folder / f"{name}.json", run)

    first = seeds[0]
    pairs = [
        matched(f"pair-{one}-{two}", one, lambda two=two: coder(two))
        for one, two in combinations(seeds, 2)
    ]
    nulls = [
        matched(f"null-random-{first}", first, lambda: random_directions(coder(first), 0)),
        matched(f"null-permuted-{first}", first, lambda: permuted(coder(first), 0)),
    ]
    of_pairs = {name: [float(pair[name]) for pair in pairs]
                for name in ("shared", "agreement", "certified")}  # fmt: skip
    names = {"L0": "l0", "explained variance": "explained", "dead": "dead",
             "explained variance, mean over dimensions": "explained_mean"}  # fmt: skip
    of_seeds = {label: [one[name] for one in qualities] for label, name in names.items()}
    of_nulls = {label: [one["shared"]] for label, one in zip(NULLS, nulls, strict=True)}
    return {**of_pairs, **of_seeds, **of_nulls}


def mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
