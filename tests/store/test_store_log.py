"""The event log: acknowledged means stored; a database that fails is seen, and survived."""

import asyncio
import sqlite3
import threading
from concurrent.futures import Future, wait
from pathlib import Path

import pytest
from sqlalchemy import select, text
from store_proxy import Proxy

from custodes.errors import ConfigError, StoreBusyError, StoreError, StoreUnavailableError
from custodes.store import (
    EventLog,
    Vault,
    connect,
    latest,
    migrate,
    new_vault_key,
    reading,
    snapshot,
    stream,
    verify,
    writing,
)
from custodes.store.tables import events, head

QUICK = EventLog.Config(probe=0.05)


def stored_ids(engine):
    with reading(engine) as connection:
        return list(connection.scalars(select(events.c.id).order_by(events.c.seq)))


def test_acknowledged_events_are_stored_in_order(engine, make_event):
    sent = [make_event() for _ in range(50)]
    with EventLog(engine, EventLog.Config(batch=7)) as log:
        futures = [log.append(event) for event in sent]
        assert [future.result(60) for future in futures] == list(range(1, 51))
        assert stored_ids(engine) == [event.id for event in sent]
        assert log.healthy
        assert log.failure is None
        assert log.waiting == 0
    with snapshot(engine) as connection:
        assert verify(connection).rows == 50


def test_closing_commits_what_waits_and_then_refuses(engine, make_event):
    log = EventLog(engine, EventLog.Config(linger=30))
    futures = [log.append(make_event()) for _ in range(20)]
    log.close()
    assert [future.result(0) for future in futures] == list(range(1, 21))
    assert not log.healthy
    with pytest.raises(StoreError, match="closed"):
        log.append(make_event())
    log.close()


