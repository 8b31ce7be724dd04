"""Processor time of a piece of work, of all processes that it starts and waits for."""

from __future__ import annotations

import math
import resource
import statistics
from collections.abc import Callable

from custodes.measure import Interval


def processor_seconds(work: Callable[[], object], repeats: int) -> Interval:
    """Median of the repeats, with the least and the most, after one that is not counted; of a
    single one there is no interval, and it is counted."""
    found = []
    for number in range(repeats + 1 if repeats > 1 else 1):
        before = _spent()
        work()
        if number or repeats == 1:
            found.append(_spent() - before)
    if repeats == 1:
        return Interval(found[0], math.nan, math.nan)
    return Interval(statistics.median(found), min(found), max(found))


def rate(count: int, seconds: Interval) -> Interval:
    """`count` a second."""
    return Interval(count / seconds.value, count / seconds.high, count / seconds.low)


def times(seconds: Interval, factor: float) -> Interval:
    """In another unit."""
    return Interval(*(factor * one for one in (seconds.value, seconds.low, seconds.high)))


def _spent() -> float:
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)
