"""Removing facts: a step's loss by each method, and when to stop.

What may be seen here: all facts to forget (they are trained on), the kept neighbors and ordinary
text (the retain loss), and accuracy on the validation facts and the watched neighbors (when to
stop, which learning rate). V is trained on as part of what is to be forgotten, and never looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
import torch
from torch import Tensor

from custodes.methods.unlearning import losses
from custodes.methods.unlearning.config import Method, RemovalConfig
from custodes.methods.unlearning.facts import Fact, Parts
from custodes.methods.unlearning.scoring import answer_row, left, text_rows, wordings
from custodes.methods.unlearning.texts import ordinary_texts
from custodes.models.tuning import Row, TunableModel, TuneConfig, fit, row_log_probs

__all__ = ["Removal", "Step", "objective", "remove", "steps_of"]


@dataclass(frozen=True, slots=True)
class Step:
    """Rows to forget with their log-probabilities beforehand, the same prompts with a wrong
    answer, and rows to retain: of neighbors, and of ordinary text."""

    forget: tuple[Row, ...]
    reference: tuple[float, ...]
    wrong: tuple[Row, ...]
    retain: tuple[Row, ...]
    text: tuple[Row, ...] = ()


@dataclass(frozen=True, slots=True)
class Removal:
    """How it went: the rate taken, epochs, whether enough was removed and enough survived, and
    `(rate, epoch, validation facts, watched neighbors)` of every epoch tried."""

    rate: float
    epochs: int
    enough: bool
    path: tuple[tuple[float, int, float, float], ...]


def steps_of(
    model: TunableModel,
    forget: Sequence[Fact],
    kept: Sequence[Fact],
    config: TuneConfig,
    *,
    texts: Sequence[str] = (),
) -> list[Step]:
    """Every step of a removal: statements shuffled anew each epoch, wrong answers drawn anew, as
    many statements of kept neighbors as to forget, and one row of `texts`, if there are any."""
    rng = np.random.default_rng(config.seed)
    lessons = [(fact, text) for fact in forget for text in fact.statements]
    rows = [answer_row(model, text, fact.answer) for fact, text in lessons]
    before = row_log_probs(model, rows, exact=False)  # rounded as the losses round
    safe = [answer_row(model, text, fact.answer) for fact in kept for text in fact.statements]
    found: list[Step] = []
    queue: list[int] = []
    epochs = round(config.epochs)
    ordinary = cycle(text_rows(model, texts, epochs * -(-len(rows) // config.batch_rows)))
    for _ in range(epochs):
        order = rng.permutation(len(rows)).tolist()
        for at in range(0, len(order), config.batch_rows):
            chosen = order[at : at + config.batch_rows]
            while len(queue) < len(chosen):
                queue += rng.permutation(len(safe)).tolist()
            retain, queue = queue[: len(chosen)], queue[len(chosen) :]
            wrong = [
                answer_row(model, lessons[n][1], str(rng.choice(lessons[n][0].wrong)))
                for n in chosen
            ]
            found.append(
                Step(
                    tuple(rows[n] for n in chosen),
                    tuple(before[n] for n in chosen),
                    tuple(wrong),
                    tuple(safe[n] for n in retain),
                    tuple(islice(ordinary, 1)),
                )
            )
    return found


def objective(
    method: Method, config: RemovalConfig, model: TunableModel, seed: int
) -> Callable[[TunableModel, Step], Tensor]:
    """The loss of a step; for RMU the control vector is drawn here, once."""
    if method == "rmu":
        return _rmu(config, seed)

    def loss(model: TunableModel, step: Step) -> Tensor:
        rows = step.wrong if method == "random-incorrect" else step.forget
        parts = [len(rows), len(step.retain), len(step.text)]
        found = model.row_log_probs(model.pack([*rows, *step.retain, *step.text]))
        (logs, *others), (lengths, *sizes) = (torch.split(one, parts) for one in found)
        # A mean each: a row of text has as many tokens as all the answers of a step.
        kept = sum(
            (losses.likelihood(a, b) for a, b in zip(others, sizes, strict=True) if len(a)),
            start=logs.new_zeros(()),
        )
        if method == "npo":
            reference = torch.tensor(step.reference, device=logs.device)
            gone = losses.npo(logs, reference, beta=config.npo_beta)
        elif method == "simnpo":
            gone = losses.simnpo(logs, lengths, beta=config.simnpo_beta, gamma=config.simnpo_gamma)
        elif method == "graddiff":
            gone = losses.grad_diff(logs, lengths)
        else:
            gone = losses.random_incorrect(logs, lengths)
        return gone + config.retain * kept

    return loss


def _rmu(config: RemovalConfig, seed: int) -> Callable[[TunableModel, Step], Tensor]:
    control: Tensor | None = None

    def loss(model: TunableModel, step: Step) -> Tensor:
        nonlocal control
        packed = model.pack([*step.forget, *step.retain, *step.text])
        # The first token takes on huge states, the same in every row: it is left alone.
        inner = packed.positions > 0
        forget = (packed.owner < len(step.forget)) & inner
        retain = (packed.owner >= len(step.forget)) & inner
        with torch.no_grad(), model.adapter_off():
            frozen = model.states(packed, config.rmu_layer).float()
        if control is None:
            drawn = torch.rand(frozen.shape[1], generator=torch.Generator().manual_seed(seed))
            length = frozen[forget].norm(dim=1).mean().cpu()
            control = (config.rmu_scale * length * drawn / drawn.norm()).to(frozen.device)
        states = model.states(packed, config.rmu_layer).float()
        # Squares in units of the frozen states', so that one rate and weight fit every model.
        unit = frozen[inner].square().mean()
        gone = losses.rmu_forget(states[None], forget[None], control) / unit
        kept = losses.rmu_retain(states[None], frozen[None], retain[None]) / unit
        return gone + config.rmu_retain * kept

    return loss


def remove(
    model: TunableModel,
    method: Method,
    parts: Parts,
    config: RemovalConfig,
    *,
    options: int,
    seed: int,
    restore: Callable[[], None],
) -> Removal:
    """Remove all facts to forget; the model ends with the best rate's change merged.

    Each rate starts where `restore` brings the model, and stops after the first epoch at which
    accuracy on the validation facts is at most chance plus the margin; the first rate that gets
    there with enough of the watched neighbors left is taken, else the one that misses least.
    """
    chance = 1 / options
    known = wordings(model, parts.watched, options=options, seed=seed)
    floor = chance + config.survive * max(0.0, known - chance)
    texts = [] if config.text is None else ordinary_texts(config.text)
    path: list[tuple[float, int, float, float]] = []
    best: tuple[float, float, int, object] | None = None
    for rate in config.rates[method]:
        restore()
        tune = config.tune.model_copy(update={"learning_rate": rate, "seed": seed})
        steps = steps_of(model, parts.forget, parts.kept, tune, texts=texts)
        each = -(-len(steps) // round(tune.epochs))

        def watch(step: int, model: TunableModel, *, rate: float = rate, each: int = each) -> bool:
            remaining = left(model, parts.select, options=options, seed=seed)
            beside = wordings(model, parts.watched, options=options, seed=seed)
            path.append((rate, step // each, remaining, beside))
            return remaining <= chance + config.margin

        fit(model, steps, objective(method, config, model, seed), tune, watch=watch, every=each)
        _, epochs, remaining, beside = path[-1]
        missed = max(0.0, remaining - chance - config.margin) + max(0.0, floor - beside)
        if best is None or missed < best[0]:
            best = (missed, rate, epochs, model.learned())
        if missed == 0:
            break
    if best is None:
        raise AssertionError("a removal has at least one rate")
    missed, rate, epochs, learned = best
    restore()
    model.add(learned)  # type: ignore[arg-type]
    return Removal(rate, epochs, missed == 0, tuple(path))
