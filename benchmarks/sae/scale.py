"""The sections matching-at-scale and matching-trained: 131,072 directions, certified, at what cost?

    python benchmarks/sae/scale.py SETTINGS     # what a section starts: one matching, by itself

Every matching runs in a process of its own, whose peak memory is then its own too. Killed, it goes
on; processor time adds up over its parts, and the peak is the greatest.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cells import Cell, mean, trained
from kept import full, once
from safetensors.torch import load_file, save_file
from speed import directions
from stores import rows_of

from custodes.config import write_atomically
from custodes.measure import peak_memory
from custodes.methods.sae import Assignment, load_coder, match, permuted
from custodes.methods.sae.seeds import agreeing, share

__all__ = ["matching_at_scale", "matching_trained"]

Cost = dict[str, float]


def matching_at_scale(options: argparse.Namespace) -> list[dict]:
    """Planted directions: 40 % shared, with noise."""
    size, width = (131_072, 576) if full(options) else (512, 32)
    cost = alone(options.work / "at-scale" / str(size), {"planted": [size, width]})
    rows = [
        {"figure": f"{size}: relative gap to the bound", "value": cost["gap"]},
        {"figure": f"{size}: certified", "value": cost["certified"]},
        {"figure": f"{size}: processor time", "value": cost["minutes"], "unit": "CPU-min",
         "target": "<= 30 CPU-min"},
        {"figure": f"{size}: peak memory", "value": cost["peak"], "unit": "GiB",
         "target": "<= 4 GiB"},
        {"figure": f"{size}: rounds", "value": cost["rounds"]},
    ]  # fmt: skip
    return [{**row, "seeds": [0]} for row in rows]


def matching_trained(options: argparse.Namespace) -> list[dict]:
    """Two wide autoencoders that were trained: decoder and encoder, each matched once; and the
    first with itself permuted."""
    latents, k, most = (options.wide, 32, options.wide_rows) if full(options) else (96, 4, 640)
    data = rows_of(options, most)
    cell = Cell(latents=latents, k=k, rows=data.trained)
    seeds = sorted(options.seeds)[:2]
    qualities = []
    for seed in seeds:  # one at a time: the states of two are gigabytes
        folder, found = trained(options, data, cell, [seed])
        qualities += found
    pair = [str(folder / f"seed{seed}") for seed in seeds]
    rows = [
        {"figure": "latents", "value": float(latents)},
        {"figure": "rows trained on", "value": float(data.trained)},
        {"figure": "explained variance", "value": mean([one["explained"] for one in qualities])},
        {"figure": "dead", "value": mean([one["dead"] for one in qualities])},
    ]
    for name, (first, second) in {"": pair, "null: itself permuted: ": [pair[0]] * 2}.items():
        place = folder / ("matched" if name == "" else "matched-permuted")
        costs = {
            part: alone(place / part, {"coders": [first, second], "part": part})
            for part in ("decoder", "encoder")
        }
        decoder, encoder = (assignment(place / part, costs[part]) for part in costs)
        target = {"target": "== 1"}
        rows += [
            {"figure": f"{name}shared", "value": float(share(decoder, encoder).mean()),
             **(target if name else {})},
            {"figure": f"{name}agreement", "value": float(agreeing(decoder, encoder).mean())},
        ]  # fmt: skip
        for part, cost in costs.items() if name == "" else ():
            rows += [
                {"figure": f"{part}s: certified", "value": cost["certified"], **target},
                {"figure": f"{part}s: relative gap to the bound", "value": cost["gap"]},
                {"figure": f"{part}s: rounds", "value": cost["rounds"]},
                {"figure": f"{part}s: processor time", "value": cost["minutes"],
                 "unit": "CPU-min", "target": "<= 30 CPU-min"},
                {"figure": f"{part}s: peak memory", "value": cost["peak"], "unit": "GiB",
                 "target": "<= 4 GiB"},
            ]  # fmt: skip
    return [{**row, "seeds": seeds} for row in rows]


def alone(folder: Path, sides: dict[str, Any]) -> Cost:
    """One matching in its own process; what it cost, and matching.safetensors in the folder."""

    def run() -> Cost:
        asked = json.dumps({**sides, "folder": str(folder)})
        subprocess.run([sys.executable, __file__, asked], check=True)
        return json.loads((folder / "cost.json").read_text(encoding="utf-8"))

    return once(folder / "found.json", run, sides)


def assignment(folder: Path, cost: Cost) -> Assignment:
    found = load_file(folder / "matching.safetensors")
    return Assignment(
        partner=found["partner"].numpy(), cosines=found["cosines"].numpy(), violated=(),
        objective=cost["objective"], bound=cost["bound"], certified=bool(cost["certified"]),
    )  # fmt: skip


def sides_of(asked: dict[str, Any]) -> list[torch.Tensor]:
    """The two sets of directions; of an autoencoder and itself, the second is permuted."""
    if "planted" in asked:
        return list(directions(*asked["planted"], seed=0))
    first, second = map(Path, asked["coders"])
    one = getattr(load_coder(first), asked["part"])
    other = load_coder(second)
    if first == second:
        other = permuted(other, 0)
    return [one, getattr(other, asked["part"])]


def main() -> None:
    asked = json.loads(sys.argv[1])
    folder = Path(asked["folder"])
    spent, keep = folder / "spent.json", folder / "pairs.safetensors"
    before = {"minutes": 0.0, "peak": 0.0}
    if keep.exists():  # without it, what was spent is lost, and is spent anew
        before = json.loads(spent.read_text(encoding="utf-8"))
    first, second = sides_of(asked)
    began = time.process_time()

    def so_far() -> Cost:
        peak = peak_memory() / 2**30
        minutes = (time.process_time() - began) / 60
        return {"minutes": before["minutes"] + minutes, "peak": max(before["peak"], peak)}

    def say(line: str) -> None:
        print(f"  {line}", flush=True)
        write_atomically(spent, json.dumps(so_far()))

    found = match(first, second, keep=keep, say=say)
    partner, cosines = map(torch.from_numpy, (found.partner, np.nan_to_num(found.cosines)))
    save_file({"partner": partner, "cosines": cosines}, folder / "matching.safetensors")
    cost = {
        **so_far(), "objective": found.objective, "bound": found.bound,
        "gap": found.gap / found.objective, "certified": float(found.certified),
        "rounds": float(len(found.violated)),
    }  # fmt: skip
    write_atomically(folder / "cost.json", json.dumps(cost))
    spent.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
