"""Sections that read a language model: collection, seeds, kinds, matching-trained,
networks, control, descriptions.

`--texts` names the folder that texts.py made. At size full they take long; everything is kept
under --work, and a killed run goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speed import HOOK, ask_peer, full, interval, once, planted_store

from custodes.config import cache_folder
from custodes.measure import Interval, bootstrap_difference
from custodes.methods.sae import (
    ActivationStore,
    CoderConfig,
    CollectConfig,
    DescribeConfig,
    NullConfig,
    TrainConfig,
    compare,
    judge,
    load_coder,
    load_language_model,
    match,
    random_directions,
    read_texts,
    save_coder,
)
from custodes.methods.sae.collecting import collect
from custodes.methods.sae.describing import run_describe
from custodes.methods.sae.method import run_null
from custodes.methods.sae.training import run_trainers
from custodes.models.embedded import SMOLLM2, prepare


def texts_of(options: argparse.Namespace) -> Path:
    path = options.texts if options.texts.is_file() else options.texts / "texts.jsonl"
    if not path.exists():
        raise SystemExit(f"{path}: no such file; run: python benchmarks/sae/texts.py first")
    return path


def the_store(options: argparse.Namespace) -> ActivationStore:
    """1 M tokens of the embedded model, collected once; a planted one at size tiny."""
    folder = options.work / "store"
    if full(options):
        config = CollectConfig(hooks=(HOOK,), tokens=1_000_000, precision="auto")
        return collect(
            load_language_model("embedded"), read_texts([texts_of(options)]), config, folder,
            say=print,
        )  # fmt: skip
    return planted_store(folder)


def collection(options: argparse.Namespace) -> list[dict]:
    """Tokens a second into a fresh store, ours and SAELens', in float32 and in bfloat16."""
    tokens = 50_000 if full(options) else 400
    context, prompts = (256, 16) if full(options) else (64, 2)
    language = load_language_model("embedded")
    folder = options.work / "collection"
    ours: dict[str, Any] = {}
    theirs: dict[str, Any] = {}
    for precision in ("float32", "bfloat16"):
        config = CollectConfig(
            hooks=(HOOK,), tokens=tokens, context=context, batch=prompts, precision=precision
        )

        def run(config: CollectConfig = config) -> dict[str, Any]:
            fresh = options.work / f"collection-{time.time_ns()}"
            began = time.process_time()
            store = collect(language, read_texts([texts_of(options)]), config, fresh)
            return {"seconds": time.process_time() - began, "tokens": store.rows,
                    "folder": str(fresh)}  # fmt: skip

        ours[precision] = once(folder / f"ours-{precision}.json", run)
        asked = {
            "model": str(prepare(SMOLLM2, cache_folder() / "models")), "hook": HOOK,
            "context": context, "prompts": prompts, "tokens": tokens,
            "texts": str(texts_of(options)), "autocast": precision == "bfloat16",
        }  # fmt: skip
        path = folder / f"saelens-{precision}.json"
        said = None if path.exists() else ask_peer("saelens", json.dumps(asked), task="collect")
        if path.exists() or said is not None:
            theirs[precision] = once(path, lambda said=said: json.loads(said.splitlines()[-1]))
    speeds = {
        (who, precision): one["tokens"] / one["seconds"]
        for who, found in (("ours", ours), ("SAELens' store", theirs))
        for precision, one in found.items()
    }
    found = [
        {"figure": f"{who}, {precision}", "value": value, "unit": "tokens/CPU-s"}
        for (who, precision), value in speeds.items()
    ]
    exact, rough = (
        torch.cat(list(ActivationStore(Path(ours[one]["folder"])).batches(HOOK, 8192)))
        for one in ("float32", "bfloat16")
    )
    noise = (exact - rough).square().sum() / (exact - exact.mean(0)).square().sum()
    found.append({"figure": "bfloat16: share of variance that is noise", "value": float(noise)})
    found.append({"figure": "ours, processor time", "value": speeds["ours", "bfloat16"],
                  "unit": "tokens/CPU-s"})  # fmt: skip
    if theirs:
        found += [
            {"figure": "ours over SAELens' store, same layer",
             "value": speeds["ours", "bfloat16"] / speeds["SAELens' store", "bfloat16"],
             "target": ">= 1.5"},
            {"figure": "ours over SAELens' store, both in float32",
             "value": speeds["ours", "float32"] / speeds["SAELens' store", "float32"]},
            {"figure": "ours in bfloat16 over SAELens' store as it comes, in float32",
             "value": speeds["ours", "bfloat16"] / speeds["SAELens' store", "float32"]},
        ]  # fmt: skip
    return found


