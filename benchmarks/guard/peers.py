"""Classifiers that ship their weights in a wheel, on the same rows in the same run.

Each lives in an environment of its own below custodes' cache and is asked over a pipe; one that
cannot be installed is skipped, with the reason. Nothing of theirs is imported here.
"""

from __future__ import annotations

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
PEERS = {
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
    "alt-profanity-check": """
from profanity_check import predict_prob
def score(texts):
    return [float(p) for p in predict_prob(texts)]
""",
}
_LOOP = """
import json, sys
for line in sys.stdin:
    print(json.dumps([float(s) for s in score(json.loads(line))]), flush=True)
"""


class Peer:
    """One of them, at work in a process of its own."""

    def __init__(self, python: Path, worker: str) -> None:
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
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("a peer without pipes")
        for start in range(0, len(texts), 32):
            self._process.stdin.write(json.dumps(list(texts[start : start + 32])) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
            if not line:
                raise RuntimeError(f"the peer ended with status {self._process.wait()}")
            found += json.loads(line)
        return np.array(found)

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
        peer = Peer(python, worker)
        try:
            yield from _of(name, peer, limit, options.seed, common)
        finally:
            peer.close()


def _of(name: str, peer: Peer, limit: int | None, seed: int, common: Any) -> Iterator[Figure]:
    pool = [item.conversation[-1].content for item in people()[:limit]]
    peer(pool[:1])
    begun = time.perf_counter()
    benign = peer(pool)
    seconds = time.perf_counter() - begun
    at = threshold(benign, BUDGET)
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
    speed = sum(map(len, pool)) / seconds
    yield Figure.of(f"{name}: characters a second", speed, unit="1/s", **common)
