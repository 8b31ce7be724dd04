"""`custodes synth`: what it writes, prints and refuses, and what Ctrl-C leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from custodes.cli import main
from custodes.data import read

GARDENING = Path(__file__).parents[1] / "synthesis" / "gardening.yaml"


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The command in this process, to the exit status."""

    def call(*arguments: str) -> Done:
        given = ["custodes", "synth", "--constitution", str(GARDENING), *arguments]
        monkeypatch.setattr(sys, "argv", given)
        with pytest.raises(SystemExit) as leaving:
            main()
        return Done(int(leaving.value.code or 0), *capsys.readouterr())

    return call


def test_it_writes_the_rows_and_prints_a_summary(run: Callable[..., Done], tmp_path: Path) -> None:
    done = run("--out", str(tmp_path), "--set", "rows=20", "--seed", "3", "--writer", "grammar")
    assert done.returncode == 0, done.stderr
    rows = read(tmp_path / "examples.parquet")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["seed"] == 3
    assert f"{len(rows)} of 80 planned" in done.stdout
    assert "growing_mint" in done.stdout
    assert done.stderr == ""


def test_a_file_of_settings_is_read_and_flags_win(run: Callable[..., Done], tmp_path: Path) -> None:
    config = tmp_path / "settings.yaml"
    config.write_text("rows: 500\nvaried: 0\nlanguages: [es]\n")
    done = run("--out", str(tmp_path / "out"), "--config", str(config), "--set", "rows=10")
    assert done.returncode == 0, done.stderr
    assert "no row for  mint_code" in done.stdout
    rows = read(tmp_path / "out" / "examples.parquet")
    assert {row.lang for row in rows} == {"es"}
    assert {row.transforms for row in rows} == {()}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "row=3"], "row: Extra inputs"),
        (["--size", "huge"], "size: Input should be 'tiny'"),
        (["--writer", "nobody"], "unknown writers: got 'nobody'"),
        (["--writer", "model"], "got no model"),
        (["--set", "held_out_rules=[moss]"], "held_out_rules: got 'moss'"),
        (["--constitution", "no_such"], "no_such"),
    ],
)
def test_bad_input_is_one_message_and_status_2(
    run: Callable[..., Done], tmp_path: Path, arguments: list[str], words: str
) -> None:
    done = run("--out", str(tmp_path / "out"), *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "examples.parquet").exists()


def test_an_interruption_says_how_to_go_on(tmp_path: Path) -> None:
    program = "from custodes.cli import main; main()"
    given = ["synth", "--constitution", str(GARDENING), "--out", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *given, "--set", "rows=3000", "--set", "block=4"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob("*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "planned rows are done" in err
    assert "Run the same command to go on." in err
    assert "Traceback" not in err
    assert out == ""
    assert not (tmp_path / "examples.parquet").exists()
