"""Files that are written whole or not at all, whoever else writes them; runs that say null."""

import errno
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from custodes.config import Config, Run, load, save, write_atomically
from custodes.data.atomic import replacing
from custodes.errors import DataError


class Settings(Config):
    """Some."""

    name: str = "a"
    """A name."""


def hidden(folder):
    return [file.name for file in folder.iterdir() if file.name.startswith(".")]


@pytest.mark.parametrize("way", ["whole", "streamed"])
def test_threads_that_write_one_file_each_write_it_whole(way, tmp_path):
    path, together = tmp_path / "one.json", threading.Barrier(4, timeout=5)

    def write(text):
        for _ in range(40):
            together.wait()
            if way == "whole":
                write_atomically(path, text)
            else:
                with replacing(path) as temporary:
                    temporary.write_text(text)
            assert len(set(path.read_text())) == 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, [letter * 50_000 for letter in "abcd"]))
    assert len(path.read_text()) == 50_000
    assert hidden(tmp_path) == []


def test_what_a_killed_process_leaves_has_a_name_that_owners_look_for(tmp_path):
    with replacing(tmp_path / "table.parquet") as temporary:
        temporary.write_bytes(b"x")
        assert list(tmp_path.glob(".*.part")) == [temporary]


def test_settings_are_saved_whole_or_not_at_all(tmp_path, monkeypatch):
    save(Settings(name="old"), tmp_path / "config.yaml")

    def refuse(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="No space"):
            save(Settings(name="new"), tmp_path / "config.yaml")
    assert load(Settings, tmp_path / "config.yaml").name == "old"
    assert hidden(tmp_path) == []


def test_the_disk_s_errors_are_told_apart_from_the_source_s(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with (
        pytest.raises(DataError, match="cannot be written"),
        replacing(tmp_path / "file" / "table.jsonl"),
    ):
        pass
    with (
        pytest.raises(DataError, match=r"table\.jsonl: cannot be written"),
        replacing(tmp_path / "table.jsonl"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    with (
        pytest.raises(ConnectionError, match="model server"),
        replacing(tmp_path / "table.jsonl"),
    ):
        raise ConnectionError("the model server refused")
    assert hidden(tmp_path) == []


def test_a_metric_that_is_no_number_is_null(tmp_path):
    run = Run(tmp_path, Settings(), seed=0)
    run.log(loss=[1.0, float("nan")], deep={"most": float("inf")}, name="a")
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()

    def refuse(name):
        raise AssertionError(name)

    found = json.loads(line, parse_constant=refuse)
    assert found == {"loss": [1.0, None], "deep": {"most": None}, "name": "a"}
