"""What is compared: the upstream straight, custodes with three guards, a peer. A process each.

Knows how to start and stop them and what the system says of their time and memory; knows nothing
of what is measured.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from custodes.guard import Guard

HERE = Path(__file__).parent
PEER = "litellm[proxy]"
_CUSTODES = "from custodes.cli import main; main()"
KEY = "ck-benchmark-0123456789abcdef"
_STARTS_WITHIN = 600.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Contestant:
    """One way to the upstream; `pids`: the processes that stand between."""

    name: str
    port: int
    model: str = "benchmark"
    headers: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None

    def usage(self) -> tuple[float, float]:
        """CPU seconds so far and MiB now, children included; zeros for the straight way."""
        if self.process is None:
            return 0.0, 0.0
        pids = [self.process.pid, *_children(self.process.pid)]
        return sum(_cpu(pid) for pid in pids), sum(_resident(pid) for pid in pids)


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *_children(int(child))]
    return found


def _cpu(pid: int) -> float:
    values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / _TICKS


def _resident(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


@contextmanager
def contestants(work: Path, names: Sequence[str], *, install: bool) -> Iterator[Any]:
    """The upstream's port, the client, and every contestant that could be started."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with ExitStack() as stack:
        upstream = stack.enter_context(_process([sys.executable, str(HERE / "upstream.py")]))
        port = int(upstream.stdout.readline())
        client = stack.enter_context(_process([sys.executable, str(HERE / "client.py")]))
        found = [Contestant("straight", port)]
        for name in names:
            if name == "litellm":
                peer = _peer(work, port, install=install)
                if peer is not None:
                    found.append(stack.enter_context(_started(*peer)))
            else:
                found.append(stack.enter_context(_custodes(name, work, port)))
        yield port, client, found


@contextmanager
def _process(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **options.pop("env", {})}
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=options.pop("stdout", subprocess.PIPE),
        text=True,
        env=environment,
        **options,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _started(contestant: Contestant, command: list[str], log: Path) -> Iterator[Contestant]:
    """The contestant, once it answers."""
    with (
        log.open("w") as out,
        _process(command, stdout=out, stderr=subprocess.STDOUT, cwd=log.parent) as process,
    ):
        contestant.process = process
        until = time.monotonic() + _STARTS_WITHIN
        while not _answers(contestant):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{contestant.name} did not start: {log.read_text()[-2000:]}")
            time.sleep(0.2)
        yield contestant


def _answers(contestant: Contestant) -> bool:
    body = {
        "model": contestant.model,
        "messages": [{"role": "user", "content": "Hello (request 0: 8 tokens, one every 0 us)"}],
        "stream": True,
    }
    request = urllib.request.Request(
        f"http://127.0.0.1:{contestant.port}/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json", **contestant.headers},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return b"[DONE]" in response.read()
    except (urllib.error.URLError, OSError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _custodes(name: str, work: Path, upstream: int) -> Any:
    """`no guard`, `stage 1` or `whole guard`: as one starts it, with a key and SQLite."""
    from custodes.server.auth import hash_key

    folder = work / name.replace(" ", "-")
    folder.mkdir()
    guard = None if name == "no guard" else str(_patient_folder(folder, first=name == "stage 1"))
    port = _free_port()
    settings = {
        "guard": guard,
        "port": port,
        "upstreams": {"main": {"url": f"http://127.0.0.1:{upstream}/v1"}},
        "keys": [{"id": "benchmark", "sha256": hash_key(KEY)}],
        "database": f"sqlite:///{folder / 'custodes.db'}",
        "judge_seconds": 60,
    }
    (folder / "serve.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-c", _CUSTODES, "serve", "--config", str(folder / "serve.yaml")]
    headers = {"authorization": f"Bearer {KEY}"}
    return _started(
        Contestant(f"custodes, {name}", port, headers=headers), command, folder / "log.txt"
    )


def patient(*, first: bool) -> Guard:
    """The shipped guard (if asked, what may screen in it alone: the stage that reads no model) with
    thresholds that nothing reaches: the work is the same, and no reply is cut."""
    from custodes.guard import Guard, find_guard, load_guard
    from custodes.guard.cascade import Cascade, Stage

    guard = load_guard(find_guard("default"))
    stages = guard.cascade.stages
    if first:
        stages = tuple(
            Stage(scorer=stage.scorer)
            for stage in stages
            if not hasattr(stage.scorer.features, "model")
        )
    return Guard(
        Cascade(stages),
        guard.policy.model_copy(update={"threshold": 1.0, "thresholds": {}}),
        edition=guard.edition,
        artifact="benchmark",
        clock=time.monotonic,
        calibration=guard.calibration,
    )


def _patient_folder(folder: Path, *, first: bool) -> Path:
    """The same, as a folder that `custodes serve` reads."""
    from custodes.guard import find_guard, read_manifest, save_guard

    guard = patient(first=first)
    shipped = find_guard("default")
    kept = {stage.scorer.name for stage in guard.cascade.stages}
    scorers = {
        entry.name: shipped / entry.folder
        for entry in read_manifest(shipped).stages
        if entry.name in kept
    }
    save_guard(folder / "guard", guard, scorers=scorers, card="For the benchmark alone.\n")
    return folder / "guard"


def _peer(work: Path, upstream: int, *, install: bool) -> Any:
    """LiteLLM's proxy in an environment of its own, or None with the reason printed."""
    from custodes.config import cache_folder

    home = cache_folder() / "benchmarks" / "litellm"
    binary = home / "bin" / "litellm"
    if not binary.exists() and install:
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", PEER]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"  skipped: {PEER} cannot be installed: {done.stderr.strip()[-300:]}")
            shutil.rmtree(home, ignore_errors=True)
            return None
    if not binary.exists():
        print(f"  skipped: {PEER} is not installed; give --install-peer")
        return None
    folder = work / "litellm"
    folder.mkdir()
    settings = {
        "model_list": [
            {
                "model_name": "benchmark",
                "litellm_params": {
                    "model": "openai/benchmark",
                    "api_base": f"http://127.0.0.1:{upstream}/v1",
                    "api_key": "none",
                },
            }
        ],
        "litellm_settings": {"telemetry": False},
        "general_settings": {"master_key": f"sk-{KEY}"},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    port = _free_port()
    command = [str(binary), "--config", str(folder / "config.yaml"), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--num_workers", "1"]
    contestant = Contestant("litellm", port, headers={"authorization": f"Bearer sk-{KEY}"})
    return contestant, command, folder / "log.txt"


def peer_version() -> str:
    from custodes.config import cache_folder

    found = (cache_folder() / "benchmarks/litellm").glob("lib/*/site-packages/litellm-*.dist-info")
    return next((path.name.removesuffix(".dist-info") for path in found), "litellm")
