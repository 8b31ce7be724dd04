"""`custodes serve` as a process: starts, reloads, drains, keeps what it acknowledged."""

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
import yaml
from server_doubles import MARKER, finishes, make_guard, said

from custodes.guard import save_guard
from custodes.models.sse import EventDecoder
from custodes.server.auth import hash_key
from custodes.server.scripted import Script, ScriptedUpstream

SERVE = "from custodes.cli.serve import serve; import typer; typer.run(serve)"


@pytest.fixture
def guard_folder(tmp_path):
    guard = make_guard()
    stage = tmp_path / "stage"
    guard.cascade.stages[0].scorer.save(stage)
    save_guard(tmp_path / "guard", guard, scorers={"scripted": stage}, card="a double")
    return tmp_path / "guard"


@contextmanager
def process(tmp_path, upstream, guard_folder, *flags, **settings):
    config = tmp_path / "serve.yaml"
    values = {
        "guard": guard_folder and str(guard_folder),
        "upstreams": {"main": {"url": upstream.url, "kind": "both"}},
        "port": 0,
        "no_auth": True,
        "database": f"sqlite:///{tmp_path / 'custodes.db'}",
        **settings,
    }
    config.write_text(yaml.safe_dump(values))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SERVE, "--config", str(config), *flags]
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        line = child.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, line + child.stderr.read()
        with httpx2.Client(base_url=found[0], timeout=20, trust_env=False) as http:
            until = time.monotonic() + 120
            while True:
                try:
                    if http.get("/readyz").status_code == 200:
                        break
                except httpx2.TransportError:
                    pass
                assert time.monotonic() < until
                time.sleep(0.05)
            yield child, http
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
        child.communicate(timeout=40)


def chat(http, script):
    messages = [{"role": "user", "content": script.prompt()}]
    body = {"model": "m", "stream": True, "messages": messages}
    decoder = EventDecoder()
    found = []
    with http.stream("POST", "/v1/chat/completions", json=body) as response:
        for data in response.iter_bytes():
            found += decoder.push(data)
    return [json.loads(event.data) for event in found if event.data != "[DONE]"]


def stored(tmp_path):
    from custodes.store import connect, reading, stream, verify

    engine = connect(f"sqlite:///{tmp_path / 'custodes.db'}", create=False)
    with reading(engine) as connection:
        events = [found.event for found in stream(connection)]
        assert verify(connection).ok
    engine.dispose()
    return events


def test_it_serves_reloads_and_drains(tmp_path, upstream, guard_folder):
    with process(tmp_path, upstream, guard_folder) as (child, http):
        chunks = chat(http, Script(pieces=("Here is ", MARKER)))
        assert (said(chunks), finishes(chunks)) == ("Here is ", ["content_filter"])
        child.send_signal(signal.SIGHUP)
        until = time.monotonic() + 5
        while 'reloads_total{outcome="done"} 1' not in http.get("/metrics").text:
            assert time.monotonic() < until
            time.sleep(0.05)
        found = []
        script = Script(pieces=("a ", "b ", "c "), delay=0.4)
        streaming = threading.Thread(target=lambda: found.append(chat(http, script)))
        streaming.start()
        time.sleep(0.5)
        child.send_signal(signal.SIGTERM)
        streaming.join(10)
        assert said(found[0]) == "a b c "
        assert child.wait(20) == 0
    assert len(stored(tmp_path)) == 4