def test_several_logs_write_one_chain(database, engine, make_event):
    others = [connect(database, timeout=60) for _ in range(2)]
    logs = [EventLog(e, EventLog.Config(batch=3)) for e in [engine, *others]]
    batches = [[make_event() for _ in range(20)] for _ in logs]
    futures = []

    def send(log, batch):
        futures.extend(log.append(event) for event in batch)

    threads = [threading.Thread(target=send, args=pair) for pair in zip(logs, batches, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for log in logs:
        log.close()
    assert sorted(future.result(0) for future in futures) == list(range(1, 61))
    ids = stored_ids(engine)
    for batch in batches:  # each log keeps its own order
        assert [i for i in ids if i in {e.id for e in batch}] == [e.id for e in batch]
    with snapshot(engine) as connection:
        assert verify(connection).rows == 60
    for other in others:
        other.dispose()


def test_coroutines_are_acknowledged_and_cannot_take_events_along(engine, make_event):
    async def main(log):
        places = await asyncio.gather(*(log.record(make_event()) for _ in range(10)))
        assert sorted(places) == list(range(1, 11))
        leaving = asyncio.create_task(log.record(make_event(id="left")))
        await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving

    with EventLog(engine) as log:
        asyncio.run(main(log))
    assert stored_ids(engine)[-1] == "left"


def test_an_event_that_cannot_be_stored_fails_alone(engine, make_event):
    with EventLog(engine, EventLog.Config(linger=0.05)) as log:
        with pytest.raises(StoreError, match="score is nan"):
            log.append(make_event(score=float("nan")))
        good = log.append(make_event(id="twice"))
        bad = log.append(make_event(id="twice", score=0.75))
        again = log.append(make_event(id="last"))
        assert (good.result(60), again.result(60)) == (1, 2)
        with pytest.raises(StoreError, match="another event has this id"):
            bad.result(60)
        assert log.healthy


@pytest.fixture
def hold(database, engine):
    """Takes the write lock of the database until the returned function is called."""
    other = connect(database, timeout=60)
    held, free = threading.Event(), threading.Event()

    def keep():
        with writing(other) as connection:
            connection.execute(select(head).with_for_update())
            held.set()
            free.wait(60)

    thread = threading.Thread(target=keep)

    def take():
        thread.start()
        assert held.wait(60)
        return release

    def release():
        free.set()
        thread.join()

    yield take
    free.set()
    other.dispose()


def test_a_full_queue_pushes_back(engine, make_event, hold, until):
    release = hold()
    with EventLog(engine, EventLog.Config(queue=2, batch=2, linger=0)) as log:
        taken: list[Future[int]] = [log.append(make_event())]
        until(lambda: log.waiting == 0)  # this one is in the writer's hands
        taken += [log.append(make_event()), log.append(make_event())]
        assert not log.healthy
        with pytest.raises(StoreBusyError, match="2 events wait"):
            log.append(make_event())
        with pytest.raises(StoreBusyError):
            log.append(make_event(), wait=0.02)
        threading.Timer(0.05, release).start()
        assert asyncio.run(log.record(make_event(), wait=60)) == 4
        assert [future.result(60) for future in taken] == [1, 2, 3]
        assert log.healthy


def test_a_locked_database_refuses_and_comes_back(database, engine, make_event, hold, until):
    impatient = connect(database, timeout=0.1)
    with EventLog(impatient, QUICK) as log:
        assert log.append(make_event(id="before")).result(60) == 1
        release = hold()
        with pytest.raises(StoreUnavailableError, match="lock"):
            log.append(make_event(id="refused")).result(60)
        assert not log.healthy
        assert "lock" in str(log.failure)
        release()
        until(lambda: log.healthy)  # by itself: /readyz must not wait for traffic
        assert log.append(make_event(id="after")).result(60) == 2
    assert stored_ids(engine) == ["before", "after"]
    impatient.dispose()


def test_a_postgresql_that_vanishes_and_comes_back(postgresql, make_event, until):
    with Proxy("127.0.0.1", 5432) as proxy:
        engine = connect(postgresql.replace("127.0.0.1", f"127.0.0.1:{proxy.port}"), timeout=2)
        migrate(engine)
        with EventLog(engine, QUICK) as log:
            assert log.append(make_event(id="before")).result(60) == 1
            proxy.cut()
            with pytest.raises(StoreUnavailableError, match="OperationalError"):
                log.append(make_event(id="refused")).result(60)
            assert not log.healthy
            proxy.mend()
            until(lambda: log.healthy)
            assert log.append(make_event(id="after")).result(60) == 2
        assert stored_ids(engine) == ["before", "after"]
        engine.dispose()


def test_killed_connections_are_replaced(postgresql, postgres, make_event, until):
    engine = connect(postgresql.replace("options=", "application_name=doomed&options="))
    migrate(engine)
    with EventLog(engine, QUICK) as log:
        assert log.append(make_event()).result(60) == 1
        postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'doomed'"
        )
        assert log.append(make_event()).result(60) == 2
    engine.dispose()


def test_a_sqlite_file_that_is_moved_away_and_put_back(sqlite, tmp_path, make_event, until):
    engine = connect(sqlite)
    migrate(engine)
    path, away = tmp_path / "custodes.db", tmp_path / "away.db"
    with EventLog(engine, QUICK) as log:
        assert log.append(make_event(id="before")).result(60) == 1
        path.rename(away)
        with pytest.raises(StoreUnavailableError, match="unable to open"):
            log.append(make_event(id="refused")).result(60)
        assert not path.exists()  # an empty file in its place would hide the loss
        away.rename(path)
        until(lambda: log.healthy)
        assert log.append(make_event(id="after")).result(60) == 2
    assert stored_ids(engine) == ["before", "after"]
    engine.dispose()


def test_tables_that_vanish(engine, make_event, until):
    with EventLog(engine, QUICK) as log:
        with writing(engine) as connection:
            connection.execute(text("ALTER TABLE head RENAME TO beheaded"))
        with pytest.raises(StoreUnavailableError, match="head"):
            log.append(make_event()).result(60)
        with writing(engine) as connection:
            connection.execute(text("ALTER TABLE beheaded RENAME TO head"))
        until(lambda: log.healthy)
        assert log.append(make_event()).result(60) == 1


def test_text_is_dropped_unless_it_is_asked_for(engine, make_event):
    vault = Vault([new_vault_key()])
    with EventLog(engine, vault=vault) as log:
        log.append(make_event(text="mild words")).result(60)
    with reading(engine) as connection:
        (stored,) = latest(connection, cipher=vault)
    assert (stored.sealed, stored.event.text) == (False, None)


def test_text_at_rest_is_encrypted(database, engine, make_event, tmp_path):
    old, new = new_vault_key(), new_vault_key()
    keep = EventLog.Config(keep_text=True)
    words = "mild words \0 \ud800 \U0001f600"
    with EventLog(engine, keep, vault=Vault([old])) as log:
        log.append(make_event(text=words)).result(60)
    with EventLog(engine, keep, vault=Vault([new, old])) as log:
        log.append(make_event(text="after the rotation")).result(60)
        log.append(make_event()).result(60)
    with snapshot(engine) as connection:
        assert verify(connection).ok
        assert [s.event.text for s in stream(connection, cipher=Vault([new, old]))] == [
            words,
            "after the rotation",
            None,
        ]
        dropped = list(stream(connection, cipher=Vault([new])))
        assert [s.event.text for s in dropped] == [None, "after the rotation", None]
        assert [s.sealed for s in dropped] == [True, True, False]
        assert not any(s.event.text for s in stream(connection))
    if engine.dialect.name == "sqlite":
        for file in Path(tmp_path).glob("custodes.db*"):
            assert b"mild" not in file.read_bytes()


def test_keeping_text_needs_a_key(engine):
    with pytest.raises(ConfigError, match="CUSTODES_STORE_KEY"):
        EventLog(engine, EventLog.Config(keep_text=True))


def test_a_writer_that_dies_leaves_nobody_waiting(sqlite, make_event, monkeypatch, until):
    engine = connect(sqlite)
    migrate(engine)
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    log = EventLog(engine, EventLog.Config(linger=0.2, batch=1))

    def broken(**options):
        raise ZeroDivisionError

    engine.execution_options = broken
    futures = [log.append(make_event()) for _ in range(3)]
    wait(futures, 60)
    for future in futures:
        with pytest.raises(StoreError, match="stopped"):
            future.result(0)
    assert not log.healthy
    log.close()
    engine.dispose()


def test_a_sqlite_database_from_outside(sqlite, make_event, tmp_path):
    engine = connect(sqlite)
    migrate(engine)
    with EventLog(engine) as log:
        log.append(make_event()).result(60)
    with sqlite3.connect(tmp_path / "custodes.db") as plain:
        assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert plain.execute("SELECT count(*) FROM events").fetchone() == (1,)
    plain.close()
    engine.dispose()
