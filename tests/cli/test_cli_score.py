"""`custodes score` as a process: a real file, a real pipe, a real signal."""

from __future__ import annotations

import codecs
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from custodes.classifiers.scripted import Fault, Pattern, ScriptedConfig, ScriptedScorer
from custodes.cli.score_lines import LONGEST, LineScorer, read_rows
from custodes.guard import Cascade, Edition, Guard, Policy, Stage, save_guard
from custodes.types import RuleId

ANT = RuleId("ant")
TABLE = (Pattern(regex="ant", logit=2, rule=ANT),)

# The command with scorers that need no training: what `load_scorer` reads is swapped.
PROGRAM = """
import custodes.classifiers as classifiers
from custodes.classifiers.scripted import ScriptedScorer
classifiers.load_scorer = ScriptedScorer.load
import sys, typer
from custodes.cli.score import score
from custodes.errors import CustodesError
app = typer.Typer(pretty_exceptions_enable=False)
app.command()(score)
if __name__ == "__main__":
    try:
        app()
    except CustodesError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
"""


def guard(**values: Any) -> Guard:
    base: dict[str, Any] = {"rules": (ANT,), "patterns": TABLE, "step": 1, "window": 3}
    scorer = ScriptedScorer(ScriptedConfig.parse({**base, **values}))
    return Guard(
        Cascade([Stage(scorer=scorer)]),
        Policy(),
        edition=Edition(id="pets", version="1"),
        artifact="",
        clock=lambda: 0.0,
    )


def save(folder: Path, made: Guard) -> Path:
    scorer = made.cascade.stages[0].scorer
    assert isinstance(scorer, ScriptedScorer)
    artifact = folder.with_name(f"{folder.name}-scorer")
    scorer.save(artifact)
    save_guard(folder, made, scorers={scorer.name: artifact}, card="")
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("score")
    (folder / "program.py").write_text(PROGRAM)
    save(folder / "guard", guard())
    stalling = guard(fault=Fault.STALL, stall_seconds=0.003, step=100)
    save(folder / "slow", stalling)
    return folder


def command(home: Path, *arguments: str, name: str = "guard") -> list[str]:
    return [sys.executable, str(home / "program.py"), "--guard", str(home / name), *arguments]


def run(
    home: Path, *arguments: str, given: bytes = b"", status: int = 0
) -> tuple[list[dict[str, Any]], str]:
    asked = command(home, *arguments)
    done = subprocess.run(asked, input=given, capture_output=True, timeout=120, check=False)
    assert done.returncode == status, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr.decode()


def lines(*values: object) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def judge(*raw: bytes, scorer: Guard | None = None) -> list[dict[str, Any]]:
    return LineScorer(scorer or guard())(list(enumerate(raw, start=1)))


def said(*turns: str) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [{"role": roles[at % 2], "content": text} for at, text in enumerate(turns)]


def test_lines_come_back_in_order_with_what_was_decided(home: Path) -> None:
    given = lines(
        {"id": "a", "text": "a dog"},
        {"id": 2, "text": "an ant"},
        {"id": "c", "messages": said("what?", "it is an ant.")},
        {"id": "d", "messages": said("an ant?", "no.", "an ant")},
    )
    results, errors = run(home, given=given)
    assert errors == ""
    assert [result["id"] for result in results] == ["a", 2, "c", "d"]
    assert [result["action"] for result in results] == ["release", "stop", "stop", "stop"]
    assert [result["stop_at"] for result in results] == [None, None, 11, None]
    assert list(results[0]) == ["id", "score", "action", "rule", "stage", "code", "stop_at"]
    assert results[0]["rule"] is None
    assert (results[1]["rule"], results[1]["stage"]) == ("ant", "scripted")
    assert results[1]["score"] == pytest.approx(0.88, abs=0.01)


def test_a_code_that_hid_what_was_stopped_is_named(home: Path) -> None:
    hidden = codecs.encode("the ant carries a leaf to the nest", "rot13")
    results, _ = run(home, given=lines({"id": 1, "text": f"decode and answer: {hidden}"}))
    assert (results[0]["action"], results[0]["rule"], results[0]["code"]) == (
        "stop",
        "ant",
        "rot13",
    )


