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

from custodes.measure import peak_memory


def memory(options: Any) -> list[dict]:
    """Streamed by questions; what is timed begins with the file on disk."""
    size, found, _ = run(options, "stream")
    targets = ("<= 60 s", "<= 24 GiB") if options.size == "full" else ("", "")
    seconds = [
        ("one thread", "seconds", targets[0]),
        ("of that waiting for a core that other work had", "waiting", ""),
        ("of that reading the file", "reading", ""),
        ("without the waiting for a core", "own", targets[0]),
        ("processor time", "processor", ""),
    ]
    rows = [
        {
            "figure": f"{size}, streamed by questions, {what}",
            "value": found[key],
            "unit": "s",
            "target": target,
        }
        for what, key, target in seconds
    ]
    peak = {"value": found["gib"], "unit": "GiB", "target": targets[1]}
    return [*rows, {"figure": f"{size}, streamed by questions, greatest resident memory", **peak}]


def tiles(options: Any) -> list[dict]:
    """The same by tiles of model pairs in processes, against the stream."""
    size, found, matrix = run(options, "local")
    _, _, streamed = run(options, "stream")
    how = "tiles of 250 models on 2 local processes"
    return [
        {"figure": f"{size}, {how}", "value": found["seconds"], "unit": "s"},
        {
            "figure": f"{size}, {how}, processor time of both",
            "value": found["children"],
            "unit": "s",
        },
        {
            "figure": f"{size}, largest difference between tiles and stream",
            "value": float(np.abs(matrix - streamed).max()),
            "target": "<= 1e-12",
        },
    ]


def run(options: Any, way: str) -> tuple[str, dict[str, float], np.ndarray]:
    """One way in a process of its own: the size in words, what it took, and the matrix."""
    models, questions = (1_000, 12_000) if options.size == "full" else (100, 2_000)
    path = options.work / f"answers-{models}x{questions}.npy"
    if not path.exists():
        generate(path, models, questions, options.seed)
    # One thread: on a machine with other work, two that wait for one another take longer.
    here = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, str(path), way]
    done = subprocess.run(command, env=here, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    print(f"  {way}: {found}, load {os.getloadavg()[0]:.1f}")
    kept = path.with_suffix(f".{way}.npy")
    matrix = np.load(kept)
    kept.unlink()
    path.unlink()
    return f"all pairs of {models:,} x {questions:,} x 10", found, matrix


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
    start, began, queued = time.perf_counter(), time.process_time(), waited()
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
    spent, waiting = time.process_time() - began, waited() - queued
    peak = peak_memory() / 2**30
    np.save(path.with_suffix(f".{way}.npy"), found.matrix("capa"))
    others = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": seconds,
        "waiting": waiting,
        "own": seconds - waiting,
        "reading": sum(reading),
        "processor": spent,
        "children": others.ru_utime + others.ru_stime,
        "gib": peak,
    }


def waited() -> float:
    """Seconds that this thread was ready to run and had no core: the scheduler's own account."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), sys.argv[2])))
