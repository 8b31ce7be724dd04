"""How a learning rate and a power change over training. Pure functions of the step."""

from __future__ import annotations

import math

from custodes.methods.decomposition.config import Schedule

__all__ = ["annealed", "rate_at"]


def rate_at(step: int, steps: int, schedule: Schedule, *, warmup: float = 0.0) -> float:
    """Share of the full rate at a step: a linear rise over `warmup`, times the schedule."""
    rising = int(warmup * steps)
    if step < rising:
        return step / rising
    done = (step - rising) / max(1, steps - rising - 1)
    if schedule == "linear":
        return 1 - (step - rising) / (steps - rising)
    return math.cos(0.5 * math.pi * done) if schedule == "cosine" else 1.0


def annealed(done: float, first: float, last: float | None, *, start: float) -> float:
    """From `first` to `last`, linearly from the share `start` of training to its end."""
    if last is None or done <= start:
        return first
    return first + (last - first) * min(1.0, (done - start) / (1 - start))