GRID = {
    "size": [("topk", 576, 32), ("topk", 2304, 32), ("topk", 9216, 32)],
    "k": [("topk", 2304, 16), ("topk", 2304, 32), ("topk", 2304, 64)],
}
TINY = {
    "size": [("topk", 16, 4), ("topk", 64, 4)],
    "k": [("topk", 64, 2), ("topk", 64, 8)],
}
Shares = dict[str, list[float]]


def seeds(options: argparse.Namespace) -> list[dict]:
    """Shared features over seed pairs, along size, k and tokens; signs are what counts."""
    grid = GRID if full(options) else TINY
    store, rows, held = rows_of(options)

    def at(one: tuple[str, int, int], share: float = 1.0) -> Shares:
        return shared(options, store, one, (int((rows - held) * share), rows - held, rows))

    shares = {one: at(one) for one in sorted({*grid["size"], *grid["k"]})}
    middle = grid["size"][1]
    few = at(middle, 0.5)
    named = {f"{kind} F={latents} k={k}": values for (kind, latents, k), values in shares.items()}
    named[f"topk F={middle[1]} k={middle[2]}, half of the tokens"] = few
    steps = [
        ("rise with size", shares[grid["size"][-1]], shares[grid["size"][0]], "< 0"),
        ("rise with k", shares[grid["k"][-1]], shares[grid["k"][0]], "< 0"),
        ("rise with tokens", shares[middle], few, "> 0"),
    ]
    return share_rows(options, rows - held, named, steps)


def kinds(options: argparse.Namespace) -> list[dict]:
    """Shared features of ReLU and Gated (`--penalties`) and of TopK whose k equals their L0."""
    store, rows, held = rows_of(options)
    latents = 2304 if full(options) else 64

    def at(kind: str, k: int = 0) -> Shares:
        return shared(options, store, (kind, latents, k), (rows - held, rows - held, rows))

    named, steps = {}, []
    for kind in options.penalties:
        found = at(kind)
        k = min(max(round(float(np.mean(found["L0"]))), 1), latents)
        like = at("topk", k)
        named |= {f"{kind} F={latents}": found, f"topk F={latents} k={k}": like}
        steps.append((f"{kind} above topk", found, like, "> 0"))
    return share_rows(options, rows - held, named, steps)


def rows_of(options: argparse.Namespace) -> tuple[ActivationStore, int, int]:
    """The store, how many of its rows are read, and how many of those, the last ones, judge."""
    folder = options.work / "store"
    grown = full(options) and options.rows and (folder / "store.json").exists()
    store = ActivationStore(folder) if grown else the_store(options)
    return store, min(options.rows or store.rows, store.rows), 16_384 if full(options) else 500


Step = tuple[str, Shares, Shares, str]


def share_rows(
    options: argparse.Namespace, trained: int, named: dict[str, Shares], steps: list[Step]
) -> list[dict]:
    """Figures of every setting, and of each step from the second setting to the first."""
    found_rows = [{"figure": "rows trained on", "value": float(trained)}]
    found_rows += [
        {"figure": f"{name}, {label}", "value": interval(values[name])}
        for label, values in named.items()
        for name in ("shared", "agreement")
    ]
    found_rows += [
        {"figure": f"{name}, {label}", "value": float(np.mean(values[name]))}
        for label, values in named.items()
        for name in ("L0", "explained variance", "dead", "certified")
    ]
    found_rows += [
        {"figure": f"null: shared, {label}", "value": values["null"][0]}
        for label, values in named.items()
    ]
    for name, high, low, target in steps:
        gap = bootstrap_difference(np.mean, [high["shared"]], [low["shared"]], seed=0)
        found_rows.append({"figure": f"shared: {name}", "value": gap, "target": target})
    return [{**row, "seeds": options.seeds} for row in found_rows]


