"""The loop of fine-tuning: batches and an objective in, a tuned model and its losses out.

AdamW (Loshchilov and Hutter, arXiv 1711.05101), linear warm-up and a schedule, gradients clipped
by their norm. What a batch is, is the caller's: an objective is a function of model and batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from custodes.errors import InputError, ModelError
from custodes.models.tuning.model import AdapterConfig, TunableModel
from custodes.models.tuning.packed import parts_of
from custodes.models.tuning.rows import Row

__all__ = ["Trace", "TuneConfig", "batches_of", "cross_entropy", "fit", "rate_share", "tune"]

B = TypeVar("B")
Objective = Callable[[TunableModel, B], Tensor | Iterable[Tensor]]
"""Gives the loss of a batch, or its parts one after another, each differentiated as it comes (so
that a large step needs no more memory than its largest part)."""
Watcher = Callable[[int, TunableModel], bool | None]
"""Called with the number of steps done and the model, not training; True ends the phase."""


class TuneConfig(AdapterConfig):
    """How a phase of tuning runs."""

    learning_rate: float = Field(default=5e-4, gt=0)
    """The greatest rate of AdamW."""
    epochs: float = Field(default=3.0, gt=0)
    """Passes over the rows."""
    batch_rows: int = Field(default=16, ge=1)
    """Rows (or groups of rows) a step."""
    pass_tokens: int = Field(default=4096, ge=1)
    """A step of more tokens is computed in parts, which costs less memory and gives the same; so
    `tune` does. What compares rows with one another (DPO, removal) computes a step whole."""
    warmup: float = Field(default=0.05, ge=0, le=1)
    """Share of the steps in which the rate rises from zero."""
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    """How it falls to zero afterwards, if it does."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW's."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's."""
    clip: float | None = Field(default=1.0, gt=0)
    """Greatest norm of a step's gradient; null: any."""
    seed: int = 0
    """Of the pairs' first values, the order of the rows and dropout."""


@dataclass(slots=True)
class Trace:
    """What happened: the loss of each step, and the tokens read in how many seconds."""

    losses: list[float] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0
    stopped: bool = False

    def tail(self, share: float = 0.1) -> float:
        """Mean loss over the last share of the steps; NaN without steps."""
        last = self.losses[-max(1, round(share * len(self.losses))) :]
        return sum(last) / len(last) if last else math.nan


def rate_share(config: TuneConfig, step: int, steps: int) -> float:
    """The share of the greatest rate at a step (from 0) of so many."""
    rising = config.warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    if config.schedule == "constant":
        return 1.0
    left = (steps - step) / max(steps - rising, 1)
    return left if config.schedule == "linear" else 0.5 * (1 - math.cos(math.pi * left))


def batches_of(items: Sequence[B], config: TuneConfig) -> list[list[B]]:
    """The steps of a phase: items shuffled anew each epoch, `batch_rows` of them a step.

    `InputError` for no items.
    """
    if not items:
        raise InputError("tuning: got no rows, expected at least one")
    rng = np.random.default_rng(config.seed)
    left = max(1, round(config.epochs * len(items)))
    steps = []
    while left > 0:
        order = rng.permutation(len(items))[:left].tolist()
        left -= len(order)
        cuts = range(0, len(order), config.batch_rows)
        steps += [[items[i] for i in order[at : at + config.batch_rows]] for at in cuts]
    return steps


def cross_entropy(
    model: TunableModel, rows: Sequence[Row], *, pass_tokens: int = 4096
) -> Iterator[Tensor]:
    """Weighted mean of -log p over the targets of a step, in parts of `pass_tokens`."""
    total = sum(abs(weight) for row in rows for weight in row.weights[1:])
    if not total:
        raise InputError("tuning: a step has no targets; every token of its rows is masked")
    for part in parts_of([len(row.ids) for row in rows], pass_tokens):
        packed = model.pack([rows[n] for n in part])
        yield -(packed.weight * model.token_log_probs(packed)).sum() / total


def fit(
    model: TunableModel,
    batches: Sequence[B],
    objective: Objective[B],
    config: TuneConfig,
    *,
    watch: Watcher | None = None,
    every: int = 0,
) -> Trace:
    """One phase over the batches; it is left open: `merge`, `drop`, `save` are the caller's.

    Same seed, same threads, same result. `watch` is called every so many steps (0: never).
    `ModelError` where a loss is not finite.
    """
    parameters = model.start(config, seed=config.seed)
    optimizer = torch.optim.AdamW(
        parameters,
        lr=config.learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=True,
    )
    trace, began = Trace(), time.perf_counter()
    model.model.train()
    try:
        for step, batch in enumerate(batches):
            rate = config.learning_rate * rate_share(config, step, len(batches))
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
            read = model.tokens
            trace.losses.append(_differentiate(objective(model, batch), step))
            if config.clip is not None:
                torch.nn.utils.clip_grad_norm_(parameters, config.clip)
            optimizer.step()
            trace.tokens += model.tokens - read
            if watch is not None and every and (step + 1) % every == 0:
                model.model.eval()
                trace.stopped = bool(watch(step + 1, model))
                model.model.train()
                if trace.stopped:
                    break
    finally:
        model.model.eval()
        model.model.zero_grad(set_to_none=True)
    trace.seconds = time.perf_counter() - began
    return trace


def _differentiate(found: Tensor | Iterable[Tensor], step: int) -> float:
    total = 0.0
    for part in [found] if isinstance(found, Tensor) else found:
        value = float(part.detach())
        if not math.isfinite(value):
            raise ModelError(
                f"tuning: the loss of step {step + 1} is {value}; a lower learning_rate or a "
                "clip may help"
            )
        part.backward()
        total += value
    return total


def tune(
    model: TunableModel,
    rows: Sequence[Row],
    config: TuneConfig,
    *,
    watch: Watcher | None = None,
    every: int = 0,
) -> Trace:
    """Supervised tuning on rows; the phase is left open (see `fit`)."""

    def objective(model: TunableModel, batch: list[Row]) -> Iterator[Tensor]:
        return cross_entropy(model, batch, pass_tokens=config.pass_tokens)

    return fit(model, batches_of(rows, config), objective, config, watch=watch, every=every)