@contextmanager
def client(http, token=None):
    """A connection of its own, which any worker may take."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    with httpx2.Client(
        base_url=http.base_url, headers=headers, timeout=60, trust_env=False
    ) as fresh:
        yield fresh


def redis_url():
    port = os.environ.get("CUSTODES_TEST_REDIS", "6379")
    try:
        socket.create_connection(("127.0.0.1", int(port)), timeout=1).close()
    except OSError:
        pytest.skip(f"no Redis on 127.0.0.1:{port}")
    return f"redis://127.0.0.1:{port}"


def save(folder, version):
    """A guard of this version behind a name that settings can keep."""
    guard = make_guard(version=version)
    guard.cascade.stages[0].scorer.save(folder / f"stage{version}")
    made = folder / f"guard{version}"
    save_guard(made, guard, scorers={"scripted": folder / f"stage{version}"}, card="a double")
    link = folder / "new"
    link.symlink_to(made)
    link.replace(folder / "guard")
    return folder / "guard"


def constitutions(http, rounds=12):
    """What new connections are judged by."""
    found = set()
    for _ in range(rounds):
        with client(http) as fresh:
            found.add(fresh.get("/readyz").json()["guard"]["constitution"])
    return found


@pytest.mark.slow
def test_several_workers_are_one_gateway(tmp_path, upstream, monkeypatch):
    """Keys, limits and the chain are shared; reloads reach all; a drain loses nothing."""
    from custodes.store import KeyMode, KeyRole, connect, create_key, migrate, writing

    engine = connect(f"sqlite:///{tmp_path / 'custodes.db'}")
    migrate(engine)
    with writing(engine) as connection:
        _, token = create_key(
            connection, "a", role=KeyRole.CLIENT, mode=KeyMode.ENFORCE, now=time.time()
        )
    engine.dispose()
    unlimited = f"unlimited-{secrets.token_hex(8)}"
    key = {"id": unlimited, "sha256": hash_key(unlimited), "per_minute": 1_000_000}
    monkeypatch.setenv("CUSTODES_TEST_LIMITS", redis_url())
    settings = {
        "no_auth": False,
        "keys": [key],
        "redis_url_env": "CUSTODES_TEST_LIMITS",
        "per_minute": 1,
        "burst": 5,
    }
    with process(tmp_path, upstream, save(tmp_path, "1"), "--workers", "2", **settings) as (
        child,
        http,
    ):
        body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
        statuses = []
        for _ in range(12):
            with client(http, token) as fresh:
                statuses.append(fresh.post("/v1/chat/completions", json=body).status_code)
        assert statuses == [200] * 5 + [429] * 7  # one bucket, whichever worker took it
        with client(http) as fresh:
            assert fresh.post("/v1/chat/completions", json=body).status_code == 401
        assert constitutions(http) == {"bakery@1"}
        save(tmp_path, "2")
        child.send_signal(signal.SIGHUP)
        until = time.monotonic() + 30
        while constitutions(http) != {"bakery@2"}:
            assert time.monotonic() < until
        found = []

        def streaming():
            with client(http, unlimited) as fresh:
                found.append(said(chat(fresh, Script(pieces=("a ", "b ", "c "), delay=0.5))))

        threads = [threading.Thread(target=streaming) for _ in range(6)]
        for thread in threads:
            thread.start()
        running = 0
        until = time.monotonic() + 20
        while running < 6:  # the metrics of both, added up
            assert time.monotonic() < until
            running = int(re.search(r"requests_open (\d+)", http.get("/metrics").text)[1])
        child.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(30)
        assert found == ["a b c "] * 6
        assert child.wait(40) == 0
    events = stored(tmp_path)
    assert len(events) == 2 * (5 + 6)
    assert {event.versions["constitution"] for event in events} == {"bakery@1", "bakery@2"}


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced(tmp_path, upstream, guard_folder):
    with process(tmp_path, upstream, guard_folder, "--workers", "2") as (child, http):
        workers = [
            int(pid)
            for pid in Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
        ]
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        until = time.monotonic() + 60
        while True:
            now = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
            if len(now) == 2 and str(workers[0]) not in now:
                break
            assert time.monotonic() < until
            time.sleep(0.1)
        for _ in range(6):
            with client(http) as fresh:
                assert said(chat(fresh, Script())) == "Hello there."
    assert len(stored(tmp_path)) == 12


@pytest.mark.slow
def test_workers_end_after_a_parent_that_was_killed(tmp_path, upstream, guard_folder):
    with process(tmp_path, upstream, guard_folder, "--workers", "2") as (child, http):
        assert said(chat(http, Script())) == "Hello there."
        workers = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
        child.kill()
        until = time.monotonic() + 60
        while any(Path(f"/proc/{pid}").exists() for pid in workers):
            assert time.monotonic() < until
            time.sleep(0.1)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--port", "70000"], "port"),
        (["--guard", "nowhere"], "no guard found"),
        (["--upstream", "x"], "expected embedded or NAME=URL"),
        (["--upstream", "x=ftp://y"], "URL scheme"),
        (["--no-auth", "--host", "0.0.0.0"], "localhost only"),
        (["--config", "missing.yaml"], "cannot be read"),
        (["--set", "database=none"], "no API keys"),
        (["--set", "colour=blue"], "colour"),
    ],
)
def test_bad_settings_are_said_in_one_line(flags, message):
    from custodes.cli.serve import serve
    from custodes.errors import CustodesError

    given = {"guard": "none", "port": 0, "settings": []}
    names = {"--port": "port", "--guard": "guard", "--host": "host"}
    for flag, value in zip(flags, [*flags[1:], None], strict=True):
        if flag in names:
            given[names[flag]] = int(value) if flag == "--port" else value
        elif flag == "--upstream":
            given["upstream"] = [value]
        elif flag == "--config":
            from pathlib import Path

            given["config"] = Path(value)
        elif flag == "--set":
            given["settings"].append(value)
        elif flag == "--no-auth":
            given["no_auth"] = True
    if "--guard" in flags:
        given.update(no_auth=True, settings=["database=none"])
    with pytest.raises(CustodesError, match=message):
        serve(**given)


def test_a_taken_port_is_said_to_be_taken(running):
    from custodes.cli.serve import serve
    from custodes.errors import ConfigError

    with pytest.raises(ConfigError, match="choose another"):
        serve(port=int(running.url.rpartition(":")[2]), guard="none", no_auth=True)


def test_the_double_says_when_its_port_is_taken(running):
    from custodes.errors import ConfigError

    with pytest.raises(ConfigError, match="choose another"):
        ScriptedUpstream(port=int(running.url.rpartition(":")[2])).__enter__()


@pytest.mark.slow
def test_workers_that_cannot_start_end_the_gateway_with_their_words(tmp_path):
    flags = ["--workers", "2", "--guard", str(tmp_path / "nowhere"), "--no-auth", "--port", "0"]
    command = [sys.executable, "-c", "from custodes.cli import main; main()", "serve", *flags]
    done = subprocess.run(
        [*command, "--set", "database=none"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "no guard found" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_an_interrupt_lets_streams_of_every_worker_end(tmp_path, upstream, guard_folder):
    with process(tmp_path, upstream, guard_folder, "--workers", "2") as (child, http):
        found = []
        script = Script(pieces=("a ", "b ", "c "), delay=0.5)
        streaming = threading.Thread(target=lambda: found.append(chat(http, script)))
        streaming.start()
        time.sleep(0.5)
        child.send_signal(signal.SIGINT)
        streaming.join(20)
        assert said(found[0]) == "a b c "
        assert child.wait(30) == 0
