"""The section collection: tokens a second into a fresh store, ours and SAELens'."""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from kept import full, once
from speed import told_by
from stores import HOOK, texts_of

from custodes.config import cache_folder
from custodes.measure import over_seeds
from custodes.methods.sae import (
    ActivationStore,
    CollectConfig,
    LanguageModel,
    collect,
    load_language_model,
    read_texts,
)
from custodes.models.embedded import SMOLLM2, prepare

__all__ = ["collection"]

PRECISIONS = ("float32", "bfloat16")
TIMES = 3


def collection(options: argparse.Namespace) -> list[dict]:
    """In float32 and in bfloat16; three times, ours and theirs by turns."""
    language = load_language_model("embedded")
    speeds: dict[tuple[str, str], list[float]] = {}
    for turn in range(TIMES):
        for precision in PRECISIONS:
            runs = {
                "ours": ours(options, language, precision, turn),
                "SAELens' store": theirs(options, precision, turn),
            }
            for who, one in runs.items():
                if one is not None:
                    of_one = speeds.setdefault((who, precision), [])
                    of_one.append(one["tokens"] / one["seconds"])
    found = [
        {"figure": f"{who}, {precision}", "value": over_seeds(values), "unit": "tokens/CPU-s"}
        for (who, precision), values in speeds.items()
    ]
    found.append({"figure": "bfloat16: share of variance that is noise", "value": noise(options)})
    fast = speeds["ours", "bfloat16"]
    found.append({"figure": "ours, processor time", "value": over_seeds(fast),
                  "unit": "tokens/CPU-s"})  # fmt: skip
    for name, mine, other, target in (
        ("ours over SAELens' store, same layer", "bfloat16", "bfloat16", ">= 1.5"),
        ("ours over SAELens' store, both in float32", "float32", "float32", ""),
        ("ours in bfloat16 over SAELens' store as it comes, in float32", "bfloat16", "float32", ""),
    ):
        slow = speeds.get(("SAELens' store", other), [])
        if len(slow) == TIMES:
            ratios = [one / two for one, two in zip(speeds["ours", mine], slow, strict=True)]
            found.append({"figure": name, "value": over_seeds(ratios), "target": target})
    return found


def settings_of(options: argparse.Namespace, precision: str) -> CollectConfig:
    tokens, context, batch = (50_000, 256, 16) if full(options) else (400, 64, 2)
    return CollectConfig(
        hooks=(HOOK,), tokens=tokens, context=context, batch=batch, precision=precision
    )


def store_folder(options: argparse.Namespace, precision: str) -> Path:
    return options.work / "collection" / f"store-{precision}"


def ours(
    options: argparse.Namespace, language: LanguageModel, precision: str, turn: int
) -> dict[str, Any]:
    config, folder = settings_of(options, precision), store_folder(options, precision)

    def run() -> dict[str, Any]:
        shutil.rmtree(folder, ignore_errors=True)  # a store that is there already costs nothing
        began = time.process_time()
        store = collect(language, read_texts([texts_of(options)]), config, folder)
        return {"seconds": time.process_time() - began, "tokens": store.rows}

    path = options.work / "collection" / f"ours-{precision}-{turn}.json"
    return once(path, run, config.model_dump(mode="json"))


def theirs(options: argparse.Namespace, precision: str, turn: int) -> dict[str, Any] | None:
    config = settings_of(options, precision)
    asked = {
        "model": str(prepare(SMOLLM2, cache_folder() / "models")), "hook": HOOK,
        "context": config.context, "prompts": config.batch, "tokens": config.tokens,
        "texts": str(texts_of(options)), "autocast": precision == "bfloat16",
    }  # fmt: skip
    path = options.work / "collection" / f"saelens-{precision}-{turn}.json"
    return told_by("saelens", asked, path, task="collect")


def noise(options: argparse.Namespace) -> float:
    """Of the last stores: squared difference over squared distance from the mean."""
    exact, rough = (
        torch.cat(list(ActivationStore(store_folder(options, one)).batches(HOOK, 8192)))
        for one in PRECISIONS
    )
    left = (exact - rough).square().sum() / (exact - exact.mean(0)).square().sum()
    return float(left)
