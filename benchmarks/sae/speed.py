"""Sections that need no model: training speed, many seeds, matching, formats, the toy model."""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import time
from itertools import product
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from scipy.optimize import linear_sum_assignment

from custodes.measure import Interval, bootstrap
from custodes.methods.sae import (
    Coder,
    CoderConfig,
    ToyConfig,
    TrainConfig,
    load_coder,
    match,
    save_coder,
    write_store,
)
from custodes.methods.sae.matching import unit_rows
from custodes.methods.sae.toy import toy_study
from custodes.methods.sae.training import Trainer, train

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


def full(options: argparse.Namespace) -> bool:
    return options.size == "full"


def directions(count: int, width: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two anisotropic dictionaries that share 40 %, with noise, in different order."""
    draw = torch.Generator().manual_seed(seed)
    scale = torch.linspace(2, 0.2, width)
    first = torch.randn(count, width, generator=draw) * scale
    second = first + 0.3 * torch.randn(count, width, generator=draw)
    fresh = torch.rand(count, generator=draw) > 0.4
    second[fresh] = torch.randn(int(fresh.sum()), width, generator=draw) * scale
    return first, second[torch.randperm(count, generator=draw)]


def training(options: argparse.Namespace) -> list[dict]:
    """Rows a CPU-second of a training step on noise, ours and each peer's, one after another.

    Equal final FVU is another matter: nothing is trained to its end here.
    """
    width, latents, k, batch, steps = (
        (576, 9216, 32, 2048, 20) if full(options) else (32, 128, 4, 128, 5)
    )
    torch.set_num_threads(1)
    x = torch.randn(batch, width)
    trainer = Trainer(CoderConfig(latents=latents, k=k), x.mean(0), 1.0)
    trainer.step(x)
    speeds = []
    for _ in range(steps):
        began = time.process_time()
        trainer.step(x)
        speeds.append(batch / (time.process_time() - began))
    found = [
        {"figure": "tokens a CPU-second, ours", "value": bootstrap(np.mean, speeds, seed=0),
         "unit": "tokens/s", "seeds": [0]},
    ]  # fmt: skip
    for peer, name in NAMES.items():
        said = ask_peer(peer, latents, k, batch, steps, width, task="speed")
        if said is not None:
            value = float(said.split("rows a CPU-second:")[1])
            found += [
                {"figure": f"tokens a CPU-second, {name}", "value": value, "unit": "tokens/s",
                 "seeds": [0]},
                {"figure": f"one step, ours over {name}, final FVU not compared",
                 "value": float(np.mean(speeds)) / value, "seeds": [0]},
            ]  # fmt: skip
    return found


def seeds_from_one_store(options: argparse.Namespace) -> list[dict]:
    """Processor time a seed, of several at once, over that of one alone."""
    width, latents, k, batch, rows = (
        (576, 9216, 32, 2048, 65_536) if full(options) else (32, 64, 4, 128, 4096)
    )
    many = 4 if full(options) else 2
    values = np.random.default_rng(0).normal(size=(rows, width)).astype(np.float32)
    store = write_store(options.work / "speed-store", {"x": values})
    taken = {}
    for count in (1, many, 1, many):
        config = TrainConfig(
            latents=(latents,), k=(k,), seeds=tuple(range(count)), batch=batch, held_out=batch,
            coder=CoderConfig(latents=latents, k=k), null=False,
        )  # fmt: skip
        began = time.process_time()
        list(train(store, config))
        taken[count] = (time.process_time() - began) / count  # of the second round: warm
    return [
        {"figure": f"time a seed, {many} seeds over one alone", "value": taken[many] / taken[1],
         "target": "< 1.15", "seeds": list(range(many))},
    ]  # fmt: skip


def matching(options: argparse.Namespace) -> list[dict]:
    """Our objective against SciPy's dense one, and the certificate."""
    sizes, width = ((2048, 4096, 8192, 16_384), 576) if full(options) else ((128, 256), 32)
    found = []
    for size in sizes:
        first, second = directions(size, width, seed=0)
        began = time.process_time()
        ours = match(first, second)
        seconds = time.process_time() - began
        cosines = (unit_rows(first) @ unit_rows(second).T).double().numpy()
        began = time.process_time()
        rows, columns = linear_sum_assignment(cosines, maximize=True)
        dense = time.process_time() - began
        best = float(cosines[rows, columns].sum())
        off = abs(ours.objective - best) / best
        found += [
            {"figure": f"{size}: relative difference from the dense optimum", "value": off,
             "target": "<= 1e-6", "seeds": [0]},
            {"figure": f"{size}: certified", "value": float(ours.certified), "target": "== 1",
             "seeds": [0]},
            {"figure": f"{size}: ours", "value": seconds, "unit": "CPU-s", "seeds": [0]},
            {"figure": f"{size}: SciPy dense, without the products", "value": dense,
             "unit": "CPU-s", "seeds": [0]},
        ]  # fmt: skip
    return found


def matching_at_scale(options: argparse.Namespace) -> list[dict]:
    """131,072 planted directions; alone, since the memory is the process's peak.

    A killed run goes on; processor time adds up over its parts, the peak is the greatest.
    """
    size, width = (131_072, 576) if full(options) else (512, 32)
    first, second = directions(size, width, seed=0)
    spent, keep = options.work / "at-scale.json", options.work / "at-scale.safetensors"
    before = json.loads(spent.read_text()) if keep.exists() else {"seconds": 0, "peak": 0}
    began = time.process_time()

    def so_far() -> dict[str, float]:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        return {"seconds": before["seconds"] + time.process_time() - began,
                "peak": max(before["peak"], peak)}  # fmt: skip

    def say(line: str) -> None:
        print(f"  {line}", flush=True)
        spent.write_text(json.dumps(so_far()))

    ours = match(first, second, keep=keep, say=say)
    used = so_far()
    seeds = {"seeds": [0]}
    return [
        {"figure": f"{size}: relative gap to the bound", "value": ours.gap / ours.objective,
         **seeds},
        {"figure": f"{size}: certified", "value": float(ours.certified), **seeds},
        {"figure": f"{size}: processor time", "value": used["seconds"] / 60, "unit": "CPU-min",
         "target": "<= 30 CPU-min", **seeds},
        {"figure": f"{size}: peak memory", "value": used["peak"], "unit": "GiB",
         "target": "<= 4 GiB", **seeds},
        {"figure": f"{size}: rounds", "value": float(len(ours.violated)), **seeds},
    ]  # fmt: skip


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


def toy(options: argparse.Namespace) -> list[dict]:
    """Is MMCS best at a penalty in the middle, and does sparse data cost less L0 than Gaussian?"""
    config = ToyConfig()
    if not full(options):
        config = ToyConfig(features=16, width=12, points=300, epochs=5, batch=100, active=2.0,
                           seeds=(0, 1), penalties=(0.01, 1.0, 30.0))  # fmt: skip
    points = list(toy_study(config))
    peaks, best = [], []
    for seed in config.seeds:
        curve = [one.mmcs for one in points if one.seed == seed and one.data == "sparse"]
        peaks.append(float(0 < int(np.argmax(curve)) < len(curve) - 1))
        best.append(max(curve))
    seeds = list(config.seeds)
    return [
        {"figure": "MMCS peaks inside the range of penalties, share of seeds",
         "value": float(np.mean(peaks)), "target": "== 1", "seeds": seeds},
        {"figure": "MMCS at its peak", "value": interval(best), "seeds": seeds},
        {"figure": "share of seeds in which a Gaussian needs a higher L0 at equal variance",
         "value": float(np.mean([needs_more(points, seed) for seed in config.seeds])),
         "target": "== 1", "seeds": seeds},
    ]  # fmt: skip


def needs_more(points: list, seed: int) -> bool:
    """Compare L0, interpolated, at the variance in the middle of what both explain."""
    curves = {}
    for name in ("sparse", "gaussian"):
        chosen = [one for one in points if one.seed == seed and one.data == name]
        curves[name] = np.array(sorted((one.explained, one.l0) for one in chosen))
    low = max(curve[0, 0] for curve in curves.values())
    high = min(curve[-1, 0] for curve in curves.values())
    at = (low + high) / 2
    sparse, gaussian = (np.interp(at, *curves[name].T) for name in ("sparse", "gaussian"))
    return bool(gaussian > sparse)


def interval(values: list[float]) -> Interval:
    return bootstrap(np.mean, values, seed=0)
