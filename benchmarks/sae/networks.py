"""The sections networks and control: the same autoencoder on trained and on random networks."""

from __future__ import annotations

import argparse
import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cells import learning_rate, mean
from kept import full, once
from stores import HELD_OUT, texts_of

from custodes.measure import Interval, bootstrap, interval_of, resample
from custodes.methods.sae import CoderConfig, CollectConfig, NullConfig, TrainConfig, read_texts
from custodes.methods.sae.method import run_null
from custodes.models.arithmetic import resolved

__all__ = ["control", "networks"]

HOOKS = ("residual.4", "residual.8")
VARIANCES = ("explained variance", "explained variance, mean over dimensions")
FIGURES = (*VARIANCES, "cosine", "L0", "L1", "CE score", "token entropy", "fuzzing AUROC",
           "detection AUROC", "latents", "not scored")  # fmt: skip
Row = dict[str, Any]


def config_of(options: argparse.Namespace) -> NullConfig:
    """What is run, `auto` as it comes out here."""
    rough = resolved("auto", "cpu")
    tokens, context, latents, k, batch, table = 1_500, 32, 64, 4, 64, 20
    if full(options):
        tokens, latents, table = (
            options.network_tokens, options.network_latents, options.network_contexts
        )  # fmt: skip
        context, k, batch = 256, 32, 2048
    rate = learning_rate(latents) if full(options) else 6e-3
    return NullConfig(
        collect=CollectConfig(
            hooks=HOOKS, tokens=tokens, context=context, precision=rough, shard_rows=32_768
        ),
        train=TrainConfig(
            latents=(latents,), k=(k,), seeds=(0,), batch=batch, warm_up=20,
            held_out=HELD_OUT["full"] if full(options) else 300,
            dead_after=131_072 if full(options) else 1000,
            coder=CoderConfig(k=k, latents=latents, precision=rough, learning_rate=rate),
        ),
        latents=100 if full(options) else 10, contexts=128 if full(options) else 20,
        table_contexts=table,
    )  # fmt: skip


def found_of(options: argparse.Namespace, name: str) -> list[Row]:
    """What one network's autoencoders were found to be, a row a hook.

    Its store, gigabytes at a million tokens, is dropped then; its autoencoders stay.
    """
    config = config_of(options).model_copy(update={"variants": (name,)})
    size = f"{config.train.latents[0]}-{config.collect.tokens}"
    folder = options.work / "networks" / size / name

    def run() -> dict[str, Any]:
        (folder / "metrics.jsonl").unlink(missing_ok=True)
        run_null(config, lambda: read_texts([texts_of(options)]), folder, say=print)
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return {"rows": [json.loads(line) for line in lines]}

    kept = Path(f"{folder}.json")
    rows = once(kept, run, config.model_dump(mode="json"))["rows"]
    shutil.rmtree(folder / "artifacts" / "stores", ignore_errors=True)
    return rows


def figures(rows: Sequence[Row]) -> list[Row]:
    return [
        {"figure": f"{name}, {row['network']}, {row['hook']}", "value": row[name]}
        for row in rows
        for name in FIGURES
        if row[name] is not None
    ]


def least_other(options: argparse.Namespace, name: str, rows: Sequence[Row]) -> list[Row]:
    """A control's explained variance over that of the least other network, means over hooks.

    NaN, so not measured, where that network explains nothing: no share of it says anything.
    """
    others = [found_of(options, one) for one in config_of(options).variants if one != "control"]
    found = []
    for figure in VARIANCES:
        least = min(mean([row[figure] for row in of_one]) for of_one in others)
        own = mean([row[figure] for row in rows])
        found.append({"figure": f"{figure}: {name} over the least other",
                      "value": own / least if least > 0 else math.nan})  # fmt: skip
    found[0]["target"] = "< 0.5"
    return found


def control(options: argparse.Namespace) -> list[dict]:
    """The control with noise as long as embeddings are, beside the other *networks*."""
    rows = found_of(options, "control-matched")
    found = [*figures(rows), *least_other(options, "control-matched", rows)]
    return [{**row, "seeds": [0]} for row in found]


def networks(options: argparse.Namespace) -> list[dict]:
    """One network after another; intervals over latents."""
    rows = {name: found_of(options, name) for name in config_of(options).variants}

    def of_latents(name: str, network: str, *hooks: str) -> list[float]:
        """NaN, an AUROC or entropy that a latent is too rare for, is left out."""
        chosen = [row["of latents"][name] for row in rows[network] if row["hook"] in hooks]
        return [value for of_hook in chosen for value in of_hook if not math.isnan(value)]

    random, real = (of_latents("fuzzing AUROC", one, *HOOKS) for one in ("rerandomized", "trained"))
    low, high = HOOKS
    rises = {
        network: apart(of_latents("token entropy", network, high),
                       of_latents("token entropy", network, low))
        for network in ("trained", "rerandomized")
    }  # fmt: skip
    found = [
        *figures([row for of_one in rows.values() for row in of_one]),
        *least_other(options, "control", rows["control"]),
        {"figure": "fuzzing AUROC: re-randomised less trained", "value": apart(random, real)},
        {"figure": "fuzzing AUROC: re-randomised less the lower end of trained's interval",
         "value": mean(random) - bootstrap(np.mean, real, seed=0).low, "target": ">= 0"},
        {"figure": "entropy: rise with depth, trained", "value": rises["trained"],
         "target": "> 0"},
        {"figure": "entropy: rise with depth, re-randomised", "value": rises["rerandomized"],
         "target": "<= 0"},
    ]  # fmt: skip
    return [{**row, "seeds": [0]} for row in found]


def apart(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Difference of means; other latents of other networks, so resampled independently."""
    draws = resample(np.mean, first, seed=0) - resample(np.mean, second, seed=1)
    return interval_of(mean(first) - mean(second), draws)
