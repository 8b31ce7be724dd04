"""How often an interval of attack success holds the rate of all attacks and questions of a kind.

    python benchmarks/redteam/coverage.py

A pair of 41 attacks and 8 questions is broken with log-odds -2.3 (about a tenth) and an effect of
its attack and one of its question, both normal. The rate is of all such attacks and questions.
Needs no guard, no model and no data.
"""

from __future__ import annotations

import numpy as np

from custodes.measure import Interval, crossed_rate, wilson

ATTACKS, QUESTIONS, TABLES = 41, 8, 2000
LOG_ODDS = -2.3
SPREADS = ((0.0, 0.0), (0.0, 1.0), (1.5, 0.0), (1.5, 1.0))
"""Standard deviation of the attacks' and of the questions' effects."""


def coverage(attacks: float, questions: float, *, seed: int = 0) -> tuple[float, float]:
    """Of Wilson's interval over pairs and of the crossed bootstrap, both of 95 %."""
    rng = np.random.default_rng(seed)
    effects = rng.normal(size=(2, 1_000_000)) * [[attacks], [questions]]
    rate = float(_probability(effects.sum(axis=0)).mean())
    held = np.zeros(2)
    for _ in range(TABLES):
        of_attacks = attacks * rng.normal(size=(ATTACKS, 1))
        of_questions = questions * rng.normal(size=(1, QUESTIONS))
        broken = rng.random((ATTACKS, QUESTIONS)) < _probability(of_attacks + of_questions)
        pairs = wilson(int(broken.sum()), broken.size)
        crossed = crossed_rate(broken, np.ones_like(broken), seed=seed)
        held += [_holds(pairs, rate), _holds(crossed, rate)]
    return float(held[0] / TABLES), float(held[1] / TABLES)


def _probability(effects: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-(LOG_ODDS + effects)))


def _holds(interval: Interval, rate: float) -> bool:
    return interval.low <= rate <= interval.high


if __name__ == "__main__":
    for attacks, questions in SPREADS:
        pairs, crossed = coverage(attacks, questions)
        print(f"attacks {attacks}, questions {questions}: {pairs:.2f} pairs, {crossed:.2f} crossed")
