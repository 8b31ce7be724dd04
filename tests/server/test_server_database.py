"""A gateway whose database, upstream or clock misbehaves: nothing leaks, /readyz says how it is."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import httpx2
import pytest
from server_doubles import MARKER, Running, finishes, gateway, make_guard, said

from custodes.server.app import build_app, build_parts
from custodes.server.config import GatewayConfig
from custodes.server.demonstration import serve_in_thread
from custodes.server.persistence import DatabaseRecords, DatabaseSink
from custodes.server.scripted import Script
from custodes.server.service import Clock
from custodes.store import EventLog, connect, migrate, reading, stream, verify


@contextmanager
def recording(upstream, path, *, now=None, **settings):
    """A gateway with a real database that soon gives up waiting for it."""
    engine = connect(f"sqlite:///{path}", timeout=0.2)
    migrate(engine)
    log = EventLog(engine, EventLog.Config(probe=0.05))
    sink = DatabaseSink(log, engine, DatabaseRecords(engine, vault=None, now=time.time))
    values = {"upstreams": {"main": {"url": upstream.url}}, "no_auth": True, **settings}
    config = GatewayConfig.parse(values)
    parts = build_parts(config, sink=sink, loader=lambda _: make_guard())
    if now is not None:
        parts = replace(parts, clock=Clock(now=now))
    app = build_app(config, parts)
    with serve_in_thread(app) as url, httpx2.Client(timeout=20, trust_env=False) as http:
        yield Running(url, sink, upstream, app, http)


def stored(path):
    engine = connect(f"sqlite:///{path}", create=False)
    with reading(engine) as connection:
        events = [found.event for found in stream(connection)]
        assert verify(connection).ok
    engine.dispose()
    return events


def ready(running):
    answer = running.http.get(running.url + "/readyz")
    return answer.status_code, answer.json()["problems"]


@contextmanager
def locked(path):
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    yield
    holder.execute("ROLLBACK")
    holder.close()


@contextmanager
def gone(path):
    away = path.with_name("away.db")
    for suffix in ("", "-wal", "-shm"):
        if (found := path.with_name(path.name + suffix)).exists():
            found.rename(path.with_name(away.name + suffix))
    yield
    for suffix in ("", "-wal", "-shm"):
        if (found := away.with_name(away.name + suffix)).exists():
            found.rename(path.with_name(path.name + suffix))


@pytest.mark.parametrize("trouble", [locked, gone])
def test_a_database_in_trouble_is_said_and_what_was_acknowledged_stays(upstream, tmp_path, trouble):
    path = tmp_path / "events.db"
    with recording(upstream, path) as running:
        assert said(running.chat(Script())) == "Hello there."
        running.wait_for(lambda: len(stored(path)) == 2)
        before = {event.id for event in stored(path)}
        with trouble(path):
            # verdicts go on, whatever becomes of their record
            chunks = running.chat(Script(pieces=("Here is ", MARKER)))
            assert (said(chunks), finishes(chunks)) == ("Here is ", ["content_filter"])
            running.wait_for(lambda: ready(running)[0] == 503, 20)
            assert ready(running)[1] == ["events cannot be recorded"]
            metrics = running.url + "/metrics"
            running.wait_for(lambda: "events_lost_total 2" in running.http.get(metrics).text, 20)
        # it comes back by itself: nobody is sent here while it is not ready
        running.wait_for(lambda: ready(running) == (200, []), 20)
        running.chat(Script())
        running.wait_for(lambda: len(stored(path)) == 4)
    assert before <= {event.id for event in stored(path)}


def test_a_clock_that_steps_back_loses_nothing(upstream, tmp_path):
    times = [1_700_000_000.0]
    path = tmp_path / "events.db"
    settings = {"per_minute": 1, "burst": 3}
    with recording(upstream, path, now=lambda: times[0], **settings) as running:
        running.chat(Script())
        times[0] -= 86_400
        assert finishes(running.chat(Script(pieces=("a ", MARKER)))) == ["content_filter"]
        assert ready(running) == (200, [])
        # limits follow a clock that cannot step back: neither given back nor taken away
        running.chat(Script())
        messages = [{"role": "user", "content": "hello"}]
        body = {"model": "m", "messages": messages}
        assert running.post("/v1/chat/completions", body).status_code == 429
    events = stored(path)
    assert [event.at for event in events] == [1_700_000_000.0] * 2 + [1_699_913_600.0] * 4
    assert all(event.latency_ms >= 0 for event in events)


UPSTREAM = (
    "import time\n"
    "from custodes.server.scripted import ScriptedUpstream\n"
    "with ScriptedUpstream() as upstream:\n"
    "    print(upstream.url, flush=True)\n"
    "    time.sleep(600)\n"
)


def test_an_upstream_that_is_killed_leaks_nothing(upstream):
    child = subprocess.Popen([sys.executable, "-c", UPSTREAM], stdout=subprocess.PIPE, text=True)
    url = child.stdout.readline().strip()
    with gateway(upstream, upstreams={"main": {"url": url}}) as running:
        found = []
        # the harm's beginning has come, and its end never does
        script = Script(pieces=("Here is the ", MARKER[:-1], "x"), delay=1)
        asking = threading.Thread(target=lambda: found.append(running.chat(script)))
        asking.start()
        running.wait_for(lambda: running.sink.events, 20)  # its input was judged
        asking.join(2.5)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        asking.join(20)
        (chunks,) = found
        assert chunks[-1]["error"]["code"] == "upstream_error"
        assert MARKER[:-1] not in said(chunks)
        body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
        assert running.post("/v1/chat/completions", body).status_code == 502
        # an upstream's death is not the gateway's: it is ready, and counts
        assert running.http.get(running.url + "/readyz").status_code == 200
        page = running.http.get(running.url + "/metrics").text
        assert 'custodes_upstream_errors_total{kind="ModelServerError",upstream="main"} 2' in page
    child.stdout.close()


def test_a_log_that_has_stopped_is_said(upstream, tmp_path):
    path = tmp_path / "events.db"
    with recording(upstream, path) as running:
        asyncio.run(running.sink.close())
        assert ready(running) == (503, ["events cannot be recorded"])
        assert said(running.chat(Script())) == "Hello there."
