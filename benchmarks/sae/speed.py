"""Sections that time training and matching, beside the peers: training, seeds-at-once, matching,
formats.

Training and many seeds read the store of activations; the others ask no model.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from kept import full, once
from safetensors.torch import save_file
from scipy.optimize import linear_sum_assignment
from stores import HELD_OUT, HOOK, rows_of

from custodes.methods.sae import (
    Coder,
    CoderConfig,
    TrainConfig,
    judge,
    load_coder,
    match,
    save_coder,
)
from custodes.methods.sae.matching import unit_rows
from custodes.methods.sae.training import Trainer, run_trainers

PEERS = Path(__file__).with_name("peers.py")
NAMES = {"saelens": "sae-lens", "sparsify": "eai-sparsify"}


def ask_peer(peer: str, *arguments: object, task: str) -> str | None:
    """What peers.py prints in the peer's environment; None where no environment is named."""
    python = os.environ.get(f"CUSTODES_PEER_{peer.upper()}")
    if not python:
        print(f"  {NAMES[peer]}: CUSTODES_PEER_{peer.upper()} names no Python; skipped", flush=True)
        return None
    done = subprocess.run(
        [python, str(PEERS), task, peer, *map(str, arguments)],
        check=True, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": "", "WANDB_MODE": "disabled"},
    )  # fmt: skip
    return done.stdout


def told_by(peer: str, asked: dict[str, Any], path: Path, *, task: str) -> dict[str, Any] | None:
    """The last line, JSON, of what a peer says, kept in `path`; None as in `ask_peer`."""
    said = None if path.exists() else ask_peer(peer, json.dumps(asked), task=task)
    if not path.exists() and said is None:
        return None
    return once(path, lambda: json.loads(said.splitlines()[-1]), asked)


