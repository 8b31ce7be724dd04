"""Classifiers that ship their weights in a wheel, on the same rows in the same run.

Each lives in an environment of its own below custodes' cache and is asked over a pipe; one that
cannot be installed is skipped, with the reason. What one said is kept, so that a run that was
broken off goes on; its speed is taken anew. Nothing of theirs is imported here.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from elsewhere import Asked, environment
from quality import BUDGET, percent
from scoring import Judge, threshold
from sets import CAUGHT, RANKED, Item, people, prompts, some

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
    """One of them; `cache` keeps what it said."""

    def __init__(self, process: Asked, cache: Path) -> None:
        self._process = process
        self._cache = cache

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Its probability of harm for each text."""
        found: list[float] = []
        for start in range(0, len(texts), _BATCH):
            asked = json.dumps(list(texts[start : start + _BATCH]))
            place = self._cache / f"{hashlib.sha256(asked.encode()).hexdigest()[:24]}.json"
            if not place.is_file():
                place.write_text(self._process(asked))
            found += json.loads(place.read_text())
        return np.array(found)

    def seconds(self, texts: Sequence[str]) -> float:
        """The time that it takes to judge texts, whatever it said of them before."""
        begun = time.perf_counter()
        for start in range(0, len(texts), _BATCH):
            self._process(json.dumps(list(texts[start : start + _BATCH])))
        return time.perf_counter() - begun


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
        python = environment(name, [name])
        if python is None:
            continue
        cache = Path(options.work) / "peers" / name
        cache.mkdir(parents=True, exist_ok=True)
        texts = {of: [item.conversation[-1].content for item in own] for of, own in rows.items()}
        command = [str(python), "-c", worker + _LOOP]
        with Asked(command, cache.with_suffix(".log")) as process:
            peer = Peer(process, cache)
            timed = texts["people"][:TIMED]
            peer.seconds(timed[:1])
            speed = sum(map(len, timed)) / peer.seconds(timed)
            yield Figure.of(f"{name}: characters a second", speed, unit="1/s", **common)
            scores = {of: peer(own) for of, own in texts.items()}
            yield from _quality(name, scores, rows, common)


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
