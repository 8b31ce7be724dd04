"""Leak before stop."""

import numpy as np
import pytest

from custodes.errors import DataError
from custodes.measure import leak_before_stop, relative_leak, summarize_leaks


def test_leak_counts_harmful_characters_before_the_cut() -> None:
    stop_at = [50, 120, None, 100, 900]
    leaks = leak_before_stop(stop_at, [100, 100, 100, 100, 100], [500] * 5)
    assert leaks.tolist() == [0, 20, 400, 0, 400]
    shares = relative_leak(stop_at, 100, [500] * 5)
    assert shares.tolist() == [0, 0.05, 1, 0, 1]


def test_the_summary() -> None:
    summary = summarize_leaks([0, 10, None, 0], 0, [100, 100, 200, 50])
    assert summary.replies == 4
    assert summary.median == 5.0
    assert summary.p90 == pytest.approx(143.0)
    assert summary.relative_median == 0.05
    assert summary.share_zero.value == 0.5
    assert summary.share_stopped.value == 0.75
    assert summary.to_values()["share_zero"]["value"] == 0.5


def test_nan_stands_for_never_cut() -> None:
    assert leak_before_stop(np.array([np.nan]), 0, [7]).tolist() == [7]


@pytest.mark.parametrize(
    ("stop_at", "onset", "length", "message"),
    [
        ([-1], 0, [10], "stop_at: got -1"),
        ([1], 10, [10], "reply 0: got onset 10 and length 10"),
        ([1], -1, [10], "0 <= onset < length"),
        ([1, 2], 0, [10], "different lengths"),
        ([], 0, [], "no values"),
        (["x"], 0, [10], "expected character positions"),
        ([[1]], 0, [10], "one value a reply"),
    ],
)
def test_malformed_replies_are_errors(stop_at, onset, length, message) -> None:
    with pytest.raises(DataError, match=message):
        leak_before_stop(stop_at, onset, length)
