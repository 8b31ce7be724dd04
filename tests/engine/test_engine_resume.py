"""Resumable maps: what is done stays done, whenever the process is killed."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import islice
from pathlib import Path

import engine_workers as workers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custodes.config import Config
from custodes.engine import ENGINES
from custodes.engine.resume import identify, kept_map, resumable_map
from custodes.errors import ArtifactError, EngineError

LocalEngine = ENGINES.load("local")
SERIAL = LocalEngine(LocalEngine.Config(kind="serial", batch_size=3))


def seen(folder):
    return Counter(int(file.name.split("-")[0]) for file in folder.iterdir())


@pytest.fixture
def log(tmp_path):
    (tmp_path / "log").mkdir()
    return tmp_path / "log"


def run(log, output, rows, **more):
    factory = partial(workers.logged, str(log))
    return resumable_map(SERIAL, factory, rows, output, **{"shard_rows": 10, **more})


def test_a_second_run_does_nothing_again(tmp_path, log):
    expected = [[row, row * row] for row in range(25)]
    assert list(run(log, tmp_path / "out", range(25))) == expected
    assert list(run(log, tmp_path / "out", iter(range(25)))) == expected
    assert seen(log) == Counter(range(25))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    lengths = [
        len((tmp_path / "out" / name).read_text().splitlines()) for name in manifest["shards"]
    ]
    assert lengths == [10, 10, 5]


def test_results_in_files_of_their_own_are_made_once(tmp_path, log):
    factory, paths = partial(workers.logged, str(log)), [tmp_path / f"{n}.json" for n in range(5)]
    told = []
    assert kept_map(SERIAL, factory, [1, 3], paths[1:4:2]) == [[1, 1], [3, 9]]
    found = kept_map(SERIAL, factory, range(5), paths, told=lambda n, one: told.append((n, one)))
    assert found == [[n, n * n] for n in range(5)]
    assert told == [(n, [n, n * n]) for n in (0, 2, 4)]
    assert seen(log) == Counter(range(5))
    paths[2].write_text("[2, 4")
    with pytest.raises(ArtifactError, match=r"2\.json: cannot be read"):
        kept_map(SERIAL, factory, range(5), paths)


@settings(deadline=None, max_examples=50)
@given(stops=st.lists(st.integers(0, 30), max_size=4), shard_rows=st.integers(1, 12))
def test_whoever_stops_anywhere_gets_the_same(tmp_path_factory, stops, shard_rows):
    output = tmp_path_factory.mktemp("out")
    for stop in stops:
        part = resumable_map(SERIAL, workers.squares, range(30), output, shard_rows=shard_rows)
        assert list(islice(part, stop)) == [row * row for row in range(stop)]
        part.close()
    whole = resumable_map(SERIAL, workers.squares, range(30), output, shard_rows=shard_rows)
    assert list(whole) == [row * row for row in range(30)]


def test_only_what_changed_is_done_again(tmp_path, log):
    rows = list(range(30))
    list(run(log, tmp_path / "out", rows))
    rows[15] = 99
    assert list(run(log, tmp_path / "out", rows))[15] == [99, 99 * 99]
    again = seen(log) - Counter(range(30))
    assert again == Counter([*range(10, 15), 99, *range(16, 20)])


def test_a_row_is_found_wherever_it_stands_now(tmp_path, log):
    list(run(log, tmp_path / "out", [1, 3], shard_rows=1))
    found = list(run(log, tmp_path / "out", [0, 1, 2, 3], shard_rows=1))
    assert found == [[row, row * row] for row in range(4)]
    assert seen(log) == Counter(range(4))


def test_another_factory_is_another_work(tmp_path, log):
    list(run(log, tmp_path / "out", range(10)))
    list(run(log, tmp_path / "out", range(10), identity="version 2"))
    assert seen(log) == Counter(list(range(10)) * 2)
    other = resumable_map(SERIAL, workers.squares, range(10), tmp_path / "out", shard_rows=10)
    assert list(other) == [row * row for row in range(10)]


SCRIPT = """
import sys
from functools import partial
from pathlib import Path
sys.path.insert(0, {here!r})
import engine_workers as workers
from custodes.engine.local import LocalEngine
from custodes.engine.resume import resumable_map

