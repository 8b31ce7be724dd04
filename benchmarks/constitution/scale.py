"""Many rows through `local` and through `ray` on two nodes: the same output, nothing lost."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from custodes.measure import Figure

CUSTODES = Path(sys.executable).parent / "custodes"
ROWS = {"tiny": 3_000, "full": 100_000}


def figures(options: Any, *, command: str, commit: str) -> Iterator[Figure]:
    work = Path("out/benchmarks/scale").resolve()
    work.mkdir(parents=True, exist_ok=True)
    rows = ROWS[options.size]
    source = work / "rows.jsonl"
    _write_rows(source, rows, options.seed)
    guard = _first_stage(work)
    common = {"seeds": [options.seed], "command": command, "commit": commit}

    local, seconds, _ = _score(guard, source, work / "local.jsonl", ["--engine", "process"])
    yield Figure.of(f"local, 2 processes: rows/s of {rows}", rows / seconds, unit="1/s", **common)
    with _Cluster() as address:
        flags = ["--engine", "ray", "--set", f"address={address}", "--set", "workers=2"]
        over_ray, seconds, _ = _score(guard, source, work / "ray.jsonl", flags)
        yield Figure.of(f"ray, 2 nodes: rows/s of {rows}", rows / seconds, unit="1/s", **common)
        broken, _, killed = _score(guard, source, work / "ray_killed.jsonl", flags, kill="ray::")
        yield Figure.of(
            "ray, a worker killed half-way: rows lost or changed",
            _differences(local, broken),
            target="<= 0",
            **common,
        )
        yield Figure.of("ray: workers killed", killed, target=">= 1", **common)
    yield Figure.of(
        "local against ray: rows that differ",
        _differences(local, over_ray),
        target="<= 0",
        **common,
    )
    broken, _, killed = _score(
        guard, source, work / "killed.jsonl", ["--engine", "process"], kill="child"
    )
    yield Figure.of(
        "local, a worker killed half-way: rows lost or changed",
        _differences(local, broken),
        target="<= 0",
        **common,
    )
    yield Figure.of("local: workers killed", killed, target=">= 1", **common)


def _write_rows(path: Path, rows: int, seed: int) -> None:
    from speed import _texts

    texts = _texts(rows * 20)
    with path.open("w", encoding="utf-8") as file:
        for index in range(rows):
            text = f"{texts[index % len(texts)]} ({index})"
            file.write(json.dumps({"id": index, "text": text}) + "\n")


def _first_stage(work: Path) -> Path:
    """A guard of the shipped guard's first stage alone: what screens all traffic."""
    import dataclasses

    from custodes.guard import Cascade, Guard, find_guard, load_guard, save_guard

    shipped = load_guard("default")
    stage = dataclasses.replace(shipped.cascade.stages[0], escalate_above=None)
    guard = Guard(
        Cascade([stage]), shipped.policy, edition=shipped.edition, artifact="", clock=time.monotonic
    )
    folder = work / "guard"
    name = stage.scorer.name
    save_guard(
        folder,
        guard,
        scorers={name: find_guard("default") / "stages" / name},
        card="# First stage of the shipped guard, for a benchmark\n",
    )
    return folder


def _score(
    guard: Path, source: Path, output: Path, flags: list[str], kill: str | None = None
) -> tuple[list[bytes], float, int]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    words = [str(CUSTODES), "score", str(source), "--guard", str(guard), "--output", str(output)]
    start = time.perf_counter()
    process = subprocess.Popen([*words, *flags], env=environment)
    killed: list[int] = []
    if kill is not None:
        threading.Thread(target=_kill_one, args=(process, kill, killed), daemon=True).start()
    if process.wait() != 0:
        raise SystemExit(f"{' '.join(words)} left with {process.returncode}")
    return output.read_bytes().splitlines(), time.perf_counter() - start, len(killed)


def _kill_one(process: subprocess.Popen[bytes], kind: str, killed: list[int]) -> None:
    """SIGKILL one busy worker as soon as there is one: by then rows are under way."""
    while process.poll() is None:
        time.sleep(0.2)
        for pid, parent, seconds, name in _processes():
            worker = (
                name.startswith("ray::") and "Map" in name
                if kind == "ray::"
                else (parent == process.pid and "spawn_main" in name)
            )
            if worker and seconds > 2.0:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
                return


def _processes() -> Iterator[tuple[int, int, float, str]]:
    ticks = os.sysconf("SC_CLK_TCK")
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        yield int(folder.name), int(fields[1]), (int(fields[11]) + int(fields[12])) / ticks, name


def _differences(expected: list[bytes], found: list[bytes]) -> int:
    """Rows that are missing, doubled, moved or different."""
    longer = max(len(expected), len(found))
    same = sum(a == b for a, b in zip(expected, found, strict=False))
    return longer - same


class _Cluster:
    """Two Ray nodes on this machine, one core each."""

    def __enter__(self) -> str:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        from ray.cluster_utils import Cluster

        self._Cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        self._Cluster.add_node(num_cpus=1)
        return str(self._Cluster.address)

    def __exit__(self, *_: object) -> None:
        self._Cluster.shutdown()
