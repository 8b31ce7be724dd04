"""`custodes data`, as a user runs it."""

import hashlib
import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from custodes.cli.data import app
from custodes.data import catalogue
from custodes.errors import DataError


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("CUSTODES_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("CUSTODES_DATA_DIR", raising=False)
    runner = CliRunner()

    def invoke(*arguments, folder=None):
        environment = {} if folder is None else {"CUSTODES_DATA_DIR": str(folder)}
        return runner.invoke(app, arguments, env=environment)

    return invoke


def test_the_list_says_what_is_here(run, tmp_path):
    lines = run("list").stdout.splitlines()
    assert len(lines) == len(catalogue()) + 1
    assert lines[0].split() == ["name", "role", "rows", "licence", "releasable", "here?"]
    row = next(line for line in lines if " advbench " in line)
    assert row.split() == ["advbench", "dev", "436", "MIT", "yes", "download"]
    converted = tmp_path / "cache" / "data" / "dev" / "advbench.upstream.jsonl.gz"
    converted.parent.mkdir(parents=True)
    converted.touch()
    again = next(line for line in run("list").stdout.splitlines() if " advbench " in line)
    assert again.split()[-2:] == ["upstream", "copy"]
    flask = next(line for line in lines if " flask " in line)
    assert flask.split()[-3:] == ["no", "by", "hand"]


def test_the_list_as_json(run, tmp_path):
    here = tmp_path / "dev" / "advbench.jsonl.gz"
    here.parent.mkdir()
    here.write_bytes(b"")
    records = json.loads(run("list", "--json", folder=tmp_path).stdout)
    assert [record["name"] for record in records] == list(catalogue())
    by_name = {record["name"]: record for record in records}
    assert by_name["advbench"]["here"] == str(here)
    assert by_name["flask"]["here"] is None
    assert by_name["flask"]["releasable"] is False


def test_get_checks_and_copies(run, tmp_path):
    source = tmp_path / "data" / "dev" / "advbench.jsonl.gz"
    source.parent.mkdir(parents=True)
    source.write_bytes(b"not the set")
    to = tmp_path / "to"
    refused = run("get", "advbench", "--to", str(to), folder=tmp_path / "data")
    assert isinstance(refused.exception, DataError)
    assert hashlib.sha256(b"not the set").hexdigest() in str(refused.exception)
    assert not to.exists()
    taken = run("get", "advbench", "--to", str(to), "--no-verify", folder=tmp_path / "data")
    assert taken.stdout == f"{to / 'dev' / 'advbench.jsonl.gz'}\n"
    assert (to / "dev" / "advbench.jsonl.gz").read_bytes() == b"not the set"
    found = run("get", "advbench", "--no-verify", folder=tmp_path / "data")
    assert found.stdout == f"{source}\n"


def test_a_wrong_name_stops_before_anything_is_done(run):
    result = run("get", "flask", "advbnech")
    assert isinstance(result.exception, DataError)
    assert "did you mean advbench" in str(result.exception)


def test_a_set_that_cannot_be_got_ends_in_one_message(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", "from custodes.cli import main; main()", "data", "get", "flask"],
        capture_output=True,
        text=True,
        env={"CUSTODES_CACHE_DIR": str(tmp_path), "PATH": ""},
        check=False,
    )
    assert done.returncode == 2
    assert "https://github.com/kaistAI/FLASK" in done.stderr
    assert "CUSTODES_DATA_DIR" in done.stderr
    assert "Traceback" not in done.stderr