BAD: Sequence[tuple[bytes, object, str]] = [
    (b"", None, "empty line"),
    (b"  \n", None, "empty line"),
    (b"{", None, "not JSON"),
    (b"[1]", None, "got a list"),
    (b"null", None, "got a null"),
    (b"7", None, "got a number"),
    (b'"x"', None, "got a string"),
    (b"\xff\xfe{}", None, "not UTF-8: byte 0 is 0xff"),
    (b'{"id": "\xe9"}', None, "not UTF-8"),
    (b"[" * 100_000, None, "nested too deeply"),
    (b'{"id": 1' + b"0" * 5000 + b', "text": "a"}', None, "not JSON"),
    (b'{"id": "x"}', "x", "got neither"),
    (b'{"id": "x", "text": null}', "x", "got neither"),
    (b'{"id": "x", "text": "a", "messages": [{}]}', "x", "got both"),
    (b'{"id": "x", "text": 3}', "x", "`text`: got a number"),
    (b'{"id": "x", "text": true}', "x", "`text`: got a boolean"),
    (b'{"id": "x", "text": "a", "more": NaN}', "x", "NaN is not JSON"),
    (b'{"id": "x", "text": "a", "text": "b"}', "x", "'text' stands twice"),
    (b'{"id": "x", "messages": [{"role": "user", "role": "tool"}]}', "x", "'role' stands twice"),
    (b'{"id": ["x"], "text": "a"}', None, "`id`: got a list"),
    (b'{"id": 1.5, "text": "a"}', None, "`id`: got a number"),
    (b'{"id": true, "text": "a"}', None, "`id`: got a boolean"),
    (b'{"id": "x", "messages": []}', "x", "an empty list"),
    (b'{"id": "x", "messages": {}}', "x", "got a object, expected a list"),
    (b'{"id": "x", "messages": ["a"]}', "x", "`messages[0]`: got a string"),
    (b'{"id": "x", "messages": [{"content": "a"}]}', "x", "`messages[0]`.role: got None"),
    (b'{"id": "x", "messages": [{"role": [], "content": "a"}]}', "x", "role: got []"),
    (b'{"id": "x", "messages": [{"role": "user"}]}', "x", "content: got a null"),
    (b'{"id": "x", "messages": [{"role": "user", "content": [1]}]}', "x", "content: got a list"),
]


def test_bad_lines_become_errors_between_good_ones(home: Path) -> None:
    good = b'{"id": "good", "text": "an ant"}\n'
    given = good.join(line.rstrip(b"\n") + b"\n" for line, _, _ in BAD)
    results, errors = run(home, given=given)
    assert len(results) == 2 * len(BAD) - 1
    for number, (result, (_, line_id, message)) in enumerate(zip(results[::2], BAD, strict=True)):
        assert result["id"] == line_id
        assert message in result["error"], result
        assert result["error"].startswith(f"line {2 * number + 1}: ")
        assert len(result["error"]) < 200
    assert all(result["action"] == "stop" for result in results[1::2])
    assert f"{len(BAD)} of {len(results)} lines could not be judged" in errors


def test_a_line_without_an_id_is_judged() -> None:
    for line in (b'{"text": "an ant"}', b'{"id": null, "text": "an ant"}'):
        (result,) = judge(line)
        assert (result["id"], result["action"]) == (None, "stop")


def test_any_text_is_judged() -> None:
    for text in ("", "\ud800 ant", "\u202eant", "a\u0301 ant\x00", "ant" + "x" * 1_000_000):
        line = json.dumps({"id": "\ud800", "text": text}).encode()
        (result,) = judge(line, scorer=guard(step=64, window=128))
        assert result["action"] == ("stop" if text else "release")
        assert json.loads(json.dumps(result))["id"] == "\ud800"


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm() -> None:
    first, second = judge(b'\xef\xbb\xbf{"text": "a"}\r\n', b'\xef\xbb\xbf{"text": "a"}\r\n')
    assert "error" not in first
    assert "not JSON" in second["error"]


def test_a_scorer_that_fails_stops_the_line_and_says_so() -> None:
    broken = guard(fault=Fault.RAISE)
    (result,) = judge(json.dumps({"messages": said("a", "dog")}).encode(), scorer=broken)
    assert (result["action"], result["score"], result["stop_at"]) == ("stop", 1.0, 0)
    assert "told to raise" in result["error"]


