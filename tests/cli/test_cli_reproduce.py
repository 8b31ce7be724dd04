"""`custodes reproduce`: the verb; the figures themselves are tested with the method."""

import sys

import pytest

from custodes.cli import _run as run_command


@pytest.fixture
def reproduce(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["custodes", "reproduce", *map(str, arguments)])
        return run_command(), *capsys.readouterr()

    return call


def test_it_runs_what_is_registered_into_a_folder(reproduce, monkeypatch, tmp_path):
    asked = []

    def run(size, seed, out):
        asked.append((size, seed, str(out)))
        return out / "report.html"

    monkeypatch.setattr("custodes.methods.similarity.reproduce.reproduce", run)
    status, out, err = reproduce("capa")
    assert (status, out, err) == (0, "out/reproduce/capa/report.html\n", "")
    assert reproduce("capa", "--out", tmp_path, "--size", "full", "--seed", 3)[0] == 0
    assert asked == [("tiny", 0, "out/reproduce/capa"), ("full", 3, str(tmp_path))]


def test_it_tells_how_far_it_is_where_the_method_does(reproduce, monkeypatch):
    def run(size, seed, out, *, say):
        say("half")
        return out

    monkeypatch.setattr("custodes.methods.similarity.reproduce.reproduce", run)
    assert reproduce("capa") == (0, "out/reproduce/capa\n", "half\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], "unknown reproductions: got 'nothing', expected one of apd, capa"),
        ([], "Missing argument"),
        (["capa", "--out", "file"], "file is a file; expected a folder"),
        (["capa", "--size", "huge"], "--size: got 'huge', expected tiny or full"),
        (["capa", "--seed", "x"], "Invalid value for '--seed'"),
    ],
)
def test_bad_input_is_one_message_and_status_2(reproduce, tmp_path, arguments, words):
    (tmp_path / "file").write_text("mine")
    status, out, err = reproduce(*arguments)
    assert status == 2, err
    assert words in err
    assert "Traceback" not in err
    assert out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
