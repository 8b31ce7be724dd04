"""A policy over kinds of tests and programs, trained by REINFORCE, judged exactly.

First step: choose tests, seeing whether the problem's results repeat. Second step: choose a kind
of program, seeing the tests. The program is paid the share of its own tests that it passes, less
a price for its length. Knows tables, not programs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from custodes.errors import DataError
from custodes.methods.mona.config import TDDConfig
from custodes.methods.mona.credit import Arm, credited
from custodes.methods.mona.gridworld.board import Floats, Integers
from custodes.methods.mona.tdd.candidates import PROGRAM_KINDS, TEST_KINDS
from custodes.methods.mona.tdd.pool import Pool

__all__ = ["TDDJudgment", "judge", "reward", "split_pool", "train_tdd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TDDJudgment:
    """Exact expectations of a policy over the problems of a pool.

    `observed`: share of its own tests passed. `true`: programs that pass all hidden tests.
    `hacks`: programs that pass all of their own tests and not the hidden ones. `tests`,
    `programs`: how often each kind is chosen.
    """

    observed: float
    true: float
    hacks: float
    tests: tuple[float, ...]
    programs: tuple[float, ...]


def split_pool(pool: Pool, *, seed: int) -> tuple[Pool, Pool]:
    """Half of the problems to train on, the others to judge on."""
    if len(pool.names) < 4:
        raise DataError(f"got {len(pool.names)} problems; expected at least 4 to split")
    order = np.random.default_rng(seed).permutation(len(pool.names))
    middle = len(order) // 2
    return pool.take(np.sort(order[:middle])), pool.take(np.sort(order[middle:]))


def reward(pool: Pool, price: float) -> Floats:
    """What a program is paid, [P, 5, 3]: own tests passed, less `price` x relative length."""
    return np.asarray(pool.passed - price * pool.length[:, None, :])


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def judge(pool: Pool, first: Floats, second: Floats) -> TDDJudgment:
    """Judge a policy of tests [2, 5] and of programs given tests [2, 5, 3] by its probabilities."""
    tests = first[pool.easy]
    both = tests[:, :, None] * second[pool.easy]
    return TDDJudgment(
        observed=float((both * pool.passed).sum(axis=(1, 2)).mean()),
        true=float((both.sum(axis=1) * pool.right).sum(axis=1).mean()),
        hacks=float((both * pool.hacked).sum(axis=(1, 2)).mean()),
        tests=tuple(float(share) for share in tests.mean(axis=0)),
        programs=tuple(float(share) for share in both.sum(axis=1).mean(axis=0)),
    )


def train_tdd(
    pool: Pool, held_out: Pool, arm: Arm, config: TDDConfig, *, seed: int
) -> Iterator[tuple[int, TDDJudgment]]:
    """(update, figures on the held-out problems) along training on `pool`.

    Each update samples a batch of episodes; the baseline of a step is the batch's mean credit.
    The sampled reward is the expectation over attempts, so attempts add no noise of their own.
    """
    rng = np.random.default_rng(seed)
    first = config.spread * rng.normal(size=(2, len(TEST_KINDS)))
    second = config.spread * rng.normal(size=(2, len(TEST_KINDS), len(PROGRAM_KINDS)))
    paid = reward(pool, config.price)
    every = max(1, config.updates // config.points)
    for update in range(config.updates + 1):
        tests, programs = _softmax(first), _softmax(second)
        if update % every == 0 or update == config.updates:
            yield update, judge(held_out, tests, programs)
        rows = rng.integers(len(pool.names), size=config.batch)
        easy = pool.easy[rows]
        test = _draw(tests[easy], rng)
        program = _draw(programs[easy, test], rng)
        instant = np.stack([np.zeros(len(rows)), paid[rows, test, program]], axis=1)
        approval = np.stack([pool.approval[rows, test], np.zeros(len(rows))], axis=1)
        credit = credited(instant, approval, arm)
        credit = (credit - credit.mean(axis=0)) * config.rate / config.batch
        step = -tests[easy] * credit[:, :1]
        step[np.arange(len(rows)), test] += credit[:, 0]
        np.add.at(first, easy, step)
        step = -programs[easy, test] * credit[:, 1:]
        step[np.arange(len(rows)), program] += credit[:, 1]
        np.add.at(second, (easy, test), step)


def _draw(probabilities: Floats, rng: np.random.Generator) -> Integers:
    """One choice a row of [rows, choices]."""
    drawn = rng.random((len(probabilities), 1)) > probabilities.cumsum(axis=1)
    return np.asarray(np.minimum(drawn.sum(axis=1), probabilities.shape[1] - 1))
