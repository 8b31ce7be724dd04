"""The section descriptions: five methods on latents of one autoencoder."""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
from kept import full, once
from stores import the_store

from custodes.measure import Interval, bootstrap
from custodes.methods.sae import DescribeConfig, load_coder
from custodes.methods.sae.describing import run_describe
from custodes.models.arithmetic import resolved

__all__ = ["descriptions"]

SINGLE = ("max-act", "vocab-proj", "token-change")
OUTWARD = SINGLE[1:]
BOTH = ("ensemble-raw", "ensemble-concat")
Scores = dict[tuple[str, str], np.ndarray]


def descriptions(options: argparse.Namespace) -> list[dict]:
    """Judge-free. What is described is kept, so another judge (`--minilm`) steers nothing anew."""
    scores = scores_of(options)
    methods = dict.fromkeys(method for method, _ in scores)
    found = [
        {"figure": f"{score}, {method}", "value": interval(scores[method, score])}
        for method in methods
        for score in ("input", "output")
    ]

    def best(score: str, *names: str) -> str:
        """On the same latents as it is then compared on, which favors it a little."""
        return max(names, key=lambda name: scores[name, score].mean())

    def ahead(one: str, other: str, score: str) -> Interval:
        return interval(scores[one, score] - scores[other, score])

    found += [
        {"figure": "latents", "value": float(len(scores["max-act", "input"])), "target": ">= 300"},
        {"figure": "input: max-act less the better output-centric method",
         "value": ahead("max-act", best("input", *OUTWARD), "input"), "target": "> 0"},
        {"figure": "output: the better output-centric method less max-act",
         "value": ahead(best("output", *OUTWARD), "max-act", "output"), "target": ">= 0"},
    ]  # fmt: skip
    for score in ("input", "output"):
        gap = ahead(best(score, *BOTH), best(score, *SINGLE), score)
        name = f"ensembles: the better one less the best single method, {score}"
        found += [
            {"figure": name, "value": gap},
            {"figure": f"{name}: upper end (best or tied)", "value": gap.high, "target": ">= 0"},
        ]
    return found


def interval(values: np.ndarray) -> Interval:
    return bootstrap(np.mean, values, seed=0)


def scores_of(options: argparse.Namespace) -> Scores:
    """method, score -> one figure a latent; kept by autoencoder, store and judge."""
    if not options.autoencoder:
        raise SystemExit("descriptions: give --autoencoder (see README.md)")
    store, coder = the_store(options), load_coder(options.autoencoder)
    config = DescribeConfig(
        hook=coder.origin.get("metadata", {}).get("hook_name", ""),
        latents=300 if full(options) else 6, contexts=256 if full(options) else 24,
        prompts=4 if full(options) else 2, steer_tokens=25 if full(options) else 3,
        precision=resolved("auto", "cpu"), minilm=str(options.minilm or ""),
    )  # fmt: skip
    whose = options.autoencoder.resolve()
    folder = options.work / "descriptions" / f"{whose.parent.name}-{whose.name}"
    judge = "-".join(options.minilm.resolve().parts[-2:]) if options.minilm else "hashed"

    def run() -> dict[str, Any]:
        run_describe(store, options.autoencoder, config, folder, say=print)
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return {"scores": [json.loads(line)["scores"] for line in lines]}

    settings = {
        **config.model_dump(mode="json"), "autoencoder": coder.checksum(),
        "store": [store.facts.model, store.facts.source, store.facts.precision],
    }  # fmt: skip
    rows = once(folder / f"scores-{judge}.json", run, settings)["scores"]
    return {
        (method, score): np.array([row[method][score] for row in rows], dtype=np.float64)
        for method in rows[0]
        for score in ("input", "output")
    }