def shared(
    options: argparse.Namespace,
    store: ActivationStore,
    one: tuple[str, int, int],
    rows: tuple[int, int, int],
) -> Shares:
    """Figures over seed pairs of one setting, kept under --work; a killed training goes on.

    `rows`: how many are trained on; where the held-out ones start and stop.
    """
    kind, latents, k = one
    trained, start, stop = rows
    folder = options.work / "seeds" / f"{kind}-{latents}-{k}-{trained}"

    def run() -> Shares:
        batch = 2048 if full(options) else 128
        coder: dict[str, Any] = {"latents": latents, "k": k or 1, "precision": "auto"}
        if full(options):
            coder["learning_rate"] = min(3e-3 * (9216 / latents) ** 0.5, 6e-3)
        if kind in options.penalties:
            coder["sparsity"] = options.penalties[kind]
        config = TrainConfig.parse({
            "kinds": (kind,), "latents": (latents,), "k": (k or 1,), "batch": batch,
            "seeds": tuple(options.seeds), "null": False, "coder": coder, "checkpoint": 20,
            "warm_up": 20, "held_out": store.rows - trained,
        })  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        trainers, _ = run_trainers(store, config, keep=folder / "checkpoint.safetensors", say=print)
        coders = [one.finish() for one in trainers]
        quality = [judge(one, store.batches(HOOK, batch, start=start, stop=stop)) for one in coders]
        for seed, coder_of_seed in zip(options.seeds, coders, strict=True):
            save_coder(coder_of_seed, folder / f"seed{seed}")
        pairs = [compare(a, b) for a, b in combinations(coders, 2)]
        null = compare(coders[0], random_directions(coders[0], 0))
        return {
            "shared": [pair.shared for pair in pairs],
            "agreement": [pair.agreement for pair in pairs],
            "certified": [float(pair.certified) for pair in pairs],
            "L0": [one.l0 for one in quality],
            "explained variance": [one.explained for one in quality],
            "dead": [one.dead for one in quality],
            "null": [null.shared],
        }

    return once(folder / "shared.json", run)


def matching_trained(options: argparse.Namespace) -> list[dict]:
    """Two wide autoencoders that were trained, matched by decoder: certified, and at what cost?"""
    store, rows, held = rows_of(options)
    latents, steps, batch = (18_432, 60, 2048) if full(options) else (96, 5, 128)
    trained = min(rows - held, steps * batch)
    at = ("topk", latents, 32 if full(options) else 4)
    options.seeds = options.seeds[:2]
    found = shared(options, store, at, (trained, rows - held, rows))
    folder = options.work / "seeds" / f"{at[0]}-{latents}-{at[2]}-{trained}"
    first, second = (load_coder(folder / f"seed{seed}").decoder for seed in options.seeds)
    began = time.process_time()
    matching = match(first, second, say=print)
    seconds = time.process_time() - began
    return [
        {"figure": "latents", "value": float(latents)},
        {"figure": "rows trained on", "value": float(trained)},
        {"figure": "explained variance", "value": float(np.mean(found["explained variance"]))},
        {"figure": "shared", "value": float(np.mean(found["shared"]))},
        {"figure": "decoders: certified", "value": float(matching.certified), "target": "== 1"},
        {"figure": "decoders: relative gap to the bound",
         "value": matching.gap / matching.objective},
        {"figure": "decoders: rounds", "value": float(len(matching.violated))},
        {"figure": "decoders: processor time", "value": seconds, "unit": "CPU-s"},
    ]  # fmt: skip


def network_config(options: argparse.Namespace, *variants: str) -> NullConfig:
    size = (262_144, 256, 2304, 32, 2048) if full(options) else (1_500, 32, 64, 4, 64)
    tokens, context, latents, k, batch = size
    named = {"variants": variants} if variants else {}
    return NullConfig(
        collect=CollectConfig(
            hooks=("residual.4", "residual.8"), tokens=tokens, context=context,
            precision="auto",
        ),
        train=TrainConfig(
            latents=(latents,), k=(k,), seeds=(0,), batch=batch, warm_up=20,
            held_out=16_384 if full(options) else 300,
            coder=CoderConfig(k=k, latents=latents, precision="auto", learning_rate=6e-3),
        ),
        latents=100 if full(options) else 10, contexts=128 if full(options) else 20,
        **named,
    )  # fmt: skip


def network_rows(options: argparse.Namespace, config: NullConfig) -> tuple[list[dict], list[dict]]:
    """What each network's autoencoders were found to be, and that as figures."""
    rows = []
    for name in config.variants:
        folder = options.work / "networks" / name

        def run(name: str = name, folder: Path = folder) -> dict[str, Any]:
            (folder / "metrics.jsonl").unlink(missing_ok=True)
            alone = config.model_copy(update={"variants": (name,)})
            run_null(alone, lambda: read_texts([texts_of(options)]), folder, say=print)
            lines = (folder / "metrics.jsonl").read_text().splitlines()
            return {"rows": [json.loads(line) for line in lines]}

        rows += once(folder / "rows.json", run)["rows"]
    names = ("explained variance", "cosine", "L0", "L1", "CE score", "token entropy",
             "fuzzing AUROC", "detection AUROC")  # fmt: skip
    return rows, [
        {"figure": f"{name}, {row['network']}, {row['hook']}", "value": row[name], "seeds": [0]}
        for row in rows
        for name in names
        if row[name] is not None
    ]