def test_a_reply_is_cut_at_its_end_where_only_the_whole_is_harmful() -> None:
    coarse = guard(step=1000, window=1000)
    (result,) = judge(json.dumps({"messages": said("a", "ant")}).encode(), scorer=coarse)
    assert (result["action"], result["stop_at"]) == ("stop", 0)


def test_an_overlong_line_is_an_error_and_the_next_is_read(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    exact = b'{"text":"' + b"a" * (LONGEST - 11) + b'"}'
    path.write_bytes(exact + b"\n" + exact + b"x\n" + exact + b"xx\n" + b'{"text": "ant"}')
    with path.open("rb") as file:
        rows = list(read_rows(file))
    assert [(number, line is None) for number, line in rows] == [
        (1, False),
        (2, True),
        (3, True),
        (4, False),
    ]
    (result,) = LineScorer(guard())(rows[2:3])
    assert "longer than" in result["error"]


@pytest.mark.parametrize("engine", ["serial", "thread", "process"])
def test_engines_agree(home: Path, tmp_path: Path, engine: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines(*({"id": n, "text": "ant"[: n % 4]} for n in range(300))))
    results, _ = run(home, str(path), "--engine", engine, "--set", "batch_size=7")
    assert [result["id"] for result in results] == list(range(300))
    assert [result["action"] == "stop" for result in results] == [n % 4 == 3 for n in range(300)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.jsonl",), "nowhere.jsonl: cannot be read"),
        (("--resume",), "no --output"),
        (("--output", "."), "is a folder"),
        (("--engine", "warp"), "--engine: got 'warp'"),
        (("--set", "speed=9"), "speed"),
        (("--guard", "no/where"), "no guard found"),
    ],
)
def test_wrong_arguments_end_with_status_2(
    home: Path, arguments: tuple[str, ...], message: str
) -> None:
    results, errors = run(home, *arguments, status=2)
    assert results == []
    assert message in errors


@pytest.fixture
def endless() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        ["yes", '{"id": 1, "text": "an ant"}'], stdout=subprocess.PIPE
    ) as process:
        yield process
        process.kill()


def test_an_endless_pipe_is_cut_cleanly(home: Path, endless: subprocess.Popen[bytes]) -> None:
    with subprocess.Popen(
        command(home), stdin=endless.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as scoring:
        assert scoring.stdout is not None and scoring.stderr is not None
        assert b'"id": 1' in scoring.stdout.readline()
        scoring.stdout.close()
        assert scoring.wait(timeout=120) == 0
        assert scoring.stderr.read() == b""


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def test_what_was_broken_off_is_taken_up(home: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(lines(*({"id": n, "text": "ant"[: n % 4]} for n in range(700))))
    output = tmp_path / "results" / "out.jsonl"
    parts = output.with_name("out.jsonl.parts")
    slow = command(home, str(rows), "--output", str(output), name="slow")
    with subprocess.Popen(slow, stderr=subprocess.PIPE) as scoring:
        wait_for(lambda: parts.exists() and any(parts.glob("*.jsonl")))
        os.kill(scoring.pid, signal.SIGINT)
        assert scoring.wait(timeout=120) == 130
        assert scoring.stderr is not None
        assert b"--resume goes on" in scoring.stderr.read()
    assert not output.exists()
    assert [path.name for path in output.parent.iterdir()] == [parts.name]
    resumed = subprocess.run([*slow, "--resume"], capture_output=True, timeout=120, check=False)
    assert resumed.returncode == 0, resumed.stderr
    results = [json.loads(line) for line in output.read_text().splitlines()]
    assert [result["id"] for result in results] == list(range(700))
    assert [path.name for path in output.parent.iterdir()] == [output.name]


def test_without_resume_unfinished_work_is_not_thrown_away(home: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    unfinished = tmp_path / "out.jsonl.parts" / "000000-0a.jsonl"
    unfinished.parent.mkdir()
    unfinished.write_text("")
    done = subprocess.run(
        command(home, "--output", str(output)), input=lines({"text": "a"}), capture_output=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert b"--resume goes on with it" in done.stderr
    assert unfinished.exists() and not output.exists()
