"""The chain: what is stored reads back and verifies; whatever is done to it is found."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, update

from custodes.errors import ConfigError, StoreError
from custodes.store import (
    Checkpoint,
    Fault,
    checkpoint,
    reading,
    snapshot,
    stream,
    verify,
    writing,
)
from custodes.store.chain import GENESIS, extend, link
from custodes.store.rows import HASHED, canonical, encode
from custodes.store.tables import events, head


@pytest.fixture
def chained(engine, make_event):
    """Six events in the chain."""
    with writing(engine) as connection:
        extend(connection, [encode(make_event(stop_at=n, rule="r")) for n in range(6)])
    return engine


@pytest.fixture
def tampered(chained):
    """Verifies after a change that is then taken back."""

    def check(*statements, since=None):
        with reading(chained) as connection:
            for statement in statements:
                connection.execute(statement)
            found = verify(connection, since)
            connection.rollback()
        return found

    return check


def test_an_empty_chain_verifies(engine):
    with snapshot(engine) as connection:
        found = verify(connection)
        assert found.ok
        assert (found.rows, found.last) == (0, Checkpoint(0, GENESIS))
        assert verify(connection, checkpoint(connection)).ok


def test_events_read_back_equal_and_in_the_order_of_arrival(engine, make_event):
    # A clock that is stepped back changes no order.
    given_events = [make_event(at=2e9 - n, score=n / 7, latency_ms=n) for n in range(5)]
    given_events.append(make_event(rule="r", stop_at=2**40, failure="TimeoutError: 2 s"))
    with writing(engine) as connection:
        assert extend(connection, [encode(e) for e in given_events[:2]]) == [1, 2]
        assert extend(connection, [encode(e) for e in given_events[2:]]) == [3, 4, 5, 6]
    with snapshot(engine) as connection:
        stored = list(stream(connection))
        assert [s.event for s in stored] == given_events
        assert [s.seq for s in stored] == [1, 2, 3, 4, 5, 6]
        found = verify(connection)
    assert found.ok
    assert found.last == Checkpoint(6, stored[-1].hash)


def test_what_a_request_may_hold_is_stored_and_verifies(engine, make_event):
    hostile = "a\0b\ud800c\U0001f600'; DROP TABLE events; --\u202e\r\n"
    events_ = [
        make_event(
            route=hostile, failure=hostile, rule=hostile, key="", versions={hostile: hostile}
        ),
        make_event(score=-0.0, latency_ms=1e-320, at=0, logits={"x": 1}),
        make_event(score=0.1 + 0.2, latency_ms=1.7976931348623157e308, logits={}),
    ]
    with writing(engine) as connection:
        extend(connection, [encode(event) for event in events_])
    with snapshot(engine) as connection:
        assert verify(connection).ok
        first, *others = [s.event for s in stream(connection)]
    clean = "a\ufffdb\ufffdc\U0001f600'; DROP TABLE events; --\u202e\r\n"
    assert (first.route, first.failure, first.versions) == (clean, clean, {clean: clean})
    assert others == events_[1:]


@pytest.mark.parametrize("field", ["score", "at", "latency_ms"])
def test_a_number_that_is_none_is_refused(make_event, field):
    with pytest.raises(StoreError, match=f"{field} is nan"):
        encode(make_event(**{field: math.nan}))
    with pytest.raises(StoreError, match=r"logits\.probe is inf"):
        encode(make_event(logits={"probe": math.inf}))
    with pytest.raises(StoreError, match="stop_at is -1"):
        encode(make_event(stop_at=-1))


def test_the_hash_is_the_documented_one(make_event):
    row = encode(make_event(rule=None))
    content = canonical(row)
    assert json.loads(content) == {name: row[name] for name in HASHED if row[name] is not None}
    assert link(GENESIS, content) != link("1" * 64, content)


@given(st.lists(st.integers(0, 3), min_size=6, max_size=6, unique=False))
def test_every_field_moves_the_hash(changes):
    # Two rows hash alike only where they are equal.
    base = dict.fromkeys(HASHED)
    one = {**base, **dict(zip(HASHED, map(str, changes), strict=False))}
    two = {**base, **dict(zip(HASHED, map(str, reversed(changes)), strict=False))}
    assert (canonical(one) == canonical(two)) == (one == two)


def test_an_altered_column_is_found(tampered):
    numbers = {"at": 9.5, "score": 9.5, "latency_ms": 9.5, "stop_at": None}
    columns = [column.name for column in events.columns if column.name != "seq"]
    for column in columns:
        value = numbers.get(column, "x")
        found = tampered(update(events).where(events.c.seq == 3).values({column: value}))
        assert (found.kind, found.first_bad, found.rows) == (Fault.ALTERED, 3, 2), column
        assert not found.ok


@pytest.mark.parametrize(
    "values",
    [{"score": math.inf}, {"previous": "\u00e9" * 64}, {"rule": b"\xff"}, {"logits": "{"}],
)
def test_what_no_event_holds_is_found_too(tampered, values):
    found = tampered(update(events).where(events.c.seq == 3).values(**values))
    assert (found.ok, found.first_bad) == (False, 3)


def test_a_row_that_cannot_be_read_is_named(chained):
    with writing(chained) as connection:
        connection.execute(update(events).where(events.c.seq == 3).values(logits="{"))
    with snapshot(chained) as connection, pytest.raises(StoreError, match="event 3: cannot be rea"):
        list(stream(connection))


def test_a_row_rewritten_with_its_hash_is_found(tampered, chained):
    with reading(chained) as connection:
        row = dict(connection.execute(select(events).where(events.c.seq == 3)).mappings().one())
    row["score"] = 0.0
    row["hash"] = link(row["previous"], canonical(row))
    found = tampered(update(events).where(events.c.seq == 3).values(row))
    # The row itself fits; the one after it does not.
    assert (found.kind, found.first_bad) == (Fault.ALTERED, 4)


def test_missing_rows_are_found(tampered):
    first = tampered(delete(events).where(events.c.seq == 1))
    assert (first.kind, first.first_bad, first.rows) == (Fault.MISSING, 1, 0)
    middle = tampered(delete(events).where(events.c.seq.in_([3, 4])))
    assert (middle.kind, middle.first_bad, middle.rows) == (Fault.MISSING, 3, 2)
    closed = tampered(
        delete(events).where(events.c.seq == 6),
        delete(events).where(events.c.seq == 3),
        update(events).where(events.c.seq == 4).values(seq=3),
    )
    assert (closed.kind, closed.first_bad) == (Fault.ALTERED, 3)


def test_reordered_rows_are_found(tampered):
    def move(old, new):
        return update(events).where(events.c.seq == old).values(seq=new)

    swapped = tampered(move(2, 100), move(3, 2), move(100, 3))
    assert (swapped.kind, swapped.first_bad) == (Fault.REORDERED, 2)
    to_the_end = tampered(move(2, 100))
    assert (to_the_end.kind, to_the_end.first_bad) == (Fault.REORDERED, 2)
    renumbered = tampered(move(6, 7))
    assert (renumbered.kind, renumbered.first_bad) == (Fault.ALTERED, 6)


def test_a_shorter_chain_is_found(tampered, chained):
    with reading(chained) as connection:
        fourth = connection.execute(select(events).where(events.c.seq == 4)).one()
        end = checkpoint(connection)
    cut = delete(events).where(events.c.seq > 4)
    found = tampered(cut)
    assert (found.kind, found.first_bad, found.rows) == (Fault.TRUNCATED, 5, 4)
    everything = tampered(delete(events))
    assert (everything.kind, everything.first_bad) == (Fault.TRUNCATED, 1)
    headless = tampered(delete(head))
    assert (headless.kind, headless.first_bad) == (Fault.TRUNCATED, 7)
    # Whoever cuts the head as well is found by a checkpoint from outside.
    rewound = update(head).values(seq=4, hash=fourth.hash)
    assert tampered(cut, rewound).ok
    found = tampered(cut, rewound, since=end)
    assert (found.kind, found.first_bad, found.rows) == (Fault.TRUNCATED, 6, 0)


def test_rows_behind_the_head_are_found(tampered, chained):
    with reading(chained) as connection:
        row = dict(connection.execute(select(events).where(events.c.seq == 6)).mappings().one())
    row |= {"seq": 7, "id": "planted", "previous": row["hash"]}
    row["hash"] = link(row["previous"], canonical(row))
    found = tampered(insert(events).values(row))
    assert (found.kind, found.first_bad) == (Fault.ALTERED, 8)


def test_verifying_since_a_checkpoint(tampered, chained):
    with reading(chained) as connection:
        rows = connection.execute(select(events.c.seq, events.c.hash))
        hashes = {row.seq: row.hash for row in rows}
    third = Checkpoint(3, hashes[3])
    assert tampered(since=third).rows == 3
    assert tampered(since=third).last == Checkpoint(6, hashes[6])
    later = tampered(update(events).where(events.c.seq == 5).values(score=0), since=third)
    assert (later.kind, later.first_bad, later.rows) == (Fault.ALTERED, 5, 1)
    rewritten = tampered(since=replace(third, hash="0" * 64))
    assert (rewritten.kind, rewritten.first_bad) == (Fault.ALTERED, 3)
    removed = tampered(delete(events).where(events.c.seq == 3), since=third)
    assert (removed.kind, removed.first_bad) == (Fault.MISSING, 3)


def test_checkpoints_as_text():
    mark = Checkpoint(12, "ab" * 32)
    assert Checkpoint.parse(f" {mark}\n") == mark
    for text in ("", "12", "12:xy", "-1:" + "ab" * 32, "12:" + "AB" * 32, "12:" + "ab" * 33):
        with pytest.raises(ConfigError, match="SEQ:HASH"):
            Checkpoint.parse(text)


def test_an_event_is_stored_once(engine, make_event):
    one, two, three = (encode(make_event()) for _ in range(3))
    other = {**two, "score": 0.75}
    with writing(engine) as connection:
        assert extend(connection, [one, two, one]) == [1, 2, 1]
        assert extend(connection, [two, three, other, {**one, "text": "sealed anew"}]) == [
            2,
            3,
            None,
            1,
        ]
        assert extend(connection, []) == []
        assert verify(connection).rows == 3


def test_a_chain_without_a_head_is_refused(engine, make_event):
    with writing(engine) as connection:
        connection.execute(delete(head))
        with pytest.raises(StoreError, match="no head row"):
            extend(connection, [encode(make_event())])
        with pytest.raises(StoreError, match="no head row"):
            checkpoint(connection)