def directions(count: int, width: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two anisotropic dictionaries that share 40 %, with noise, in different order."""
    draw = torch.Generator().manual_seed(seed)
    scale = torch.linspace(2, 0.2, width)
    first = torch.randn(count, width, generator=draw) * scale
    second = first + 0.3 * torch.randn(count, width, generator=draw)
    fresh = torch.rand(count, generator=draw) > 0.4
    second[fresh] = torch.randn(int(fresh.sum()), width, generator=draw) * scale
    return first, second[torch.randperm(count, generator=draw)]


class Race:
    """One training task for ours and the peers: same rows, same sizes, one thread."""

    def __init__(self, options: argparse.Namespace, name: str, rows: int) -> None:
        if full(options):
            self.batch, self.latents, self.k = 2048, 9216, 32
        else:
            self.batch, self.latents, self.k = 128, 64, 4
            rows = min(rows, 4096)
        self.folder = options.work / f"{name}-{rows}"
        self.data, self.held = rows_of(options, rows), HELD_OUT[options.size]
        once(self.folder / "store.json", dict, self.data.identity)

    def held_out(self, batch: int) -> Iterator[torch.Tensor]:
        """Rows of shards that nothing is trained on."""
        start = self.data.start
        return self.data.store.batches(HOOK, batch, start=start, stop=start + self.held)

    def ours(self, name: str, seeds: int, **settings: Any) -> dict[str, Any]:
        """Seconds, tokens and the share of variance that is left, as `peers.fit` gives them."""
        coder = {"latents": self.latents, "k": self.k, **settings.pop("coder", {})}
        config = TrainConfig.parse({
            "hook": HOOK, "latents": (self.latents,), "k": (self.k,), "seeds": tuple(range(seeds)),
            "batch": self.batch, "rows": self.data.trained, "held_out": self.held, "null": False,
            "coder": coder, **settings,
        }).settled()  # fmt: skip

        def run() -> dict[str, Any]:
            began = time.process_time()
            trainers, _ = run_trainers(self.data.store, config)
            seconds = time.process_time() - began
            held = list(self.held_out(self.batch))
            left = [1 - judge(one.finish(), held).explained for one in trainers]
            tokens = self.data.trained // self.batch * self.batch * config.epochs
            return {"seconds": seconds, "tokens": tokens, "fvu": left}

        return once(self.folder / f"{name}.json", run, config.model_dump(mode="json"))

    def peer(self, peer: str, name: str, seeds: int, **settings: Any) -> dict[str, Any] | None:
        """The peer's own trainer on the rows that ours is given, scaled as ours scales them."""
        path = self.folder / f"{name}.json"
        rows = self.folder / "rows.safetensors"
        given = {
            "rows": str(rows), "held_out": self.held, "batch": self.batch, "latents": self.latents,
            "k": self.k, "seeds": list(range(seeds)), "folder": str(self.folder / "theirs"),
            **settings,
        }  # fmt: skip
        if not path.exists():
            self.write_rows(rows)
        return told_by(peer, given, path, task="fit")

    def write_rows(self, path: Path) -> None:
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        train = torch.cat(list(self.data.store.batches(HOOK, 65_536, stop=self.data.trained)))
        held = torch.cat(list(self.held_out(65_536)))
        scale = train.shape[1] ** 0.5 / train[:8192].norm(dim=1).mean()
        save_file({"x": torch.cat([train, held]) * scale}, path)


RATES = (1e-3, 3e-3, 1e-2)


def training(options: argparse.Namespace) -> list[dict]:
    """Ours against each peer's own trainer to the same share of variance left.

    The learning rate is the one of three that is best for ours; the peers' Adam takes it too
    (their defaults are made for runs a thousand times as long); sparsify's default optimizer, which
    is not Adam, keeps its own. Of a peer's runs the one counts that is hardest to reach.
    """
    race = Race(options, "training", options.race_rows)
    warm = {"warm_up": 20 if full(options) else 5}
    fast = {
        rate: race.ours(f"ours-{rate:g}", 1, **warm,
                        coder={"precision": "auto", "learning_rate": rate})
        for rate in RATES
    }  # fmt: skip
    rate = min(fast, key=lambda one: fast[one]["fvu"][0])
    exact = race.ours("ours-float32", 1, **warm, coder={"learning_rate": rate})
    longer = {
        epochs: race.ours(f"ours-{epochs}", 1, epochs=epochs, **warm,
                          coder={"precision": "auto", "learning_rate": rate})
        for epochs in ((2,) if full(options) else ())
    }  # fmt: skip
    common = {"learning_rate": rate, "decay": 0.2, **warm}
    theirs = {
        "sae-lens": race.peer("saelens", "sae-lens", 1, **common),
        "eai-sparsify": race.peer("sparsify", "eai-sparsify", 1, optimizer="adam", **common),
        "eai-sparsify, its own optimizer": race.peer(
            "sparsify", "eai-sparsify-own", 1, optimizer="signum", **common
        ),
    }
    known = {name: one for name, one in theirs.items() if one is not None}
    ours = fast[rate]
    found = [figure("rows trained on", float(race.data.trained)),
             figure("tokens a CPU-second, ours", ours["tokens"] / ours["seconds"], "tokens/s"),
             figure("tokens a CPU-second, ours, float32 throughout",
                    exact["tokens"] / exact["seconds"], "tokens/s"),
             figure("learning rate", rate),
             figure("FVU, ours", ours["fvu"][0]),
             figure("FVU, ours, float32 throughout", exact["fvu"][0])]  # fmt: skip
    for name, one in known.items():
        found += [figure(f"tokens a CPU-second, {name}", one["tokens"] / one["seconds"],
                         "tokens/s"),
                  figure(f"FVU, {name}", one["fvu"][0])]  # fmt: skip
    runs = [ours, *longer.values()]
    for peer, target in (("sae-lens", ">= 3"), ("eai-sparsify", ">= 1.3")):
        tried = [one for name, one in known.items() if name.startswith(peer)]
        for label, mine in (("ours over", runs), ("ours, float32 throughout, over", [exact])):
            ratios = [ratio for one in tried if (ratio := ahead(mine, one)) is not None]
            if ratios and len(ratios) == len(tried):  # against whichever of theirs is the best
                row = figure(f"{label} {peer} at equal final FVU", min(ratios))
                found.append({**row, "target": target} if mine is runs else row)
    return found


def ahead(ours: list[dict[str, Any]], theirs: dict[str, Any]) -> float | None:
    """Their processor time over that of our shortest run that ends at no more variance left."""
    enough = [one["seconds"] for one in ours if one["fvu"][0] <= theirs["fvu"][0]]
    return theirs["seconds"] / min(enough) if enough else None


def figure(name: str, value: float, unit: str = "") -> dict:
    return {"figure": name, "value": value, "unit": unit, "seeds": [0]}


def seeds_from_one_store(options: argparse.Namespace) -> list[dict]:
    """Processor time a seed, of several at once, over that of one alone; and the peers'."""
    race = Race(options, "seeds-at-once", options.race_rows // 2)
    many = 4 if full(options) else 2
    taken = {}
    for count in (1, many):
        settings = {"coder": {"precision": "auto", "learning_rate": 1e-3}, "warm_up": 20}
        taken[count] = race.ours(f"ours-{count}", count, **settings)["seconds"] / count
    seeds = list(range(many))
    found = [{"figure": f"time a seed, {many} seeds over one alone",
              "value": taken[many] / taken[1], "target": "< 1.15", "seeds": seeds}]  # fmt: skip
    common = {"learning_rate": 1e-3, "warm_up": 20, "decay": 0.2, "optimizer": "adam"}
    for peer, name in (("sparsify", "sparsify's"), ("saelens", "SAELens'")):
        runs = {count: race.peer(peer, f"{peer}-{count}", count, **common) for count in (1, many)}
        if runs[1] is not None and runs[many] is not None:
            each = {count: run["seconds"] / count for count, run in runs.items()}
            found += [
                {"figure": f"time a seed, {name} runner over ours",
                 "value": each[many] / taken[many], "target": "> 1", "seeds": seeds},
                {"figure": f"time a seed, {many} seeds over one alone, {name} runner",
                 "value": each[many] / each[1], "seeds": seeds},
            ]  # fmt: skip
    return found


def matching(options: argparse.Namespace) -> list[dict]:
    """Our objective against SciPy's dense one, and the certificate."""
    sizes, width = ((2048, 4096, 8192, 16_384), 576) if full(options) else ((128, 256), 32)
    found = []
    for size in sizes:
        path = options.work / "matching" / f"{size}.json"
        one = once(path, partial(against_dense, size, width))
        found += [
            {"figure": f"{size}: relative difference from the dense optimum", "value": one["off"],
             "target": "<= 1e-6", "seeds": [0]},
            {"figure": f"{size}: certified", "value": one["certified"], "target": "== 1",
             "seeds": [0]},
            {"figure": f"{size}: ours", "value": one["ours"], "unit": "CPU-s", "seeds": [0]},
            {"figure": f"{size}: SciPy dense, without the products", "value": one["dense"],
             "unit": "CPU-s", "seeds": [0]},
        ]  # fmt: skip
    return found


def against_dense(size: int, width: int) -> dict[str, float]:
    """Processor time of both, relative difference of the objectives, and the certificate."""
    first, second = directions(size, width, seed=0)
    began = time.process_time()
    ours = match(first, second)
    seconds = time.process_time() - began
    cosines = (unit_rows(first) @ unit_rows(second).T).double().numpy()
    began = time.process_time()
    rows, columns = linear_sum_assignment(cosines, maximize=True)
    dense = time.process_time() - began
    best = float(cosines[rows, columns].sum())
    return {"ours": seconds, "dense": dense, "off": abs(ours.objective - best) / best,
            "certified": float(ours.certified)}  # fmt: skip


def formats(options: argparse.Namespace) -> list[dict]:
    """What we write, read again by us, and read and written by the peer and read by us."""
    alone, around = {}, {}
    kinds = ("topk", "batchtopk", "jumprelu", "gated", "relu")
    for form, kind in product(NAMES, kinds):
        if form == "sparsify" and kind != "topk":
            continue
        coder = Trainer(CoderConfig(kind=kind, latents=64, k=4), torch.randn(16), 1.0).finish()
        folder = options.work / "formats" / form / kind
        save_coder(coder, folder, form=form)
        alone[form] = max(alone.get(form, 0.0), difference(coder, load_coder(folder)))
        save_file({"x": torch.randn(50, 16)}, folder / "inputs.safetensors")
        if ask_peer(form, folder, folder / "theirs", task="trip") is not None:
            back = difference(coder, load_coder(folder / "theirs"))
            around[form] = max(around.get(form, 0.0), back)
    return [
        *({"figure": f"{form}: written and read by us, max difference", "value": value,
           "target": "== 0"} for form, value in alone.items()),
        *({"figure": f"{form}: read by {NAMES[form]} and back, max difference", "value": value,
           "target": "== 0"} for form, value in around.items()),
    ]  # fmt: skip


def difference(one: Coder, other: Coder) -> float:
    return max(float((one.tensors[name] - other.tensors[name]).abs().max()) for name in one.tensors)
