"""Sections that read a language model: collection, seeds, networks, descriptions.

`--texts` names the folder that texts.py made. At size full they take hours; each keeps its store
and its autoencoders under --work, and the store goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import combinations
from pathlib import Path

import numpy as np
from speed import full, interval

from custodes.measure import bootstrap_difference
from custodes.methods.sae import (
    ActivationStore,
    CoderConfig,
    CollectConfig,
    DescribeConfig,
    NullConfig,
    TrainConfig,
    compare,
    load_language_model,
    read_texts,
    save_coder,
    train,
    write_store,
)
from custodes.methods.sae.collecting import collect
from custodes.methods.sae.describing import run_describe
from custodes.methods.sae.method import run_null

HOOK = "model.layers.7.mlp"


def texts_of(options: argparse.Namespace) -> Path:
    path = options.texts if options.texts.is_file() else options.texts / "texts.jsonl"
    if not path.exists():
        raise SystemExit(f"{path}: no such file; run: python benchmarks/sae/texts.py first")
    return path


def the_store(options: argparse.Namespace) -> ActivationStore:
    """1 M tokens of the embedded model, collected once; a planted one at size tiny."""
    folder = options.work / "store"
    if full(options):
        config = CollectConfig(hooks=(HOOK,), tokens=1_000_000, precision="bfloat16")
        return collect(
            load_language_model("embedded"), read_texts([texts_of(options)]), config, folder,
            say=print,
        )  # fmt: skip
    rng = np.random.default_rng(0)
    rows = (rng.random((6000, 64)) < 0.05) * rng.random((6000, 64))
    return write_store(folder, {HOOK: (rows @ rng.normal(size=(64, 32))).astype(np.float32)})


def collection(options: argparse.Namespace) -> list[dict]:
    """Tokens a second of processor and of wall time, into a fresh store."""
    tokens = 50_000 if full(options) else 400
    config = CollectConfig(hooks=(HOOK,), tokens=tokens, context=256 if full(options) else 64)
    folder = options.work / f"collection-{time.time_ns()}"
    language = load_language_model("embedded")
    began, wall = time.process_time(), time.perf_counter()
    store = collect(language, read_texts([texts_of(options)]), config, folder)
    processor, seconds = time.process_time() - began, time.perf_counter() - wall
    return [
        {"figure": "ours, processor time", "value": store.rows / processor, "unit": "tokens/CPU-s"},
        {"figure": "ours, wall time", "value": store.rows / seconds, "unit": "tokens/s"},
    ]


GRID = {
    "size": [("topk", 576, 32), ("topk", 2304, 32), ("topk", 9216, 32), ("topk", 20_736, 32)],
    "k": [("topk", 9216, 16), ("topk", 9216, 32), ("topk", 9216, 64)],
    "kind": [("topk", 2304, 32), ("relu", 2304, 32), ("gated", 2304, 32)],
}
TINY = {
    "size": [("topk", 16, 4), ("topk", 64, 4)],
    "k": [("topk", 64, 2), ("topk", 64, 8)],
    "kind": [("topk", 64, 4), ("relu", 64, 4), ("gated", 64, 4)],
}


def seeds(options: argparse.Namespace) -> list[dict]:
    """Shared features over seed pairs, along size, k, tokens and kind; signs are what counts."""
    store, grid = the_store(options), GRID if full(options) else TINY
    settings = sorted({one for axis in grid.values() for one in axis})
    shares = {one: shared(options, store, one, store.rows) for one in settings}
    middle = grid["k"][0]
    few = shared(options, store, middle, store.rows // 2)
    found = [
        {"figure": f"shared, {kind} F={latents} k={k}", "value": interval(values["shared"]),
         "seeds": options.seeds} for (kind, latents, k), values in shares.items()
    ]  # fmt: skip
    found += [
        {"figure": f"{name}, {kind} F={latents} k={k}", "value": float(np.mean(values[name])),
         "seeds": options.seeds}
        for (kind, latents, k), values in shares.items() for name in ("L0", "explained variance")
    ]  # fmt: skip
    steps = [
        ("rise with size", shares[grid["size"][-1]], shares[grid["size"][0]], "< 0"),
        ("rise with k", shares[grid["k"][-1]], shares[grid["k"][0]], "< 0"),
        ("rise with tokens", shares[middle], few, "> 0"),
        *((f"{one[0]} above topk", shares[one], shares[grid["kind"][0]], "> 0")
          for one in grid["kind"][1:]),
    ]  # fmt: skip
    for name, high, low, target in steps:
        gap = bootstrap_difference(np.mean, [high["shared"]], [low["shared"]], seed=0)
        row = {"figure": f"shared: {name}", "value": gap, "target": target}
        found.append({**row, "seeds": options.seeds})
    return found


def shared(
    options: argparse.Namespace, store: ActivationStore, one: tuple[str, int, int], rows: int
) -> dict[str, list[float]]:
    """Figures over seed pairs of one setting, kept under --work."""
    kind, latents, k = one
    folder = options.work / "seeds" / f"{kind}-{latents}-{k}-{rows}"
    path = folder / "shared.json"
    if path.exists():
        return json.loads(path.read_text())
    batch = 2048 if full(options) else 128
    config = TrainConfig(
        kinds=(kind,), latents=(latents,), k=(k,), seeds=tuple(options.seeds), batch=batch,
        held_out=(16_384 if full(options) else 500) + store.rows - rows, null=False,
        coder=CoderConfig(latents=latents, k=k),
    )  # fmt: skip
    trained = list(train(store, config))
    for coder in trained:
        save_coder(coder.coder, folder / coder.name)
    pairs = [compare(a.coder, b.coder) for a, b in combinations(trained, 2)]
    found = {
        "shared": [pair.shared for pair in pairs],
        "agreement": [pair.agreement for pair in pairs],
        "L0": [coder.quality.l0 for coder in trained],
        "explained variance": [coder.quality.explained for coder in trained],
    }
    path.write_text(json.dumps(found))
    return found


def networks(options: argparse.Namespace) -> list[dict]:
    """The same autoencoder on trained and random networks."""
    size = (1_000_000, 256, 9216, 32, 2048) if full(options) else (1_500, 32, 64, 4, 64)
    tokens, context, latents, k, batch = size
    config = NullConfig(
        collect=CollectConfig(
            hooks=("residual.4", "residual.8"), tokens=tokens, context=context
        ),
        train=TrainConfig(latents=(latents,), k=(k,), seeds=(0,), batch=batch,
                          held_out=16_384 if full(options) else 300),
        latents=100 if full(options) else 10, contexts=512 if full(options) else 20,
    )  # fmt: skip
    folder = options.work / "networks"
    (folder / "metrics.jsonl").unlink(missing_ok=True)
    run_null(config, lambda: read_texts([texts_of(options)]), folder, say=print)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    found = [
        {"figure": f"{name}, {row['network']}, {row['hook']}", "value": row[name], "seeds": [0]}
        for row in rows
        for name in ("explained variance", "token entropy", "fuzzing AUROC")
    ]

    def mean(name: str, network: str) -> float:
        return float(np.mean([row[name] for row in rows if row["network"] == network]))

    others = [mean("explained variance", one) for one in config.variants if one != "control"]
    gap = mean("fuzzing AUROC", "rerandomized") - mean("fuzzing AUROC", "trained")
    rise = {
        name: float(np.diff([row["token entropy"] for row in rows if row["network"] == name])[0])
        for name in ("trained", "rerandomized")
    }
    return [
        *found,
        {"figure": "explained variance: control over the least other",
         "value": mean("explained variance", "control") / min(others), "target": "< 0.5",
         "seeds": [0]},
        {"figure": "fuzzing AUROC: re-randomised less trained", "value": gap,
         "target": ">= -0.05", "seeds": [0]},
        {"figure": "entropy: rise with depth, trained", "value": rise["trained"],
         "target": "> 0", "seeds": [0]},
        {"figure": "entropy: rise with depth, re-randomised", "value": rise["rerandomized"],
         "target": "<= 0", "seeds": [0]},
    ]  # fmt: skip


def descriptions(options: argparse.Namespace) -> list[dict]:
    """Five methods on latents of one autoencoder, judge-free unless configured otherwise."""
    if not options.autoencoder or not options.store:
        raise SystemExit("descriptions: give --store and --autoencoder (see README.md)")
    count = 300 if full(options) else 5
    config = DescribeConfig(latents=count, contexts=512 if full(options) else 24,
                            prompts=32 if full(options) else 2,
                            steer_tokens=25 if full(options) else 3)  # fmt: skip
    folder = options.work / "descriptions"
    (folder / "metrics.jsonl").unlink(missing_ok=True)
    run_describe(ActivationStore(options.store), options.autoencoder, config, folder, say=print)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    scores = {
        (method, score): [row["scores"][method][score] for row in rows]
        for method in rows[0]["scores"]
        for score in ("input", "output")
    }
    found = [
        {"figure": f"{score}, {method}", "value": interval(values)}
        for (method, score), values in scores.items()
    ]

    def ahead(one: str, other: str, score: str) -> float:
        return float(np.mean(scores[one, score]) - np.mean(scores[other, score]))

    best = max(np.mean(scores[one, "output"]) for one in ("vocab-proj", "token-change"))
    return [
        *found,
        {"figure": "latents", "value": float(len(rows)), "target": ">= 300"},
        {"figure": "input: max-act less the better output-centric method",
         "value": min(ahead("max-act", one, "input") for one in ("vocab-proj", "token-change")),
         "target": "> 0"},
        {"figure": "output: the better output-centric method less max-act",
         "value": float(best - np.mean(scores["max-act", "output"])), "target": ">= 0"},
        {"figure": "ensembles: the better one less max-act, input",
         "value": max(ahead(f"ensemble-{one}", "max-act", "input") for one in ("raw", "concat")),
         "target": ">= 0"},
    ]  # fmt: skip
