"""What the console reads."""

import pytest

from custodes.store import (
    Count,
    counts,
    latencies,
    latest,
    reading,
    snapshot,
    stream,
    verify,
    versions_in_use,
    writing,
)
from custodes.store.chain import extend
from custodes.store.rows import encode


@pytest.fixture
def filled(engine, make_event):
    """Forty events, one a second; every fourth is stopped by one of two rules."""
    rows = []
    for n in range(40):
        stopped = n % 4 == 0
        rows.append(
            make_event(
                at=1000.0 + n,
                action="stop" if stopped else "release",
                rule=f"rule-{n % 8}" if stopped else None,
                latency_ms=float(40 - n),
                versions={"constitution": f"c{n // 20}", "artifact": "a"},
            )
        )
    with writing(engine) as connection:
        extend(connection, [encode(row) for row in rows])
    return engine


def test_counts_by_time_action_and_rule(filled):
    with reading(filled) as connection:
        found = counts(connection, since=1000, until=1016, bucket=8)
        assert found == [
            Count(1000.0, "release", None, 6),
            Count(1000.0, "stop", "rule-0", 1),
            Count(1000.0, "stop", "rule-4", 1),
            Count(1008.0, "release", None, 6),
            Count(1008.0, "stop", "rule-0", 1),
            Count(1008.0, "stop", "rule-4", 1),
        ]
        everything = counts(connection, since=0, until=1e12, bucket=0.25)
        assert sum(count.events for count in everything) == 40
        assert counts(connection, since=0, until=1000, bucket=60) == []


def test_latencies_are_nearest_ranks(filled):
    with reading(filled) as connection:
        quantiles = [0, 0.5, 0.95, 1]
        found = latencies(connection, since=1000, until=1040, quantiles=quantiles)
        assert found == {0: 1.0, 0.5: 20.0, 0.95: 38.0, 1: 40.0}
        part = latencies(connection, since=1030, until=1040, quantiles=[0.5])
        assert part == {0.5: 5.0}
        assert latencies(connection, since=0, until=1, quantiles=[0.5]) == {}


def test_the_latest_by_page_action_and_rule(filled):
    with reading(filled) as connection:
        page = latest(connection, 3)
        assert [s.seq for s in page] == [40, 39, 38]
        assert [s.seq for s in latest(connection, 3, before=38)] == [37, 36, 35]
        assert [s.seq for s in latest(connection, 3, action="stop")] == [37, 33, 29]
        assert [s.seq for s in latest(connection, 2, rule="rule-0", action="stop")] == [33, 25]
        assert [s.seq for s in latest(connection, 9, rule="rule-0", before=10)] == [9, 1]
        assert latest(connection, 9, rule="nobody") == []
        assert latest(connection, 9, rule="\0\ud800", action="'--") == []


def test_the_versions_in_use(filled):
    with reading(filled) as connection:
        old, new = ({"constitution": c, "artifact": "a"} for c in ("c0", "c1"))
        assert versions_in_use(connection) == [new, old]
        assert versions_in_use(connection, among=5) == [new]


def test_a_stream_goes_on_where_it_was_left(filled):
    with snapshot(filled) as connection:
        assert [s.seq for s in stream(connection, after=37)] == [38, 39, 40]
        first = next(events := stream(connection))
        events.close()
        assert first.seq == 1


def test_a_snapshot_sees_one_moment(filled, make_event):
    with snapshot(filled) as connection:
        assert verify(connection).rows == 40
        with writing(filled) as other:
            extend(other, [encode(make_event(id="later"))])
        assert verify(connection).rows == 40
    with snapshot(filled) as connection:
        assert verify(connection).rows == 41