if __name__ == "__main__":
    log, output = sys.argv[1:]
    engine = LocalEngine(LocalEngine.Config(kind={kind!r}, workers=2, batch_size=2))
    factory = partial(workers.logged, log, 0.01)
    for result in resumable_map(engine, factory, range(200), Path(output), shard_rows=10):
        pass
"""


@pytest.mark.parametrize("kind", ["serial", "process"])
def test_kill_9_costs_the_shard_under_way_at_most(tmp_path, log, kind):
    script, output = tmp_path / "script.py", tmp_path / "out"
    script.write_text(SCRIPT.format(here=str(Path(__file__).parent), kind=kind))
    command = [sys.executable, str(script), str(log), str(output)]
    for rows_done in (40, 90):
        child = subprocess.Popen(command)
        deadline = time.monotonic() + 30
        while len(seen(log)) < rows_done:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
        child.wait()
    factory = partial(workers.logged, str(log), 0.01)
    results = list(resumable_map(SERIAL, factory, range(200), output, shard_rows=10))
    assert results == [[row, row * row] for row in range(200)]
    done = seen(log)
    assert set(done) == set(range(200))
    ahead = 10 if kind == "serial" else 10 + 8 * 2  # the shard under way, the batches in flight
    assert sum(done.values()) - 200 <= 2 * ahead


def test_results_are_json_fresh_or_stored(tmp_path):
    for _ in range(2):
        pairs = resumable_map(SERIAL, pair, [1, 2], tmp_path / "out")
        assert list(pairs) == [[1, "x"], [2, "x"]]
    with pytest.raises(EngineError, match="rows 0 to 1: a result is no JSON value"):
        list(resumable_map(SERIAL, workers.unpicklable_results, [1, 2], tmp_path / "out"))


def pair():
    return lambda rows: [(row, "x") for row in rows]


def test_a_damaged_shard_is_refused(tmp_path):
    output = tmp_path / "out"
    list(resumable_map(SERIAL, workers.squares, range(4), output))
    (shard,) = output.glob("*.jsonl")
    shard.write_text("0\n1\n")
    with pytest.raises(EngineError, match="got 2 results, expected 4; delete it"):
        list(resumable_map(SERIAL, workers.squares, range(4), output))
    shard.write_text("{")
    with pytest.raises(EngineError, match="cannot be read"):
        list(resumable_map(SERIAL, workers.squares, range(4), output))


def test_wrong_arguments(tmp_path):
    with pytest.raises(EngineError, match="shard_rows: got 0"):
        list(resumable_map(SERIAL, workers.squares, [], tmp_path, shard_rows=0))
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match="cannot be written"):
        list(resumable_map(SERIAL, workers.squares, [1], tmp_path / "file"))


@dataclass
class Row:
    name: str
    parts: tuple[int, ...]


class Setting(Config):
    depth: int = 1


class Color(StrEnum):
    RED = "red"


def test_values_are_told_apart():
    values = [
        None, True, 1, 1.5, "1", ["1"], {"a": 1}, b"1", Path("1"), Color.RED, Setting(),
        Setting(depth=2), Row("a", (1,)), Row("a", (2,)), Row, workers.squares, len,
        partial(workers.slow, 1), partial(workers.slow, seconds=1), partial(workers.failing, 1),
    ]  # fmt: skip
    assert len({identify(value) for value in values}) == len(values)
    assert identify({"b": (1, 2), "a": 0}) == identify({"a": 0, "b": [1, 2]})
    for unknown in (lambda: 1, object(), SERIAL.map, {1, 2}):
        with pytest.raises(EngineError, match="pass identity="):
            identify(unknown)
