"""What the console reads, from each database and from memory: the same of the same events."""

import asyncio

import pytest
from sqlalchemy import event as sql_event
from sqlalchemy import text

from custodes.server.console import records as console_records
from custodes.server.console.records import MemoryRecords, Window
from custodes.server.events import MemorySink
from custodes.server.persistence import DatabaseRecords
from custodes.server.wire.base import RequestError
from custodes.store import Vault, create_key, new_vault_key, reading, writing
from custodes.store.chain import extend
from custodes.store.rows import encode

NOW = 10_800.0


def record(make_event, count=60):
    """Events of two keys and two routes in the last two minutes; every fifth is stopped."""
    return [
        make_event(
            at=NOW - 2 * (count - n),
            key="one" if n % 2 else "two",
            route="/v1/messages" if n % 3 else "/v1/chat/completions",
            judged="exchange" if n % 2 else "input",
            action="release" if n % 5 else "stop",
            rule=None if n % 5 else "cake",
            latency_ms=1.0 + n,
            text=f"text {n}",
            failure="broke" if n == 7 else None,
        )
        for n in range(count)
    ]


@pytest.fixture
def events(make_event):
    return record(make_event)


@pytest.fixture
def vault():
    return Vault([new_vault_key()])


@pytest.fixture
def kept(engine, events, vault):
    with writing(engine) as connection:
        extend(connection, [encode(each, vault) for each in events])
    return DatabaseRecords(engine, vault=vault, now=lambda: NOW)


@pytest.fixture
def remembered(events):
    sink = MemorySink()
    for each in events:
        asyncio.run(sink.record(each))
    return MemoryRecords(sink)


def test_the_database_and_the_memory_say_the_same(kept, remembered):
    async def ask(records):
        window = Window.last(900, now=NOW, bucket=15)
        pages = []
        for matching in (
            {},
            {"action": "stop"},
            {"rule": "cake", "key": "one"},
            {"route": "/v1/messages", "action": "release"},
            {"rule": "nothing"},
        ):
            before = None
            for _ in range(9):
                page = await records.page(20, before=before, matching=matching)
                pages.append([each.seq for each in page.events])
                if (before := page.older) is None:
                    break
        one = await records.event(8, with_text=True)
        return (
            await records.tallies(window),
            await records.latencies(window),
            pages,
            one.event,
            (await records.event(8, with_text=False)).event.text,
            [await records.event(seq, with_text=True) for seq in (0, 61, 2**70)],
            await records.versions(),
        )

    found = asyncio.run(ask(kept))
    assert found == asyncio.run(ask(remembered))
    tallies, latencies, pages, one, hidden, missing, versions = found
    assert sum(each.events for each in tallies) == sum(each.events for each in latencies) == 60
    assert sum(each.events for each in tallies if each.failed) == 1
    assert pages[:4] == [list(range(n, n - 20, -1)) for n in (60, 40, 20)] + [
        [n for n in range(60, 0, -1) if n % 5 == 1]
    ]
    assert (one.text, hidden, missing) == ("text 7", None, [None] * 3)
    assert versions == [{"constitution": "c1", "artifact": "a1"}]


def test_several_filters_look_through_no_more_than_there_is_room_for(kept, monkeypatch):
    monkeypatch.setattr("custodes.server.persistence.ROOM", 10)
    assert console_records.ROOM == 100_000

    async def ask():
        found, before = [], None
        while True:
            matching = {"rule": "cake", "key": "one", "route": "/v1/messages"}
            page = await kept.page(50, before=before, matching=matching)
            found.append((page.searched, [each.seq for each in page.events], page.older))
            if (before := page.older) is None:
                return found

    assert asyncio.run(ask()) == [
        (51, [56], 51),
        (41, [], 41),
        (31, [36], 31),  # not 46: its route is another
        (21, [26], 21),
        (11, [], 11),
        (1, [6], None),
    ]


def test_the_console_never_scans_the_events(engine, kept):
    """Every statement of the pages goes through an index or the primary key."""
    seen = []

    def note(connection, cursor, statement, parameters, context, executemany):
        if statement.lstrip().upper().startswith("SELECT"):
            seen.append((statement, parameters))

    async def ask():
        window = Window.last(7 * 86400, now=NOW, bucket=7200)
        await kept.tallies(window)
        await kept.latencies(window)
        for matching in ({}, {"action": "stop"}, {"rule": "cake"}, {"key": "one"}):
            await kept.page(50, matching=matching)
        await kept.page(50, before=40, matching={"rule": "cake", "action": "stop"})
        await kept.event(8, with_text=False)
        await kept.chain()

    sql_event.listen(engine, "before_cursor_execute", note)
    asyncio.run(ask())
    sql_event.remove(engine, "before_cursor_execute", note)
    assert len(seen) >= 10
    sqlite = engine.dialect.name == "sqlite"
    explain = "EXPLAIN QUERY PLAN " if sqlite else "EXPLAIN "
    with reading(engine) as connection:
        if not sqlite:  # a table of sixty rows is scanned otherwise, whatever indices it has
            connection.execute(text("SET LOCAL enable_seqscan = off"))
        for statement, parameters in seen:
            plan = connection.exec_driver_sql(explain + statement, parameters)
            steps = [" ".join(map(str, row)) for row in plan]
            scans = [
                step
                for step in steps
                if ("SCAN events" in step and "INDEX" not in step and "latest" not in step)
                or "Seq Scan on events" in step
                or "SCAN tallies" in step
                or "SCAN latencies" in step
            ]
            bounded = "LIMIT" in statement and "ORDER BY events.seq DESC" in statement
            assert not scans or bounded, (statement, steps)


def test_the_chain_is_verified_and_that_is_remembered(engine, kept):
    async def chain_after(verify=True):
        if verify:
            await kept.verify("admin")
        return await kept.chain()

    before = asyncio.run(chain_after(verify=False))
    assert (before.head.seq, before.verified) == (60, None)
    good = asyncio.run(chain_after()).verified
    assert (good.key, good.at, good.outcome.ok, good.outcome.rows) == ("admin", NOW, True, 60)
    with writing(engine) as connection:
        connection.execute(text("UPDATE events SET score = 0 WHERE seq = 30"))
    kept._now = lambda: NOW + 1
    bad = asyncio.run(chain_after()).verified.outcome
    assert (bad.ok, bad.first_bad, bad.kind) == (False, 30, "altered")


def test_two_do_not_verify_at_once(kept):
    async def ask():
        return await asyncio.gather(kept.verify("a"), kept.verify("b"), return_exceptions=True)

    first, second = asyncio.run(ask())
    assert first is None
    assert isinstance(second, RequestError) and second.status == 409


def test_keys_have_names(engine, kept):
    with writing(engine) as connection:
        key, _ = create_key(connection, "support", now=1.0)
    assert asyncio.run(kept.key_names()) == {key.id: "support"}


def test_what_is_forgotten_keeps_its_number(make_event):
    sink = MemorySink(remember=10)
    for each in record(make_event, 25):
        asyncio.run(sink.record(each))
    records = MemoryRecords(sink)

    async def ask():
        page = await records.page(4, matching={})
        rest = await records.page(50, before=page.older, matching={})
        return page, rest, await records.event(15, with_text=False), await records.chain()

    page, rest, gone, chain = asyncio.run(ask())
    assert [each.seq for each in page.events] == [25, 24, 23, 22]
    assert [each.seq for each in rest.events] == [21, 20, 19, 18, 17, 16]
    assert (rest.older, gone, chain.head) == (None, None, None)
    asyncio.run(records.verify("nobody"))
