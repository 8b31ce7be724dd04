"""Processes that die, disks that fill: every acknowledged event is there and the chain verifies."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import select

from custodes.errors import StoreUnavailableError
from custodes.store import EventLog, connect, migrate, reading, snapshot, verify
from custodes.store.tables import events

HERE = Path(__file__).parent


def start(script, *arguments):
    return subprocess.Popen(
        [sys.executable, str(HERE / script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stored(engine):
    with snapshot(engine) as connection:
        found = verify(connection)
        assert found.ok, found
        ids = set(connection.scalars(select(events.c.id)))
    assert len(ids) == found.rows  # no gaps: as many as the last seq says
    assert found.last.seq == found.rows
    return ids


def kill_writers(database, engine, *, rounds, seed):
    """Two processes a round, each killed at a moment of its own; returns what was acknowledged."""
    chance = random.Random(seed)
    acknowledged = set()
    for number in range(rounds):
        writers = [start("store_crash_writer.py", database, f"{number}{side}") for side in "ab"]
        for writer in writers:
            for _ in range(chance.randint(1, 120)):
                line = writer.stdout.readline()
                assert line.endswith("\n")
                acknowledged.add(line[:-1])
            time.sleep(chance.random() * 0.03)
            writer.send_signal(signal.SIGKILL)
            # Not communicate(): it would pass over what readline() has already buffered.
            with writer.stdout, writer.stderr:
                rest, complaints = writer.stdout.read(), writer.stderr.read()
            writer.wait(60)
            assert complaints == ""
            # A line that was cut off by the kill acknowledges nothing.
            acknowledged.update(line[:-1] for line in rest.splitlines(True) if line.endswith("\n"))
        assert acknowledged <= stored(engine)
    return acknowledged


def test_kill_9_loses_nothing_acknowledged(database, engine):
    assert len(kill_writers(database, engine, rounds=1, seed=1)) >= 2


@pytest.mark.slow
def test_kill_9_again_and_again(database, engine):
    assert len(kill_writers(database, engine, rounds=15, seed=2)) >= 30


@pytest.mark.parametrize("way", ["close", "exit"])
def test_sigterm_flushes(database, engine, way):
    writer = start("store_sigterm_writer.py", database, way)
    assert writer.stdout.readline() == "ready\n"
    assert stored(engine) == set()
    writer.terminate()
    _, complaints = writer.communicate(timeout=60)
    assert (writer.returncode, complaints) == (0, "")
    assert stored(engine) == {f"e{n}" for n in range(30)}


def test_a_file_that_may_not_grow(sqlite, tmp_path):
    engine = connect(sqlite)
    migrate(engine)
    writer = start("store_full_writer.py", sqlite, str(tmp_path / "custodes.db"))
    out, complaints = writer.communicate(timeout=120)
    assert writer.returncode == 0, complaints
    assert "refused" in complaints
    assert len(out.split()) > 2
    # Every acknowledged event, and not the one that was refused.
    assert stored(engine) == set(out.split())
    engine.dispose()


def test_a_disk_that_is_full(tmp_path, make_event, until):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system can only be mounted by root")
    try:
        engine = connect(f"sqlite:///{disk / 'custodes.db'}")
        migrate(engine)
        ballast = disk / "ballast"
        acknowledged = set()
        with EventLog(engine, EventLog.Config(probe=0.05)) as log:
            acknowledged.add(log.append(make_event(id="first")).result(60))
            with pytest.raises(OSError, match="No space"), ballast.open("wb", buffering=0) as file:
                while file.write(b"\0" * 4096):
                    pass
            refused = log.append(make_event(id="refused", failure="x" * 50_000))
            with pytest.raises(StoreUnavailableError, match="full"):
                refused.result(60)
            assert not log.healthy
            ballast.unlink()
            until(lambda: log.healthy)
            log.append(make_event(id="last")).result(60)
        assert stored(engine) == {"first", "last"}
        engine.dispose()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_killed_process_leaves_no_lock(database, engine, make_event):
    code = (
        "import sys, time\n"
        "from custodes.store import connect, writing\n"
        "from custodes.store.tables import head\n"
        "from sqlalchemy import select\n"
        "with writing(connect(sys.argv[1])) as connection:\n"
        "    connection.execute(select(head).with_for_update())\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, database], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    holder.communicate(timeout=60)
    with EventLog(engine) as log:
        assert log.append(make_event()).result(60) == 1
    with reading(engine) as connection:
        assert connection.scalar(select(events.c.seq)) == 1
