"""The stores of activations that sections read, and which of their rows train and judge."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from kept import full

from custodes.methods.sae import (
    ActivationStore,
    CollectConfig,
    collect,
    load_language_model,
    read_texts,
    write_store,
)

__all__ = ["HELD_OUT", "HOOK", "LAYER", "Rows", "hook_of", "rows_of", "texts_of", "the_store"]

LAYER = 7
HELD_OUT = {"full": 16_384, "tiny": 500}
_SHARD = 32_768  # rows: what is held out is whole shards of at least 16,384


def hook_of(layer: int) -> str:
    return f"model.layers.{layer}.mlp"


HOOK = hook_of(LAYER)


def texts_of(options: argparse.Namespace) -> Path:
    path = options.texts if options.texts.is_file() else options.texts / "texts.jsonl"
    if not path.exists():
        raise SystemExit(f"{path}: no such file; run: python benchmarks/sae/texts.py first")
    return path


def the_store(options: argparse.Namespace) -> ActivationStore:
    """`--store`, or `--tokens` of the embedded model at `--layers`, collected once; planted rows
    at size tiny."""
    if options.store:
        return ActivationStore(options.store)
    layers = "-".join(map(str, options.layers))
    if not full(options):
        return planted_store(options.work / f"store-planted-layers-{layers}", options.layers)
    folder = options.work / f"store-{options.tokens}-layers-{layers}"
    if (folder / "store.json").exists():
        known = ActivationStore(folder)
        if len(known.shards) == len(known.facts.rows):  # whole: texts need not be read again
            return known
    config = CollectConfig(
        hooks=tuple(map(hook_of, options.layers)), tokens=options.tokens, precision="auto",
        shard_rows=_SHARD,
    )  # fmt: skip
    language = load_language_model("embedded")
    return collect(language, read_texts([texts_of(options)]), config, folder, say=print)


def planted_store(folder: Path, layers: Sequence[int]) -> ActivationStore:
    """Sparse sums of 64 directions in 32 dimensions, others at each layer."""
    rng = np.random.default_rng(0)
    rows = (rng.random((6000, 64)) < 0.05) * rng.random((6000, 64))
    return write_store(
        folder,
        {hook_of(one): (rows @ rng.normal(size=(64, 32))).astype(np.float32) for one in layers},
    )


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A store; how many of its first rows train; where those begin and end that judge, which lie
    in shards that nothing is trained on."""

    store: ActivationStore
    trained: int
    start: int
    stop: int

    @property
    def identity(self) -> dict[str, object]:
        """What of the store decides a result."""
        facts = self.store.facts
        read = {name: getattr(facts, name) for name in ("model", "source", "seed", "dtype")}
        return {**read, "precision of the model": facts.precision,
                "judged on": [self.start, self.stop]}  # fmt: skip


def rows_of(options: argparse.Namespace, rows: int | None = None) -> Rows:
    """`rows` of the store, or all that are not held out; at most two shards' worth judge."""
    store = the_store(options)
    start = store.split(HELD_OUT[options.size])
    if rows is not None and rows > start:
        raise SystemExit(
            f"rows: got {rows:,}; {store.folder} has {start:,} to train on and "
            f"{store.rows - start:,} that judge: give fewer, or collect more (--tokens)"
        )
    stop = min(store.rows, start + 2 * HELD_OUT[options.size])
    return Rows(store=store, trained=rows or start, start=start, stop=stop)
