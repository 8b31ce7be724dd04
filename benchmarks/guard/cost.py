"""What a guard costs: tokens a second on ordinary traffic, and its compute beside the model's.

Tokens are those of the embedded model's tokenizer, whatever a stage reads by.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from sets import people, replies

from custodes.engine.local import LocalConfig, LocalEngine
from custodes.guard import load_guard
from custodes.measure import Figure
from custodes.models.residual import blocks_of
from custodes.types import Message, Mode

GUARDED = 8e9
REPEATS = 3
_GUARD = "CUSTODES_BENCHMARK_GUARD"
"""The environment variable that tells workers which guard."""


class Judging:
    """Judges batches of prompts; the engine builds one in each worker."""

    def __init__(self) -> None:
        self._guard = load_guard(os.environ[_GUARD])

    def __call__(self, texts: Any) -> list[float]:
        conversations = [(Message("user", text),) for text in texts]
        return [verdict.score for verdict in self._guard.judge_many(conversations, Mode.INPUT)]


def figures(options: Any, **common: Any) -> Iterator[Figure]:
    """Of the guard in `options.guard`."""
    os.environ[_GUARD] = str(options.guard)
    limit = 64 if options.size == "tiny" else 512
    texts = [item.conversation[-1].content[:4000] for item in people()[:limit]]
    yield from _prompts(texts, **common)
    yield from _exchanges(16 if options.size == "tiny" else 96, **common)
    yield from _operations(**common)


def _tokens(texts: list[str]) -> int:
    from custodes.models import MODELS

    backend = MODELS.load("embedded")
    model = backend(backend.Config())
    return sum(len(model.encode(text)[0]) for text in texts)


def _prompts(texts: list[str], **common: Any) -> Iterator[Figure]:
    """People's prompts, judged as input; the first pass of each process is not counted."""
    total = _tokens(texts)
    alone = Judging()
    alone(texts[:32])
    spent, wall = [], []
    for _ in range(REPEATS):
        begun, clock = time.process_time(), time.perf_counter()
        alone(texts)
        spent.append(total / (time.process_time() - begun))
        wall.append(total / (time.perf_counter() - clock))
    yield Figure.of(
        "prompts: tokens for a CPU second", float(np.median(spent)), unit="1/s", **common
    )
    yield Figure.of("prompts: tokens/s, one process", float(np.median(wall)), unit="1/s", **common)
    engine = LocalEngine(LocalConfig(kind="process", workers=2, batch_size=64))
    list(engine.map(Judging, texts[:128]))
    clock = time.perf_counter()
    list(engine.map(Judging, texts * REPEATS))
    both = REPEATS * total / (time.perf_counter() - clock)
    yield Figure.of(
        "prompts: tokens/s, two processes (loading the guard included)",
        both,
        unit="1/s",
        target=">= 4000",
        **common,
    )


def _exchanges(limit: int, **common: Any) -> Iterator[Figure]:
    """Harmless exchanges as a gateway judges them: the prompt, then the reply in pieces of four
    characters."""
    guard = load_guard(os.environ[_GUARD])
    items = [item for item in replies("alpaca_eval") if item.label == 0][:limit]
    texts = [item.conversation[-1].content[:2000] for item in items]
    total = _tokens(texts)
    begun = time.process_time()
    for item, text in zip(items, texts, strict=True):
        session = guard.open(item.conversation[:-1], Mode.EXCHANGE)
        for start in range(0, len(text), 4):
            session.feed(text[start : start + 4])
        session.finish()
    rate = total / (time.process_time() - begun)
    yield Figure.of("streamed replies: tokens for a CPU second", rate, unit="1/s", **common)


def _operations(**common: Any) -> Iterator[Figure]:
    """Operations a token of text beside those of a model of 8e9 parameters: 2 a parameter,
    attention left out on both sides; an encoder reads `window` tokens every `stride`."""
    guard = load_guard(os.environ[_GUARD])
    total = sum(
        _of_features(getattr(stage.scorer, "features", None))
        for stage in guard.cascade.serving(Mode.EXCHANGE).stages
    )
    share = 100 * total / (2 * GUARDED)
    yield Figure.of(
        "operations a token of a long reply / of an 8B model's",
        share,
        unit="%",
        target="<= 1 %",
        **common,
    )


def _of_features(features: Any) -> float:
    """Operations a token: of the blocks up to the deepest layer, or of an encoder's views."""
    model = getattr(features, "model", None)
    if model is None:
        return 0.0
    if hasattr(features.config, "layers"):
        blocks = blocks_of(model._model)[: max(features.config.layers)]
        return 2.0 * sum(p.numel() for p in blocks.parameters())
    views = features.config.window / features.config.stride
    return 2.0 * views * sum(p.numel() for p in model._body.encoder.parameters())
