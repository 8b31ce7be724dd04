"""The local engine: ordered, lazy, bounded; a worker's death costs nothing; nobody is orphaned."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from itertools import count, islice
from pathlib import Path

import engine_workers as workers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custodes.config import Config
from custodes.engine import ENGINES, open_engine
from custodes.errors import ConfigError, EngineError

LocalEngine = ENGINES.load("local")
KINDS = ("serial", "thread", "process")


def engine(**settings):
    return LocalEngine(LocalEngine.Config.parse({"workers": 2, "batch_size": 4, **settings}))


@settings(deadline=None, max_examples=50)
@given(
    rows=st.lists(st.integers()),
    kind=st.sampled_from(["serial", "thread"]),
    batch_size=st.integers(1, 7),
    in_flight=st.integers(1, 5),
)
def test_results_come_in_the_order_of_the_rows(rows, kind, batch_size, in_flight):
    tried = engine(kind=kind, batch_size=batch_size, in_flight=in_flight)
    assert list(tried.map(workers.squares, rows)) == [row * row for row in rows]


@pytest.mark.parametrize("number", [0, 1, 103])
def test_processes_give_the_same(number):
    assert list(engine().map(workers.squares, range(number))) == [i * i for i in range(number)]


def test_large_rows_and_results_pass():
    rows = [bytes([i]) * 300_000 for i in range(6)]
    assert list(engine(batch_size=1).map(partial(workers.slow, 0), rows)) == rows


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_read_only_so_far_ahead(kind):
    read = []

    def rows():
        for row in count():
            read.append(row)
            yield row

    results = engine(kind=kind, in_flight=3).map(workers.squares, rows())
    assert read == []
    for given_back, result in enumerate(islice(results, 50)):
        assert result == given_back * given_back
        # three batches of four, counted from the batch that is being given back
        assert len(read) <= (given_back // 4 + 3) * 4
    results.close()


def test_the_function_is_built_once_a_worker():
    results = list(engine(batch_size=1).map(workers.pids, range(40)))
    assert len({pid for pid, _ in results}) <= 2
    assert os.getpid() not in {pid for pid, _ in results}
    assert {built for _, built in results} == {"1"}


def test_threads_of_torch_and_openmp_are_limited():
    assert set(engine(torch_threads=3).map(workers.threads, range(4))) == {"3"}


@pytest.mark.slow
def test_torch_itself_is_limited():
    assert set(engine(torch_threads=1).map(workers.torch_threads, range(4))) == {1}


@pytest.mark.parametrize("kind", KINDS)
def test_an_exception_names_rows_and_cause(kind):
    results = engine(kind=kind).map(partial(workers.failing, 9), range(20))
    with pytest.raises(
        EngineError, match=r"^rows 8 to 11 could not.*ValueError: cannot do 9"
    ) as caught:
        list(results)
    assert "_fail_at" in caught.value.__notes__[0]
    one = engine(kind=kind, batch_size=1).map(partial(workers.failing, 3), range(20))
    assert list(islice(one, 3)) == [0, 1, 2]
    with pytest.raises(EngineError, match=r"^row 3 could not"):
        next(one)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (workers.short, "gave 3 results for 4 rows"),
        (workers.broken, "LookupError: no model here"),
    ],
)
def test_a_wrong_function_is_an_engine_error(kind, factory, said):
    with pytest.raises(EngineError, match=f"rows 0 to 3 .*{said}"):
        list(engine(kind=kind).map(factory, range(10)))


def test_what_cannot_be_pickled_is_said():
    with pytest.raises(EngineError, match=r"the factory .* cannot be sent to a process"):
        engine().map(lambda: len, [1])
    results = engine(batch_size=1).map(workers.squares, [1, lambda: 1])
    assert next(results) == 1
    with pytest.raises(EngineError, match=r"row 1 could not be done: .*lambda"):
        next(results)
    for factory in (workers.unpicklable_results, workers.trapped_results):
        with pytest.raises(EngineError, match="rows 0 to 1 could not be done"):
            list(engine().map(factory, [1, 2]))
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_a_worker_that_dies_loses_nothing(tmp_path, how):
    factory = partial(workers.dying_once, str(tmp_path / "died"), 57, how)
    assert list(engine().map(factory, range(100))) == [i * i for i in range(100)]
    assert (tmp_path / "died").exists()


def test_a_worker_that_is_killed_while_idle_loses_nothing():
    results = engine(workers=1, in_flight=1).map(workers.pids, range(12))
    pid, _ = next(results)
    os.kill(pid, signal.SIGKILL)
    others = [other for other, _ in results]
    assert len(others) == 11
    assert len(set(others) - {pid}) == 1


def test_rows_that_kill_every_worker_are_named():
    results = engine(retries=1).map(partial(workers.dying, 9), range(20))
    with pytest.raises(EngineError, match=r"rows 8 to 11 .* each of 2 workers .* exit status 7"):
        list(results)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("kind", KINDS)
def test_closing_the_results_ends_the_workers(kind):
    results = engine(kind=kind).map(workers.squares, count())
    next(results)
    results.close()
    assert multiprocessing.active_children() == []


def test_settings_are_checked():
    for wrong in ({"kind": "fork"}, {"batch_size": 0}, {"workers": -1}, {"speed": 1}):
        with pytest.raises(ConfigError):
            engine(**wrong)
    assert list(engine(workers=0, kind="thread").map(workers.squares, [3])) == [9]


SCRIPT = """
import sys
sys.path.insert(0, {here!r})
from functools import partial
import engine_workers as workers
from custodes.engine.local import LocalEngine

