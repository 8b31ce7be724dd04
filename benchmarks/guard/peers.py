"""Classifiers that ship their weights in a wheel, on the same rows in the same run.

Each lives in an environment of its own below custodes' cache and is asked over a pipe; one that
cannot be installed is skipped, with the reason. What one said is kept, so that a run that was
broken off goes on; its speed is taken anew. Nothing of theirs is imported here.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scoring import threshold
from sets import CAUGHT, people, prompts

from custodes.config import cache_folder
from custodes.measure import Figure, auprc, bootstrap, clopper_pearson

BUDGET = 0.005
TIMED = 100
"""Prompts that a peer's speed is taken on."""
_BATCH = 32
PEERS = {
    "alt-profanity-check": """
from profanity_check import predict_prob
def score(texts):
    return [float(p) for p in predict_prob(texts)]
""",
    "metatronnanoguard": """
from nanoguard import NanoGuard
guard = NanoGuard()
def score(texts):
    found = guard.scan_batch(texts)
    return [r.confidence if r.is_injection else 1 - r.confidence for r in found]
""",
    "prompt-guardrail": """
import guardify
def score(texts):
    found = [guardify.detect(text) for text in texts]
    return [r["score"] if r["label"] == "injection" else 1 - r["score"] for r in found]
""",
}
_LOOP = """
import json, sys
for line in sys.stdin:
    print(json.dumps([float(s) for s in score(json.loads(line))]), flush=True)
"""


class Peer:
    """One of them, at work in a process of its own; `cache` keeps what it said."""

    def __init__(self, python: Path, worker: str, cache: Path) -> None:
        self._cache = cache
        cache.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [str(python), "-c", worker + _LOOP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Its probability of harm for each text."""
        found: list[float] = []
        for start in range(0, len(texts), _BATCH):
            asked = json.dumps(list(texts[start : start + _BATCH]))
            place = self._cache / f"{hashlib.sha256(asked.encode()).hexdigest()[:24]}.json"
            if not place.is_file():
                place.write_text(self._ask(asked))
            found += json.loads(place.read_text())
        return np.array(found)

    def seconds(self, texts: Sequence[str]) -> float:
        """The time that it takes to judge texts, whatever it said of them before."""
        begun = time.perf_counter()
        for start in range(0, len(texts), _BATCH):
            self._ask(json.dumps(list(texts[start : start + _BATCH])))
        return time.perf_counter() - begun

    def _ask(self, line: str) -> str:
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("a peer without pipes")
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the peer ended with status {self._process.wait()}")
        return answer

    def close(self) -> None:
        """End its process."""
        self._process.kill()
        self._process.wait()


def installed(name: str) -> Path | None:
    """The Python of the peer's environment, made first where it is missing; None: no luck."""
    home = cache_folder() / "benchmarks" / name
    python = home / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", name]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"  skipped: {name} cannot be installed: {done.stderr.strip()[-300:]}")
            shutil.rmtree(home, ignore_errors=True)
            return None
    return python


def figures(options: Any, **common: Any) -> Iterator[Figure]:
    """Of every peer: AUPRC, recall at the same budget on the same pool, characters a second."""
    limit = 40 if options.size == "tiny" else None
    for name, worker in PEERS.items():
        python = installed(name)
        if python is None:
            continue
        peer = Peer(python, worker, Path(options.work) / "peers" / name)
        try:
            yield from _of(name, peer, limit, options.seed, common)
        finally:
            peer.close()


def _of(name: str, peer: Peer, limit: int | None, seed: int, common: Any) -> Iterator[Figure]:
    pool = [item.conversation[-1].content for item in people()[:limit]]
    timed = pool[:TIMED]
    peer.seconds(timed[:1])
    speed = sum(map(len, timed)) / peer.seconds(timed)
    yield Figure.of(f"{name}: characters a second", speed, unit="1/s", **common)
    at = threshold(peer(pool), BUDGET)
    for of in ("openai_moderation", "toxicchat_train"):
        items = prompts(of, limit=limit)
        labels = np.array([item.label for item in items])
        scores = peer([item.conversation[-1].content for item in items])
        groups = [item.group for item in items]
        area = bootstrap(auprc, labels, scores, groups=groups, seed=seed)
        yield Figure.of(f"{name}, {of}: AUPRC", area, **common)
    for of in CAUGHT:
        items = [item for item in prompts(of, limit=limit) if item.label == 1]
        scores = peer([item.conversation[-1].content for item in items])
        rate = clopper_pearson(int((scores >= at).sum()), len(scores))
        percent = type(rate)(100 * rate.value, 100 * rate.low, 100 * rate.high)
        yield Figure.of(f"{name}, {of}: recall", percent, unit="%", **common)
