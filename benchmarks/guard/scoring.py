"""What a guard makes of items: the greatest logit, and where it would cut. Kept on disk by
content, so that a benchmark that is interrupted goes on. What a model's layers said of a text is
kept too, in half precision (logits move by about 1e-3): guards of three seeds read it once."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sets import Item, mode_of

from custodes.classifiers import CachedFeatures, Scorer, TokenScorer
from custodes.guard import Cascade, Guard, load_guard
from custodes.guard.replay import replays
from custodes.types import Mode

_BATCH = 64


@dataclass(frozen=True, slots=True)
class Scores:
    """Of each item: the greatest logit, and (text's length, its points' ends and logits)."""

    worst: np.ndarray
    points: list[tuple[int, list[int], list[float]]]

    def stops(self, threshold: float) -> list[tuple[int, int | None]]:
        """Of each item its length, and the characters that had left before the stop, None: never.

        What left is what points below the threshold had covered before the first above it.
        """
        found: list[tuple[int, int | None]] = []
        for length, ends, logits in self.points:
            left: int | None = None
            before = 0
            for end, logit in zip(ends, logits, strict=True):
                if logit >= threshold:
                    left = before
                    break
                before = end
            found.append((length, left))
        return found


class Judge:
    """Scores items with the guard in `folder`; what it said stands in `cache`."""

    def __init__(self, folder: Path | str, cache: Path) -> None:
        self.guard: Guard = load_guard(folder)
        self._cache = cache / self.guard.artifact[:16]
        self._cache.mkdir(parents=True, exist_ok=True)
        self._cascade = Cascade(
            [
                replace(stage, scorer=_remembering(stage.scorer, cache / "features"))
                for stage in self.guard.cascade.stages
            ]
        )

    def __call__(self, items: Sequence[Item]) -> Scores:
        rows: list[Any] = []
        for start in range(0, len(items), _BATCH):
            rows += self._batch(items[start : start + _BATCH])
        worst = np.array([max(logits) for _, _, logits in rows])
        return Scores(worst, [(length, ends, logits) for length, ends, logits in rows])

    def _batch(self, items: Sequence[Item]) -> list[Any]:
        said = json.dumps([[(t.role, t.content) for t in item.conversation] for item in items])
        place = self._cache / f"{hashlib.sha256(said.encode()).hexdigest()[:24]}.json"
        if place.is_file():
            return list(json.loads(place.read_text()))
        rows: list[Any] = [None] * len(items)
        for mode in Mode:
            at = [i for i, item in enumerate(items) if mode_of(item) is mode]
            if not at:
                continue
            conversations = [items[i].conversation for i in at]
            for i, replay in zip(at, replays(self._cascade, conversations, mode), strict=True):
                text = items[i].conversation[-1].content
                points = replay.points(items[i].conversation, mode)
                rows[i] = [len(text), [p.covered for p in points], [p.logit for p in points]]
                if any(p.failure for p in points):
                    raise RuntimeError(f"the guard failed: {points[-1].failure}")
        place.write_text(json.dumps(rows))
        return rows


def _remembering(scorer: Scorer, folder: Path) -> Scorer:
    if isinstance(scorer, TokenScorer) and scorer.features.cached:
        return replace(scorer, features=CachedFeatures(scorer.features, folder))
    return scorer


def threshold(benign: np.ndarray, budget: float) -> float:
    """The lowest threshold that stops at most `budget` of benign items."""
    allowed = math.floor(budget * len(benign))
    ordered = np.sort(benign)[::-1]
    return float(np.nextafter(ordered[allowed], np.inf))
