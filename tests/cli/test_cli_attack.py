import re
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from custodes.cli import app
from custodes.errors import ConfigError

sys.path.insert(0, str(Path(__file__).parents[1] / "redteam"))

from redteam_doubles import ANSWER, SET


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("CUSTODES_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "set.yaml").write_text(yaml.safe_dump(SET.model_dump(mode="json")))
    settings = {
        "target": {"kind": "model", "model": {"kind": "scripted", "otherwise": ANSWER}},
        "neighbors": 3,
    }
    (tmp_path / "attack.yaml").write_text(yaml.safe_dump(settings))

    def run(*arguments):
        config = ["--config", str(tmp_path / "attack.yaml")]
        command = ["attack", *config, "--questions", str(tmp_path / "set.yaml"), *arguments]
        return CliRunner().invoke(app, command, catch_exceptions=True)

    return run


def test_attack_prints_what_got_through_and_where_the_report_is(run, tmp_path):
    out = str(tmp_path / "run")
    done = run("--attacks", "direct,role_play,direct+base64", "--budget", "2", "--out", out)
    assert done.exit_code == 0, done.output
    assert "role_play" in done.output
    assert "50.0%" in done.output
    assert "refused, neighbors" in done.output
    assert (tmp_path / "run" / "report.html").is_file()
    found = CliRunner().invoke(app, ["transcripts", out, "--search", "shred", "--most", "1"])
    assert found.output.count("==") == 1
    assert "[reply] Shred" in found.output
    assert re.search(r"\d more; --most prints them", found.stderr)
    none = CliRunner().invoke(app, ["transcripts", out, "--attack", "unknown"])
    assert (none.stdout, none.stderr) == ("", "custodes: no attempt is of that kind\n")


def test_attack_says_what_was_not_tried(run, tmp_path):
    done = run("--attacks", "direct,gcg", "--out", str(tmp_path / "run"), "--seed", "3")
    assert "not tried                1 attacks" in done.output


def test_attack_lists_the_attacks(run, tmp_path):
    done = run("--list")
    assert {"gcg", "base64", "pair", "reconstruction"} <= set(done.output.split())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--attacks", "nothing"], "unknown attack"),
        (["--questions", "nowhere.yaml"], "neither a file nor a shipped set"),
        (["--target", "guard:nowhere"], "no guard found"),
        (["--target", "boat"], "unknown targets"),
        (["--target", "guard:"], "no place behind the colon"),
        (["--attacks", ","], "got no name"),
        (["--harden", "1"], "--run"),
        (["--size", "huge"], "size"),
    ],
)
def test_wrong_input_is_told(run, tmp_path, arguments, match):
    done = run(*arguments, "--out", str(tmp_path / "run"))
    assert done.exit_code != 0
    assert match in str(done.exception)
    assert isinstance(done.exception, ConfigError | Exception)


def test_a_gateway_is_a_target_by_its_address(run, tmp_path):
    done = run("--target", "http://127.0.0.1:9/v1", "--out", str(tmp_path / "run"), "--set",
               "reference.kind=scripted", "--attacks", "direct")  # fmt: skip
    assert "CUSTODES_API_KEY" in str(done.exception)