def control(options: argparse.Namespace) -> list[dict]:
    """The control with noise as long as embeddings are, to be read beside *networks*."""
    return network_rows(options, network_config(options, "control-matched"))[1]


def networks(options: argparse.Namespace) -> list[dict]:
    """The same autoencoder on trained and random networks, one network after another."""
    config = network_config(options)
    rows, found = network_rows(options, config)

    def mean(name: str, network: str) -> float:
        return float(np.mean([row[name] for row in rows if row["network"] == network]))

    def of_latents(name: str, network: str, hook: str) -> list[float]:
        return next(row["of latents"][name] for row in rows
                    if row["network"] == network and row["hook"] == hook)  # fmt: skip

    others = [mean("explained variance", one) for one in config.variants if one != "control"]
    low, high = config.collect.hooks
    gaps = {
        network: [
            value for hook in (low, high) for value in of_latents("fuzzing AUROC", network, hook)
        ]
        for network in ("trained", "rerandomized")
    }
    gap = bootstrap_difference(np.mean, [gaps["rerandomized"]], [gaps["trained"]], seed=0)
    rises = {
        network: bootstrap_difference(
            np.mean,
            [of_latents("token entropy", network, high)],
            [of_latents("token entropy", network, low)],
            seed=0,
        )
        for network in ("trained", "rerandomized")
    }
    found += [
        {"figure": "explained variance: control over the least other",
         "value": mean("explained variance", "control") / min(others), "target": "< 0.5"},
        {"figure": "fuzzing AUROC: re-randomised less trained", "value": gap,
         "target": ">= -0.05"},
        {"figure": "entropy: rise with depth, trained", "value": rises["trained"],
         "target": "> 0"},
        {"figure": "entropy: rise with depth, re-randomised", "value": rises["rerandomized"],
         "target": "<= 0"},
    ]  # fmt: skip
    return [{**row, "seeds": [0]} for row in found]


def descriptions(options: argparse.Namespace) -> list[dict]:
    """Five methods on latents of one autoencoder, judge-free unless configured otherwise."""
    store = ActivationStore(options.store) if options.store else the_store(options)
    if not options.autoencoder:
        raise SystemExit("descriptions: give --autoencoder (see README.md)")
    config = DescribeConfig(
        latents=300 if full(options) else 6, contexts=256 if full(options) else 24,
        prompts=4 if full(options) else 2, steer_tokens=25 if full(options) else 3,
        precision="auto", minilm=str(options.minilm or ""),
    )  # fmt: skip
    folder = options.work / "descriptions"

    def run() -> dict[str, Any]:
        (folder / "metrics.jsonl").unlink(missing_ok=True)
        run_describe(store, options.autoencoder, config, folder, say=print)
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        return {"scores": [json.loads(line)["scores"] for line in lines]}

    rows = once(folder / "scores.json", run)["scores"]
    scores = {
        (method, score): np.array([row[method][score] for row in rows])
        for method in rows[0]
        for score in ("input", "output")
    }
    found = [
        {"figure": f"{score}, {method}", "value": interval(values.tolist())}
        for (method, score), values in scores.items()
    ]

    def ahead(one: str, other: str, score: str) -> Interval:
        return interval((scores[one, score] - scores[other, score]).tolist())

    def best(score: str, *names: str) -> str:
        return max(names, key=lambda name: scores[name, score].mean())

    outward = ("vocab-proj", "token-change")
    both = ("ensemble-raw", "ensemble-concat")
    return [
        *found,
        {"figure": "latents", "value": float(len(rows)), "target": ">= 300"},
        {"figure": "input: max-act less the better output-centric method",
         "value": ahead("max-act", best("input", *outward), "input"), "target": "> 0"},
        {"figure": "output: the better output-centric method less max-act",
         "value": ahead(best("output", *outward), "max-act", "output"), "target": ">= 0"},
        {"figure": "ensembles: the better one less max-act, input",
         "value": ahead(best("input", *both), "max-act", "input"), "target": ">= 0"},
        {"figure": "ensembles: the better one less the best single method, output",
         "value": ahead(best("output", *both), best("output", "max-act", *outward), "output")},
    ]  # fmt: skip
