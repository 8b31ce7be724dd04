"""Scoring speed by stage, on one core and on two, and memory."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from custodes.measure import Figure, Interval

CHARACTERS = {"tiny": 60_000, "full": 300_000}

# In a process of its own: peak memory is the stage's, threads are what is asked for.
MEASURE = """
import json, sys, time
import torch
torch.set_num_threads(1)
from custodes.classifiers import load_scorer
from custodes.guard import find_guard, load_guard
from custodes.guard.outcome import outcomes
from custodes.measure import peak_memory
from custodes.types import Message, Mode

stage, part, parts = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
texts = json.load(open(sys.argv[4]))[part::parts]
conversations = [(Message("user", text),) for text in texts]
folder = find_guard("default")
if stage == "guard":
    guard = load_guard(folder)
    run = lambda rows: outcomes(guard, rows, Mode.INPUT)
else:
    scorer = load_scorer(folder / "stages" / stage)
    run = lambda rows: scorer.score(rows, Mode.INPUT)
run(conversations[:8])
print("ready", flush=True)
sys.stdin.readline()
wall, cpu = time.perf_counter(), time.process_time()
run(conversations)
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
print(json.dumps({"characters": sum(map(len, texts)), "wall": wall, "cpu": cpu,
                  "megabytes": peak_memory() / 2**20}))
"""


def figures(options: Any, *, command: str, commit: str) -> Iterator[Figure]:
    from custodes.guard import find_guard, read_manifest

    place = Path("out/benchmarks/speed.json")
    place.parent.mkdir(parents=True, exist_ok=True)
    stages = [stage.name for stage in read_manifest(find_guard("default")).stages]
    common = {"seeds": [options.seed], "command": command, "commit": commit}
    for stage in [*stages, "guard"]:
        slow = 1 if stage == "hashed" else 10
        place.write_text(json.dumps(_texts(CHARACTERS[options.size] // slow)))
        repeats = 1 if options.size == "tiny" else 3
        for cores in (1, 2):
            runs = [_measure(stage, cores, place) for _ in range(repeats)]
            rates = sorted(rate for rate, _, _ in runs)
            middle = Interval(rates[len(rates) // 2], rates[0], rates[-1])
            yield Figure.of(f"{stage}: characters/s, {cores} core(s)", middle, unit="1/s", **common)
        cpu = sorted(rate for _, rate, _ in runs)
        yield Figure.of(
            f"{stage}: characters/CPU-s",
            Interval(cpu[len(cpu) // 2], cpu[0], cpu[-1]),
            unit="1/s",
            **common,
        )
        yield Figure.of(
            f"{stage}: peak memory of one process",
            max(memory for _, _, memory in runs),
            unit="MiB",
            **common,
        )


def _texts(characters: int) -> list[str]:
    """Prompts written by the grammar: public, mild, and the same everywhere."""
    from custodes import constitution as constitutions
    from custodes.data import conversation
    from custodes.synthesis import SynthesisConfig, plan, write

    config = SynthesisConfig(rows=200, sides={"input": 1.0}, varied=0.0)
    rules = constitutions.read("default")
    texts = []
    total = 0
    for draft in write(rules, config, plan(rules, config)):
        if draft.row is None:
            continue
        texts.append(conversation(draft.row)[-1].content)
        total += len(texts[-1])
        if total >= characters:
            break
    return texts


def _measure(stage: str, cores: int, texts: Path) -> tuple[float, float, float]:
    """Characters a wall second, characters a CPU second, MiB of the larger process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", MEASURE, stage, str(part), str(cores), str(texts)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for part in range(cores)
    ]
    for worker in workers:
        worker.stdout.readline()
    start = time.perf_counter()
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    told = [json.loads(worker.communicate()[0]) for worker in workers]
    wall = time.perf_counter() - start
    characters = sum(each["characters"] for each in told)
    busy = sum(each["cpu"] for each in told)
    longest = max(each["wall"] for each in told)
    memory = max(each["megabytes"] for each in told)
    return characters / min(wall, longest), characters / busy, memory
