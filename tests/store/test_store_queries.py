"""What the console reads."""

from collections import Counter

import pytest

from custodes.errors import InputError
from custodes.store import (
    Checkpoint,
    Fault,
    Verification,
    Verified,
    event_at,
    last_verified,
    latencies_in,
    latest,
    note_verified,
    quantiles,
    reading,
    snapshot,
    step_of,
    stream,
    tallies_in,
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


def test_verdicts_are_counted_by_time_and_kind(filled):
    with reading(filled) as connection:
        found = tallies_in(connection, since=990, until=1020, bucket=15)
        seen = [(t.start, t.action, t.rule, t.events) for t in found]
        assert seen == [
            (990, "release", "", 3),
            (990, "stop", "rule-0", 1),
            (990, "stop", "rule-4", 1),
            (1005, "release", "", 12),
            (1005, "stop", "rule-0", 2),
            (1005, "stop", "rule-4", 1),
        ]
        assert {(t.judged, t.mode, t.failed) for t in found} == {("exchange", "enforce", False)}
        for bucket in (15, 30, 900, 3600):
            since = 1000 // bucket * bucket
            whole = tallies_in(connection, since=since, until=since + 3600, bucket=bucket)
            assert sum(t.events for t in whole) == 40
        assert tallies_in(connection, since=0, until=990, bucket=15) == []


@pytest.mark.parametrize(("since", "bucket"), [(0, 10), (0, 0), (0, -15), (7, 15)])
def test_buckets_that_are_not_kept_are_refused(filled, since, bucket):
    with reading(filled) as connection:
        for query in (tallies_in, latencies_in):
            with pytest.raises(InputError, match="multiple of 15 s"):
                query(connection, since=since, until=3600, bucket=bucket)


def test_an_event_that_comes_twice_is_counted_once(filled, make_event):
    late = encode(make_event(id="late", at=2000.0, failure="it broke", judged="input"))
    for _ in range(2):
        with writing(filled) as connection:
            extend(connection, [late])
    with reading(filled) as connection:
        (found,) = tallies_in(connection, since=1995, until=2010, bucket=15)
        assert (found.events, found.failed, found.judged) == (1, True, "input")


def test_latencies_are_counted_by_steps_of_nine_percent(filled):
    with reading(filled) as connection:
        found = latencies_in(connection, since=990, until=1050, bucket=30)
    steps = Counter()
    for each in found:
        steps[each.step] += each.events
    assert {each.start for each in found} == {990, 1020}
    shares = [0, 0.5, 0.95, 1]
    for value, exact in zip(quantiles(steps, shares), [1.0, 20.0, 38.0, 40.0], strict=True):
        assert value == pytest.approx(exact, rel=0.046)


def test_times_and_latencies_out_of_all_bounds_are_counted_too(engine, make_event):
    odd = [make_event(at=at, latency_ms=ms) for at, ms in ((1e300, 0.0), (-1e300, 1e300))]
    with writing(engine) as connection:
        assert extend(connection, [encode(event) for event in odd]) == [1, 2]
    assert (step_of(0.0), step_of(1e300)) == (-80, 240)


def test_the_latest_by_page_and_filter(filled):
    with reading(filled) as connection:
        assert [s.seq for s in latest(connection, 3)] == [40, 39, 38]
        assert [s.seq for s in latest(connection, 3, before=38)] == [37, 36, 35]
        assert [s.seq for s in latest(connection, 9, before=38, after=35)] == [37, 36]
        for matching, limit, before, seqs in (
            ({"action": "stop"}, 3, None, [37, 33, 29]),
            ({"rule": "rule-0", "action": "stop"}, 2, None, [33, 25]),
            ({"rule": "rule-0", "key": "0123456789ab"}, 9, 10, [9, 1]),
            ({"rule": "rule-0", "route": "/v1/messages"}, 1, None, [33]),
            ({"rule": "nobody"}, 9, None, []),
            ({"rule": "\0\ud800", "action": "'--"}, 9, None, []),
        ):
            found = latest(connection, limit, before=before, matching=matching)
            assert [s.seq for s in found] == seqs
        with pytest.raises(InputError, match="expected one of action, rule, key, route"):
            latest(connection, matching={"text": "x"})


def test_one_event_by_its_place(filled):
    with reading(filled) as connection:
        assert event_at(connection, 37).event.rule == "rule-4"
        assert [event_at(connection, seq) for seq in (0, -1, 41, 2**70)] == [None] * 4


def test_the_last_verification_is_remembered(filled):
    with reading(filled) as connection:
        assert last_verified(connection) is None
    good, bad = (
        Verified(at=at, key="k", seconds=0.5, outcome=outcome)
        for at, outcome in (
            (1.0, Verification(rows=40, last=Checkpoint(40, "0" * 64))),
            (
                2.0,
                Verification(rows=3, last=Checkpoint(3, "1" * 64), first_bad=4, kind=Fault.ALTERED),
            ),
        )
    )
    for verified in (good, bad):
        with writing(filled) as connection:
            note_verified(connection, verified)
        with reading(filled) as connection:
            assert last_verified(connection) == verified


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
