"""1,000 models x 12,000 questions x 10 options, streamed from a file, in a process of its own."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


def memory(options: Any) -> list[dict]:
    models, questions = (1_000, 12_000) if options.size == "full" else (100, 2_000)
    path = options.work / f"answers-{models}x{questions}.npy"
    if not path.exists():
        generate(path, models, questions, options.seed)
    found = {}
    for engine in ("stream", "local"):
        command = [sys.executable, __file__, str(path), engine]
        # Two threads that wait for one another must not spin on a shared machine.
        here = {**os.environ, "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}
        done = subprocess.run(command, env=here, capture_output=True, text=True, check=True)
        found[engine] = json.loads(done.stdout)
        print(f"  {engine}: {found[engine]}")
    kept = [path.with_suffix(f".{engine}.npy") for engine in found]
    matrices = [np.load(file) for file in kept]
    for file in (path, *kept):
        file.unlink()
    size = f"all pairs of {models:,} x {questions:,} x 10"
    targets = ("<= 60 s", "<= 24 GiB") if options.size == "full" else ("", "")
    return [
        {
            "figure": f"{size}, streamed by questions, 2 cores",
            "value": found["stream"]["seconds"],
            "unit": "s",
            "target": targets[0],
        },
        {
            "figure": f"{size}, streamed by questions, of that reading the file",
            "value": found["stream"]["reading"],
            "unit": "s",
        },
        {
            "figure": f"{size}, streamed by questions, processor time of all threads",
            "value": found["stream"]["processor"],
            "unit": "s",
        },
        {
            "figure": f"{size}, streamed by questions, greatest resident memory",
            "value": found["stream"]["gib"],
            "unit": "GiB",
            "target": targets[1],
        },
        {
            "figure": f"{size}, tiles of 250 models on 2 local processes",
            "value": found["local"]["seconds"],
            "unit": "s",
        },
        {
            "figure": f"{size}, largest difference between the two ways",
            "value": float(np.abs(matrices[0] - matrices[1]).max()),
            "target": "<= 1e-12",
        },
    ]


def generate(path: Path, models: int, questions: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (models, questions, 10)
    table = np.lib.format.open_memmap(path, mode="w+", dtype=np.float64, shape=shape)
    for index in range(models):
        drawn = rng.standard_exponential(shape[1:])
        table[index] = drawn / drawn.sum(axis=1, keepdims=True)
    table.flush()


def measure(path: Path, way: str) -> dict[str, float]:
    from custodes.engine import ENGINES
    from custodes.methods.similarity import AnswerFile, stream_similarities, tiled_similarities

    table = np.load(path, mmap_mode="r")
    models, questions, width = table.shape
    labels = np.random.default_rng(1).integers(0, width, questions)
    counts = np.full(questions, width)
    start, began = time.perf_counter(), time.process_time()
    reading = []
    if way == "stream":

        def blocks() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
            for at in range(0, questions, 500):
                asked, part = time.perf_counter(), slice(at, at + 500)
                block = np.array(table[:, part])
                reading.append(time.perf_counter() - asked)
                yield block, labels[part], counts[part]

        found = stream_similarities(blocks(), [str(i) for i in range(models)])
    else:
        local = ENGINES.load("local")
        engine = local(local.Config(workers=2, batch_size=1))
        found = tiled_similarities(AnswerFile(path, labels, counts), engine=engine, tile=250)
    seconds = time.perf_counter() - start
    spent = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    np.save(path.with_suffix(f".{way}.npy"), found.matrix("capa"))
    return {"seconds": seconds, "processor": spent, "gib": peak, "reading": sum(reading)}


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), sys.argv[2])))
