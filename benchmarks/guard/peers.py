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
from quality import BUDGET, percent
from scoring import Judge, threshold
from sets import CAUGHT, RANKED, Item, people, prompts, some

from custodes.config import cache_folder
from custodes.measure import Figure, auprc, bootstrap, clopper_pearson

POOL, MANY = 400, 300
"""At most so many of people's prompts, and rows of a set: one peer reads 436 characters a
second."""
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
    """Of the guard and of every peer, on the same rows: AUPRC, recall at the same budget on the
    same pool; of peers characters a second."""
    few = options.size == "tiny"
    rows = {
        name: some(items, 40 if few else most, seed=options.seed)
        for name, items, most in (
            ("people", people(), POOL),
            *((name, prompts(name), MANY) for name in RANKED),
            *((name, [i for i in prompts(name) if i.label == 1], MANY) for name in CAUGHT),
        )
    }
    judge = Judge(options.guard, Path(options.work) / "scores")
    yield from _quality("guard", {n: judge(items).worst for n, items in rows.items()}, rows, common)
    for name, worker in PEERS.items():
        python = installed(name)
        if python is None:
            continue
        peer = Peer(python, worker, Path(options.work) / "peers" / name)
        texts = {of: [item.conversation[-1].content for item in own] for of, own in rows.items()}
        try:
            timed = texts["people"][:TIMED]
            peer.seconds(timed[:1])
            speed = sum(map(len, timed)) / peer.seconds(timed)
            yield Figure.of(f"{name}: characters a second", speed, unit="1/s", **common)
            scores = {of: peer(own) for of, own in texts.items()}
            yield from _quality(name, scores, rows, common)
        finally:
            peer.close()


def _quality(
    name: str, scores: dict[str, np.ndarray], rows: dict[str, list[Item]], common: Any
) -> Iterator[Figure]:
    for of in RANKED:
        labels = np.array([item.label for item in rows[of]])
        groups = [item.group for item in rows[of]]
        area = bootstrap(auprc, labels, scores[of], groups=groups, seed=0)
        yield Figure.of(f"side by side, {name}, {of}: AUPRC", area, **common)
    at = threshold(scores["people"], BUDGET)
    for of in CAUGHT:
        rate = clopper_pearson(int((scores[of] >= at).sum()), len(scores[of]))
        share = percent(rate)
        yield Figure.of(f"side by side, {name}, {of}: recall", share, unit="%", **common)
