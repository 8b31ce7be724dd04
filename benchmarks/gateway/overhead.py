"""Relative inference overhead: the guard's compute against that of the model it guards.

Constitutional Classifiers (arXiv 2501.18837) reports the compute of its classifiers as a share of
the guarded model's on the same traffic: 23.7 %. Constitutional Classifiers++ (arXiv 2601.04603,
Table 1) reports 3.5 % of what the former's cost. Here: measured in CPU seconds beside the embedded
model, and computed in operations beside a model of 8 billion parameters.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from contestants import patient
from script import prompt

from custodes.guard import Guard
from custodes.measure import Figure, Interval
from custodes.models.residual import blocks_of
from custodes.types import Message, Mode

PROMPTS = {"tiny": 2, "full": 24}
TOKENS = 96
GUARDED = 8e9
V1 = 23.7
ESCALATED = 0.1
"""The share of traffic that Constitutional Classifiers++ escalates to its second stage."""


def overhead(options: Any, **common: Any) -> Iterator[Figure]:
    from custodes.models import MODELS, Sampling

    backend = MODELS.load("embedded")
    model = backend(backend.Config())
    guards = {"first stage": patient(first=True), "whole guard": patient(first=False)}
    conversations = [
        (Message("user", prompt(options.seed * 1000 + n, 0, 0.0)),)
        for n in range(1 + PROMPTS[options.size])
    ]
    spent: dict[str, list[float]] = {"model": [], **{name: [] for name in guards}}
    read, written = [], []
    for place, conversation in enumerate(conversations):
        pieces: list[str] = []
        seconds = {
            "model": _cpu(
                lambda c=conversation, p=pieces: p.extend(
                    model.stream(c, Sampling(max_tokens=TOKENS))
                )
            )
        }
        for name, guard in guards.items():
            seconds[name] = _cpu(lambda g=guard, c=conversation, p=pieces: _judge(g, c, p))
        if place == 0:
            continue  # warm-up: weights are read, buffers are made
        for name, value in seconds.items():
            spent[name].append(value)
        read.append(len(model.encode(conversation[0].content)[0]))
        written.append(len(model.encode("".join(pieces))[0]))
    yield from _measured(spent, **common)
    yield from _computed(
        guards["whole guard"], float(np.mean(read)), float(np.mean(written)), **common
    )


def _cpu(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def _judge(guard: Guard, conversation: Any, pieces: list[str]) -> None:
    """What the gateway does: the prompt as input, then the reply as it grows, in its context."""
    session = guard.open((), Mode.INPUT)
    session.feed(conversation[0].content)
    session.finish()
    session = guard.open(conversation, Mode.EXCHANGE)
    for piece in pieces:
        session.feed(piece)
    session.finish()


def _measured(spent: dict[str, list[float]], **common: Any) -> Iterator[Figure]:
    model = np.array(spent["model"])
    first, whole = np.array(spent["first stage"]), np.array(spent["whole guard"])
    rows = {
        "first stage": first,
        "whole guard": whole,
        f"first stage, {ESCALATED:.0%} escalated": first + ESCALATED * (whole - first),
    }
    for name, guard in rows.items():
        yield Figure.of(
            f"embedded upstream: CPU of the guard / CPU of the model, {name}",
            _ratio(guard, model),
            unit="%",
            **common,
        )


def _ratio(guard: np.ndarray, model: np.ndarray, *, draws: int = 2000) -> Interval:
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(model), (draws, len(model)))
    low, high = np.percentile(100 * guard[drawn].sum(1) / model[drawn].sum(1), (2.5, 97.5))
    return Interval(float(100 * guard.sum() / model.sum()), float(low), float(high))


def _computed(guard: Guard, read: float, written: float, **common: Any) -> Iterator[Figure]:
    """Operations: 2 a parameter and token, attention left out on both sides."""
    shares = {}
    for scorer in (stage.scorer for stage in guard.cascade.stages):
        per_token, keeps = _operations(scorer)
        # Input mode reads the prompt, exchange mode its kept part again and the reply.
        tokens = read if Mode.INPUT in scorer.modes else 0.0
        if Mode.EXCHANGE in scorer.modes:
            tokens += min(read, keeps) + written
        shares[scorer.name] = 100 * per_token * tokens / (2 * GUARDED * (read + written))
        yield Figure.of(
            f"8B upstream: operations a token, stage {scorer.name}",
            per_token,
            unit="FLOP",
            **common,
        )
    whole = sum(shares.values())
    first = shares[patient(first=True).cascade.stages[0].scorer.name]
    screened = first + ESCALATED * (whole - first)
    for name, value in (
        ("first stage", first),
        ("whole guard", whole),
        (f"first stage, {ESCALATED:.0%} escalated", screened),
    ):
        yield Figure.of(
            f"8B upstream: operations of the guard / of the model, {name}",
            value,
            unit="%",
            target=f"<= {V1} % (v1)" if name == "whole guard" else "",
            **common,
        )
    yield Figure.of(
        "8B upstream: whole guard's operations against v1's classifiers",
        100 * whole / V1,
        unit="%",
        target="<= 3.5 % (CC++)",
        **common,
    )


def _operations(scorer: Any) -> tuple[float, float]:
    """Operations a token, and how many tokens of the context are read again."""
    head = scorer.head
    if not hasattr(scorer.features, "model"):
        # A sparse bag: the sum of its rows. As many as an ordinary text has.
        text = prompt(0, 0, 0.0)
        (tokens,) = scorer.features.extract([_row(text)])
        rows = len(tokens.values) / len(tokens)
        words = len(tokens) / max(1, len(text.split()))
        return rows * head.first.shape[1] * words, 0.0
    model, config = scorer.features.model, scorer.features.config
    views = 1.0
    if hasattr(config, "layers"):
        read = blocks_of(model._model)[: max(config.layers)]
    else:  # an encoder reads `window` tokens every `stride`
        read, views = model._body.encoder, config.window / config.stride
    parameters = sum(each.numel() for each in read.parameters())
    weights = head.first.size + (0 if head.second is None else head.second.size)
    return 2.0 * (views * parameters + weights), float(config.context_tokens)


def _row(text: str) -> Any:
    from custodes.classifiers.features.base import Judged

    return Judged((Message("user", text),), Mode.INPUT)