if __name__ == "__main__":
    settings = LocalEngine.Config(workers=2, batch_size=1)
    print("started", flush=True)
    list(LocalEngine(settings).map(partial(workers.logged, sys.argv[1], {seconds}), range(10_000)))
"""


@pytest.mark.parametrize(
    ("sign", "seconds"), [(signal.SIGINT, 0.05), (signal.SIGKILL, 0.05), (signal.SIGTERM, 3600)]
)
def test_no_worker_outlives_its_parent(tmp_path, sign, seconds):
    script = tmp_path / "script.py"
    here = str(Path(__file__).parent)
    script.write_text(textwrap.dedent(SCRIPT).format(here=here, seconds=seconds))
    done = tmp_path / "done"
    done.mkdir()
    parent = subprocess.Popen(
        [sys.executable, str(script), str(done)], stderr=subprocess.PIPE, start_new_session=True
    )
    pids = wait_for(lambda: {int(file.name.split("-")[1]) for file in done.iterdir()}, 2)
    if sign == signal.SIGINT:  # as a terminal does it: to the whole group
        os.killpg(parent.pid, sign)
    else:
        parent.send_signal(sign)
    said = parent.communicate(timeout=90)[1].decode()
    assert said.count("KeyboardInterrupt") == (1 if sign == signal.SIGINT else 0)
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "a worker is still there"
        time.sleep(0.05)


def wait_for(seen, least):
    deadline = time.monotonic() + 30
    while len(found := seen()) < least:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


class OneAtATime:
    """An engine of a stranger's, without `batch_size`."""

    class Config(Config):
        """Its settings."""

        name: str = ""

    def __init__(self, config):
        self.config = config


def test_an_engine_gets_only_defaults_that_it_knows(monkeypatch):
    assert open_engine("local", batch_size=1, kind="serial").config.batch_size == 1
    given = open_engine("local", {"batch_size": 3, "kind": "serial"}, batch_size=1)
    assert given.config.batch_size == 3
    path = f"{__name__}:OneAtATime"
    assert open_engine(path, {"name": "own"}, batch_size=1).config.name == "own"
    with pytest.raises(ConfigError, match="here: "):
        open_engine(path, {"batch_size": 1}, origin="here")
