"""The section collection: tokens a second into a fresh store, ours and SAELens'."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from cells import mean
from kept import full, once
from peers import cpu_seconds
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

WAYS: dict[str, dict[str, Any]] = {
    "float32": {"precision": "float32"},
    "bfloat16": {"precision": "bfloat16"},
    "bfloat16, compiled": {"precision": "bfloat16", "compile": True},
}
HALF = ("bfloat16", "bfloat16, compiled")
TIMES = 3
THEIRS = "SAELens' store"


def collection(options: argparse.Namespace) -> list[dict]:
    """Each way three times, ours and theirs by turns; the first part of a run, in which blocks are
    compiled, stands by itself. The figure with the target is of the faster way of each."""
    language = load_language_model("embedded")
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for turn in range(TIMES):
        for way in WAYS:
            runs.setdefault(("ours", way), []).append(ours(options, language, way, turn))
            found = theirs(options, way, turn)
            if found is not None:
                runs.setdefault((THEIRS, way), []).append(found)
    who_ran = list(dict.fromkeys(who for who, _ in runs))
    rates = {
        key: [one["tokens"] / one["seconds"] for one in of_one] for key, of_one in runs.items()
    }
    rows = [
        {"figure": f"{who}, {way}", "value": over_seeds(values), "unit": "tokens/CPU-s"}
        for (who, way), values in rates.items()
    ]
    rows += [
        # Of the first turn: later ones of a process find some of what was compiled.
        {"figure": f"{who}: compiling", "unit": "CPU-s",
         "value": runs[who, HALF[1]][0]["first"] - runs[who, HALF[0]][0]["first"]}
        for who in who_ran
    ]  # fmt: skip
    rows.append({"figure": "bfloat16: share of variance that is noise", "value": noise(options)})
    best = {who: max(HALF, key=lambda way: mean(rates[who, way])) for who in who_ran}
    rows.append({"figure": "ours, processor time", "value": over_seeds(rates["ours", best["ours"]]),
                 "unit": "tokens/CPU-s"})  # fmt: skip
    for name, way, other, target in (
        ("ours over SAELens' store, same layer", best["ours"], best.get(THEIRS, ""), ">= 1.5"),
        ("ours over SAELens' store, both compiled", "bfloat16, compiled", "bfloat16, compiled", ""),
        ("ours over SAELens' store, neither compiled", "bfloat16", "bfloat16", ""),
        ("ours over SAELens' store, both in float32", "float32", "float32", ""),
        ("ours compiled over SAELens' store as it comes", "bfloat16, compiled", "float32", ""),
    ):
        slow = rates.get((THEIRS, other), [])
        if len(slow) == TIMES:
            ratios = [one / two for one, two in zip(rates["ours", way], slow, strict=True)]
            rows.append({"figure": name, "value": over_seeds(ratios), "target": target})
    return rows


def settings_of(options: argparse.Namespace, way: str) -> CollectConfig:
    tokens, context, batch = (50_000, 256, 16) if full(options) else (400, 64, 2)
    return CollectConfig(hooks=(HOOK,), tokens=tokens, context=context, batch=batch, **WAYS[way])


def store_folder(options: argparse.Namespace, way: str) -> Path:
    return options.work / "collection" / f"store-{named(way)}"


def named(way: str) -> str:
    return way.replace(", ", "-")


def ours(
    options: argparse.Namespace, language: LanguageModel, way: str, turn: int
) -> dict[str, Any]:
    """`first`: seconds to the first shard; `tokens` and `seconds` of those after it."""
    config, folder = settings_of(options, way), store_folder(options, way)

    def run() -> dict[str, Any]:
        shutil.rmtree(folder, ignore_errors=True)  # a store that is there already costs nothing
        marks = [cpu_seconds()]
        with compiled_anew():
            store = collect(language, read_texts([texts_of(options)]), config, folder,
                            say=lambda _: marks.append(cpu_seconds()))  # fmt: skip
        return {"tokens": store.rows - store.facts.rows[0], "seconds": marks[-1] - marks[1],
                "first": marks[1] - marks[0]}  # fmt: skip

    path = options.work / "collection" / f"ours-{named(way)}-{turn}.json"
    return once(path, run, config.model_dump(mode="json"))


def theirs(options: argparse.Namespace, way: str, turn: int) -> dict[str, Any] | None:
    config = settings_of(options, way)
    asked = {
        "model": str(prepare(SMOLLM2, cache_folder() / "models")), "hook": HOOK,
        "context": config.context, "prompts": config.batch, "tokens": config.tokens,
        "texts": str(texts_of(options)), "autocast": config.precision == "bfloat16",
        "compile": config.compile,
    }  # fmt: skip
    path = options.work / "collection" / f"saelens-{named(way)}-{turn}.json"
    with compiled_anew():
        return told_by("saelens", asked, path, task="collect")


@contextmanager
def compiled_anew() -> Iterator[None]:
    """Within the block nothing that was compiled before is found, and no other process compiles."""
    torch._dynamo.reset()
    with TemporaryDirectory() as folder:
        names = {"TORCHINDUCTOR_CACHE_DIR": folder, "TORCHINDUCTOR_COMPILE_THREADS": "1"}
        before = {name: os.environ.get(name) for name in names}
        os.environ.update(names)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def noise(options: argparse.Namespace) -> float:
    """Of the last stores: squared difference over squared distance from the mean."""
    exact, rough = (
        torch.cat(list(ActivationStore(store_folder(options, one)).batches(HOOK, 8192)))
        for one in ("float32", "bfloat16")
    )
    left = (exact - rough).square().sum() / (exact - exact.mean(0)).square().sum()
    return float(left)
