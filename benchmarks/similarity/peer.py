"""Against lm-sim 0.1.1: equal on random, ragged and degenerate inputs; faster in one run.

The peer is installed in an environment of its own and its one module is read from there; it runs
in this process, on the same numpy and the same arrays, each in the form that it takes.
"""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
import time
import warnings
from itertools import combinations
from types import ModuleType
from typing import Any

import numpy as np

from custodes.methods.similarity import Answers, capa, error_consistency, similarities

PEER = "lm-sim==0.1.1"


def find(options: Any) -> ModuleType | None:
    """The peer's module, or None with the reason printed."""
    folder = options.peer
    if folder is None:
        home = options.work / "peer"
        if options.install_peer and not home.exists():
            subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
            pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
            subprocess.run([*pip, PEER], check=True)
        folder = next(iter(home.glob("lib/*/site-packages")), None)
    path = None if folder is None else folder / "lmsim" / "metrics.py"
    if path is None or not path.exists():
        print(f"  skipped: {PEER} is not here; give --install-peer or --peer SITE-PACKAGES")
        return None
    spec = importlib.util.spec_from_file_location("lmsim_metrics", path)
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec.loader.exec_module(module)
    return module


def equality(options: Any) -> list[dict]:
    module = find(options)
    if module is None:
        return []
    cases = 3000 if options.size == "full" else 300
    worst = dict.fromkeys(("capa", "capa-discrete", "error-consistency"), 0.0)
    same_nan = degenerate = 0
    for seed in range(cases):
        soft, hard, labels = random_case(np.random.default_rng([options.seed, seed]))
        for name, peer, ours, rows in (
            ("capa", module.CAPA(prob=True), capa, soft),
            ("capa-discrete", module.CAPA(prob=False), discrete, hard),
            ("error-consistency", module.EC(), error_consistency, soft),
        ):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theirs = float(peer.compute_k(*rows, labels))
            value = ours(*rows, labels)
            room = 1 - float(peer.expected)
            if room <= 1e-12:
                degenerate += 1
                same_nan += math.isnan(value)
            else:
                # Both subtract and divide by `room`: rounding grows as it shrinks.
                worst[name] = max(worst[name], abs(value - theirs) * min(1.0, room))
    note = f"{cases} random, ragged cases; |difference| x (1 - c_exp)"
    rows = [
        {"figure": f"{name} against lm-sim 0.1.1, {note}", "value": value, "target": "<= 1e-12"}
        for name, value in worst.items()
    ]
    share = same_nan / degenerate if degenerate else None
    figure = f"degenerate cases (c_exp = 1) that give NaN as documented, of {degenerate}"
    return [*rows, {"figure": figure, "value": share, "target": "== 1"}]


def discrete(first: Any, second: Any, labels: Any) -> float:
    return capa(first, second, labels, soft=False)


def random_case(rng: np.random.Generator) -> tuple[Any, Any, list[int]]:
    """Ragged soft rows of two models, the same hardened, labels; every sixth case all right."""
    count = int(rng.integers(1, 60))
    options = rng.integers(2, 13, count)
    sharpness = rng.choice([0.05, 0.5, 1.0, 20.0])
    soft = [[rng.dirichlet(np.full(k, sharpness)) for k in options] for _ in range(2)]
    labels = [int(rng.integers(k)) for k in options]
    if rng.random() < 1 / 6:
        soft = [[np.eye(k)[y] for k, y in zip(options, labels, strict=True)] for _ in range(2)]
    hard = [[np.eye(len(row))[row.argmax()] for row in rows] for rows in soft]
    return soft, hard, labels


def best_of(repeats: int, function: Any) -> float:
    """Seconds of processor time: on one thread each, and a shared machine does not count."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def speed(options: Any) -> list[dict]:
    module = find(options)
    if module is None:
        return []
    rng = np.random.default_rng(options.seed)
    rows = [_one_pair(module, rng), *_all_pairs(module, rng, options)]
    return [row for row in rows if row]


def _one_pair(module: ModuleType, rng: np.random.Generator) -> dict:
    first, second = rng.dirichlet(np.ones(10), (2, 12_000))
    labels = rng.integers(0, 10, 12_000)
    lists = list(first), list(second), [int(label) for label in labels]
    theirs = best_of(5, lambda: module.CAPA().compute_k(*lists))
    ours = best_of(50, lambda: capa(first, second, labels))
    print(f"  lm-sim {theirs * 1e3:.1f} ms, custodes {ours * 1e3:.3f} ms")
    figure = "times faster than lm-sim 0.1.1, 12,000 x 10, checks included"
    return {"figure": figure, "value": theirs / ours, "unit": "x", "target": ">= 300 x"}


def _all_pairs(module: ModuleType, rng: np.random.Generator, options: Any) -> list[dict]:
    models = 40
    table = rng.dirichlet(np.ones(10), (models, 5_000))
    labels = rng.integers(0, 10, 5_000)
    names = tuple(f"model {index}" for index in range(models))

    def all_pairs() -> Any:
        counts = np.full(5_000, 10)
        answers = Answers(names=names, probabilities=table, labels=labels, options=counts)
        return similarities(answers)

    ours = best_of(30, all_pairs)
    matrix = all_pairs().matrix("capa")
    lists, gold = [list(rows) for rows in table], [int(label) for label in labels]
    pairs = list(combinations(range(models), 2))
    timed = pairs if options.size == "full" else pairs[:5]
    start = time.process_time()
    values = [module.CAPA().compute_k(lists[i], lists[j], gold) for i, j in timed]
    theirs = (time.process_time() - start) * len(pairs) / len(timed)
    worst = max(abs(matrix[i, j] - value) for (i, j), value in zip(timed, values, strict=True))
    print(f"  lm-sim {theirs:.1f} s ({len(timed)} pairs timed), custodes {ours * 1e3:.2f} ms")
    size = f"all {len(pairs)} pairs of {models} x 5,000 x 10"
    return [
        {
            "figure": f"times faster than lm-sim 0.1.1, {size}, checks included",
            "value": theirs / ours,
            "unit": "x",
            "target": ">= 5000 x",
        },
        {"figure": f"largest difference, {size}", "value": worst, "target": "<= 1e-12"},
    ]
