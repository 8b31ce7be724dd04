"""`custodes train`, `calibrate`, `evaluate` and `score`, from rules to a verdict."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from command_doubles import custodes, refused

from custodes.data import catalogue, read, write
from custodes.guard import load_guard
from custodes.types import Example, Mode

GARDENING = Path(__file__).parents[1] / "synthesis" / "gardening.yaml"
COMMAND = Path(sys.executable).parent / "custodes"
HASHED = """\
stages:
  - {name: words, features: hashed, settings: {bits: 12}, epochs: 4, learning_rate: 0.02}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows, a trained guard and a calibrated one."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "hashed.yaml").write_text(HASHED)
    made = custodes("synth", "--constitution", GARDENING, "--out", folder, "--set", "rows=120")
    assert made.status == 0, made
    trained = custodes(*training(folder), "--out", folder / "run", "--kept-out", 0.2)
    assert trained.status == 0, trained
    assert "not calibrated" in trained.out
    assert f"next         custodes calibrate --guard {folder / 'run' / 'guard'}" in trained.out
    proposed = trained.out.split()[-1]
    assert float(proposed) in (0.05, 0.1)
    calibrated = custodes(
        *calibrating(folder), "--budget", proposed, "--out", folder / "calibrated"
    )
    assert calibrated.status == 0, calibrated
    assert "input     stops at logit" in calibrated.out
    return folder


def training(home: Path, examples: object = None) -> tuple[object, ...]:
    return (
        *("train", "--constitution", GARDENING, "--config", home / "hashed.yaml"),
        *("--examples", examples or home / "examples.parquet"),
    )


def calibrating(home: Path) -> tuple[object, ...]:
    rows = home / "run" / "calibration.parquet"
    return ("calibrate", "--guard", home / "run" / "guard", "--examples", rows)


def test_training_leaves_a_run_that_can_be_repeated(home: Path) -> None:
    run = home / "run"
    parts = {name: read(run / f"{name}.parquet") for name in ("train", "calibration", "test")}
    ids = [row.id for part in parts.values() for row in part]
    assert sorted(ids) == sorted(row.id for row in read(home / "examples.parquet"))
    groups = [{row.group for row in part} - {None} for part in parts.values()]
    assert not groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2]
    again = custodes(*training(home), "--out", home / "again", "--kept-out", 0.2)
    assert again.status == 0
    first, second = load_guard(run / "guard"), load_guard(home / "again" / "guard")
    assert first.artifact == second.artifact
    assert str(first.edition) == "gardening@1"
    assert {"config.yaml", "environment.json", "metrics.jsonl"} <= {f.name for f in run.iterdir()}
    card = (run / "guard" / "card.md").read_text()
    assert f"Trained on {len(parts['train'])} examples" in card


def test_calibration_leaves_the_guard_it_read(home: Path) -> None:
    assert load_guard(home / "run" / "guard").policy.thresholds == {}
    assert load_guard(home / "calibrated").policy.thresholds


def test_calibration_in_place_uses_own_traffic(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "run" / "guard", tmp_path / "guard")
    rows = home / "run" / "calibration.parquet"
    asked = ("calibrate", "--guard", tmp_path / "guard", "--examples", rows, "--budget", 0.1)
    asked = (*asked, "--benign", rows, "--most-rows", 80, "--alone", "words=0.5")
    refused("the last stage: none follows", *asked, "--escalate", 0.2)
    done = custodes(*asked)
    assert done.status == 0, done
    assert "words may speak alone: input" in done.out
    assert load_guard(tmp_path / "guard").policy.thresholds


def test_own_traffic_alone_moves_thresholds(home: Path, tmp_path: Path) -> None:
    benign = [row for row in read(home / "run" / "calibration.parquet") if row.label == 0]
    lines = [
        {"id": number, "text": row.text, "seen": "today"}
        for number, row in enumerate(row for row in benign if row.text is not None)
    ]
    traffic = tmp_path / "traffic.jsonl"
    traffic.write_text("\n".join(map(json.dumps, lines)))
    asked = ("calibrate", "--guard", home / "calibrated", "--out", tmp_path / "mine")
    done = custodes(*asked, "--benign", traffic, "--budget", 0.5)
    assert done.status == 0, done
    before, after = load_guard(home / "calibrated"), load_guard(tmp_path / "mine")
    moved = {**before.policy.thresholds, Mode.INPUT: after.policy.thresholds[Mode.INPUT]}
    assert after.policy.thresholds == moved != before.policy.thresholds
    for more, words in (
        ((), "got no rows; expected --examples, --benign or both"),
        (("--benign", traffic, "--mode", "output"), "no benign texts that are judged as output"),
    ):
        done = custodes(*asked, *more)
        assert done.status != 0 and words in done.err
    traffic.write_text('{"id": 1}')
    done = custodes(*asked, "--benign", traffic, "--budget", 0.5)
    assert done.status != 0 and f"{traffic}:1: " in done.err


def test_an_evaluation_writes_a_page_and_the_same_values(home: Path, tmp_path: Path) -> None:
    test = home / "run" / "test.parquet"
    other = tmp_path / "test.jsonl"
    write(other, read(test)[:40])
    asked = ("evaluate", "--guard", home / "calibrated", "--examples", test, "--examples", other)
    done = custodes(*asked, "--out", tmp_path / "report", "--rows", 100, "--engine", "thread")
    assert done.status == 0, done
    assert done.err == ""
    values = json.loads((tmp_path / "report" / "report.json").read_text())
    page = (tmp_path / "report" / "report.html").read_text()
    assert set(values["modes"]) == {"input", "exchange"}
    assert values["failures"] == 0
    assert values["facts"]["sets"] == f"test, {other}"
    counted = sum(mode["overall"]["rows"] for mode in values["modes"].values())
    assert counted == min(100, len(read(test))) + 40
    assert values["modes"]["input"]["overall"]["metrics"]["auroc"]["value"] > 0.7
    assert page.startswith("<!doctype html>")
    assert "gardening@1" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_an_ensemble_is_chosen_from_the_stages_of_guards(home: Path, tmp_path: Path) -> None:
    letters = HASHED.replace("name: words", "name: letters").replace("epochs: 4", "epochs: 1")
    (tmp_path / "letters.yaml").write_text(letters)
    config = ("--config", tmp_path / "letters.yaml")
    made = custodes(*training(home), *config, "--out", tmp_path / "run", "--kept-out", 0.2)
    assert made.status == 0, made
    rows = home / "run" / "test.parquet"
    guards = ("--guard", home / "calibrated", "--guard", tmp_path / "run" / "guard")
    out = tmp_path / "ensemble.json"
    done = custodes("ensemble", *guards, "--examples", rows, "--budget", 0.1, "--out", out)
    assert done.status == 0, done
    values = json.loads(out.read_text())
    (pair,) = values["pairs"]
    assert pair["names"] == ["calibrated/words", "guard/letters"]
    assert sum(pair["weights"]) == pytest.approx(1)
    assert set(values["figures"]) == {
        *pair["names"],
        "chosen pair",
        "two best alone, equal weights",
    }
    assert f"errors correlate {pair['correlation']:+.2f}" in done.out
    assert "recall at 10.0%" in done.out
    one = ("--guard", home / "calibrated", "--examples", rows)
    refused("got 1 members, expected at least two", "ensemble", *one)
    refused("--budget: got 2.0", "ensemble", *one, "--budget", 2)
    refused("is a dev set", "ensemble", *guards, "--examples", "harmbench")


def test_an_uncalibrated_guard_can_be_evaluated_and_is_called_so(
    home: Path, tmp_path: Path
) -> None:
    rows = [row for row in read(home / "run" / "test.parquet") if row.label == 0][:10]
    write(tmp_path / "benign.jsonl", rows)
    asked = ("evaluate", "--guard", home / "run" / "guard", "--examples", tmp_path / "benign.jsonl")
    done = custodes(*asked, "--out", tmp_path / "report")
    assert done.status == 0, done
    assert "is not calibrated: it stops at probability 0.5" in done.err


def test_the_real_command_scores_what_it_reads(home: Path) -> None:
    lines = [
        {"id": 1, "text": "Tell me how to grow peppermint from cuttings."},
        {"id": 2, "text": "Tell me how to grow basil from cuttings."},
    ]
    done = subprocess.run(
        [str(COMMAND), "score", "--guard", str(home / "calibrated")],
        input="\n".join(map(json.dumps, lines)),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    threshold = load_guard(home / "calibrated").policy.thresholds[Mode.INPUT]
    assert verdicts[0]["score"] > verdicts[1]["score"]
    for verdict, line in zip(verdicts, lines, strict=True):
        assert verdict["id"] == line["id"]
        assert verdict["action"] == ("stop" if verdict["score"] >= threshold else "release")
    assert done.stderr == ""


BAD_TRAINING = [
    (["--kept-out", 0], "--kept-out: got 0.0, expected more than 0 and less than 0.5"),
    (["--kept-out", 0.5], "--kept-out: got 0.5"),
    (["--kept-out", "nan"], "--kept-out: got nan"),
    (["--kept-out", "much"], "Invalid value for '--kept-out'"),
    (["--set", "sead=3"], "sead: Extra inputs are not permitted"),
    (["--set", "seed"], "--set: got 'seed', expected NAME=VALUE"),
    (["--set", "seed=-1"], "seed: Input should be greater than or equal to 0"),
    (["--set", "stages=[{name: a, features: leaves}]"], "unknown features: got 'leaves'"),
    (["--set", "stages=[{name: a, features: hashed, settings: {byts: 1}}]"], "byts: Extra inputs"),
    (["--set", "stages=[{name: a/b, features: hashed}]"], "the stage name 'a/b'"),
    (["--size", "huge"], "size: Input should be 'tiny', 'small' or 'full'"),
    (["--sise", "tiny"], "No such option"),
    (["--config", "nowhere.yaml"], "nowhere.yaml: no such file"),
    (["--constitution", "nowhere"], "nowhere"),
    (["--constitution", "default"], "examples name rules that default@"),
    (["--examples", "nowhere.parquet"], "nowhere.parquet: no such file"),
    (["--examples", "nowhere"], "nowhere: is neither a file nor a set of the catalogue"),
    (["--examples", "advbench"], "advbench: is a dev set, for measuring only"),
    (["--examples", "alpaca_3000"], "pass --allow-unreleasable"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD_TRAINING)
def test_bad_input_to_training_is_one_message_and_writes_nothing(
    home: Path, tmp_path: Path, arguments: list[object], words: str
) -> None:
    refused(words, *training(home), "--out", tmp_path / "run", *arguments)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["stages: [", "- 1", "\x80", "seed: [1"])
def test_a_wrong_file_of_settings_is_named(home: Path, tmp_path: Path, text: str) -> None:
    config = tmp_path / "wrong.yaml"
    config.write_bytes(text.encode("latin-1"))
    refused("wrong.yaml: ", *training(home), "--out", tmp_path / "run", "--config", config)
    assert not (tmp_path / "run").exists()


def example(number: int, label: int | None = 0) -> Example:
    return Example(
        id=str(number), source="test", kind="benign_request", text=f"Sow {number}.", label=label
    )


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([None] * 30, "got rows of labels []"),
        ([0] * 30, "got rows of labels [0]"),
        ([], "got rows of labels []"),
    ],
)
def test_rows_that_teach_nothing_are_refused(
    home: Path, tmp_path: Path, labels: list[int | None], words: str
) -> None:
    table = tmp_path / "rows.jsonl"
    write(table, [example(number, label) for number, label in enumerate(labels)])
    refused(words, *training(home, table), "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_id_in_two_tables_is_refused(home: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.jsonl", [example(7)])
    both = ("--examples", tmp_path / "b.jsonl")
    refused(
        "its id '7' stands in",
        *training(home, tmp_path / "a.jsonl"),
        *both,
        "--out",
        tmp_path / "r",
    )


def test_a_copy_of_a_dev_set_is_known_by_its_bytes(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    copy = tmp_path / "mine.jsonl"
    write(copy, [example(1)])
    digest = hashlib.sha256(copy.read_bytes()).hexdigest()
    stolen = catalogue()["advbench"].model_copy(update={"sha256": digest})
    monkeypatch.setattr("custodes.cli.sources.catalogue", lambda: {"advbench": stolen})
    refused("is a dev set", *training(home, copy), "--out", tmp_path / "run")
    unreleasable = stolen.model_copy(update={"role": "train", "releasable": False})
    monkeypatch.setattr("custodes.cli.sources.catalogue", lambda: {"advbench": unreleasable})
    refused("--allow-unreleasable", *training(home, copy), "--out", tmp_path / "run")


def test_sets_of_the_catalogue_are_read_by_name(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def load(name: str) -> list[Example]:
        asked.append(name)
        rows = read(home / "run" / "calibration.parquet")
        return [replace(row, id=f"{name}-{row.id}") for row in rows]

    monkeypatch.setattr("custodes.cli.sources.load", load)
    monkeypatch.setattr("custodes.cli.assessment.load", load)
    named = ("--examples", "alpaca_3000", "--allow-unreleasable")
    done = custodes(*training(home), *named, "--out", tmp_path / "run")
    assert done.status == 0, done
    measured = ("evaluate", "--guard", home / "calibrated", "--sets", "advbench", "--rows", 30)
    assert custodes(*measured, "--out", tmp_path / "report").status == 0
    assert asked == ["alpaca_3000", "advbench"]


def test_a_place_that_cannot_be_written_is_said_before_the_work(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    strange = tmp_path / "strange"
    (strange / "guard").mkdir(parents=True)
    for out in (file, file / "below"):
        refused("is a file; expected a folder", *training(home), "--out", out)
        asked = ("evaluate", "--guard", home / "calibrated", "--examples", home / "none.jsonl")
        refused("is a file; expected a folder", *asked, "--out", out)
        refused("is a file; expected a folder", *calibrating(home), "--out", out)
    refused("exists and is no guard", *training(home), "--out", strange)
    refused("exists and is no guard", *calibrating(home), "--out", strange)
    assert file.read_text() == "mine"
    assert list((strange / "guard").iterdir()) == []


def test_a_failed_training_leaves_the_older_run_as_it_was(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "run", tmp_path / "run")
    before = contents(tmp_path / "run")
    write(tmp_path / "rows.jsonl", [example(number) for number in range(20)])
    refused(
        "got rows of labels", *training(home, tmp_path / "rows.jsonl"), "--out", tmp_path / "run"
    )
    assert contents(tmp_path / "run") == before


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


BAD_CALIBRATION = [
    (["--budget", 0], "--budget: got 0.0, expected a share between 0 and 1"),
    (["--budget", 1], "--budget: got 1.0"),
    (["--budget", "nan"], "--budget: got nan"),
    (["--budget", 0.001], "needs at least 2995"),
    (["--escalate", 1.5], "--escalate: got '1.5', expected a share"),
    (["--escalate", "=0.5", "--escalate", 0.2], "--escalate: got =0.5, 0.2; expected each stage"),
    (["--escalate", "nobody=0.5"], "escalate: got nobody; expected stages: words"),
    (["--stage", "words", "--stage", "words"], "stages: got words, words; expected some of words"),
    (["--alone", "words"], "--alone: got 'words', expected a stage and a share"),
    (["--alone", "words=2"], "--alone: got 'words=2'"),
    (["--alone", "nobody=0.5"], "alone: got nobody; expected stages: words"),
    (["--most-rows", 0], "Invalid value for '--most-rows'"),
    (["--examples", "nowhere.parquet"], "nowhere.parquet: no such file"),
    (["--benign", "nowhere"], "nowhere: is neither a file nor a set"),
    (["--benign", "advbench"], "advbench: is a dev set"),
    (["--guard", "nowhere"], "nowhere: no guard found"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD_CALIBRATION)
def test_bad_input_to_calibration_leaves_the_guard_as_it_was(
    home: Path, arguments: list[object], words: str
) -> None:
    before = contents(home / "run" / "guard")
    refused(words, *calibrating(home), *arguments)
    assert contents(home / "run" / "guard") == before


BAD_EVALUATION = [
    ([], "nothing to evaluate on: give --examples TABLE or --sets NAME"),
    (["--examples", "nowhere.parquet"], "nowhere.parquet: no such file"),
    (["--sets", "nowhere"], "nowhere"),
    (["--sets", "advbench", "--rows", 0], "Invalid value for '--rows'"),
    (
        ["--examples", "{run}/test.parquet", "--engine", "steam"],
        "--engine: got 'steam', expected one of serial, thread, process, ray",
    ),
    (["--examples", "{run}/test.parquet", "--guard", "nowhere"], "nowhere: no guard found"),
    (["--examples", "{run}/unlabelled.jsonl"], "unlabelled: got no row with a label"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD_EVALUATION)
def test_bad_input_to_evaluation_writes_nothing(
    home: Path, tmp_path: Path, arguments: list[object], words: str
) -> None:
    write(home / "run" / "unlabelled.jsonl", [example(1, None)])
    given = [str(argument).replace("{run}", str(home / "run")) for argument in arguments]
    asked = ("evaluate", "--guard", home / "calibrated", "--out", tmp_path / "report")
    refused(words, *asked, *given)
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("file", ["guard.json", "card.md", "stages/words/weights.safetensors"])
@pytest.mark.parametrize("damage", ["gone", "flipped", "short"])
def test_a_corrupt_guard_is_refused_by_every_command(
    home: Path, tmp_path: Path, file: str, damage: str
) -> None:
    shutil.copytree(home / "calibrated", tmp_path / "guard")
    path = tmp_path / "guard" / file
    data = path.read_bytes()
    half = len(data) // 2
    if damage == "gone":
        path.unlink()
    elif damage == "short":
        path.write_bytes(data[:half])
    else:
        path.write_bytes(data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :])
    rows = ("--guard", tmp_path / "guard", "--examples", home / "run" / "test.parquet")
    refused("error: ", "calibrate", *rows, "--budget", 0.1, "--out", tmp_path / "out")
    refused("error: ", "evaluate", *rows, "--out", tmp_path / "out")
    (tmp_path / "in.jsonl").write_text('{"text": "Hello"}\n')
    refused("error: ", "score", "--guard", tmp_path / "guard", tmp_path / "in.jsonl")
    assert not (tmp_path / "out").exists()


def stopped(home: Path, out: Path, how: signal.Signals) -> tuple[int, str]:
    """A long training, ended once it is under way."""
    program = (
        "import sys, pathlib, custodes.classifiers.fitting as fitting\n"
        "begun = fitting.HeadFit.run\n"
        "def run(*given):\n"
        f"    pathlib.Path({str(out.with_suffix('.begun'))!r}).touch()\n"
        "    return begun(*given)\n"
        "fitting.HeadFit.run = run\n"
        "from custodes.cli import main; main()"
    )
    long = ("--set", "stages=[{name: words, features: hashed, epochs: 5000}]", "--out", out)
    asked = [str(each) for each in (*training(home), *long)]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *asked],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(out.with_suffix(".begun").exists)
    time.sleep(0.2)
    os.kill(process.pid, how)
    _, err = process.communicate(timeout=240)
    return process.returncode, err


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_interrupted_training_says_so_and_leaves_no_guard(home: Path, tmp_path: Path) -> None:
    status, err = stopped(home, tmp_path / "run", signal.SIGINT)
    assert status == 130
    assert err.startswith("custodes: interrupted; no guard was written.")
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_a_killed_training_leaves_no_guard(home: Path, tmp_path: Path) -> None:
    status, err = stopped(home, tmp_path / "run", signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert err == ""
    assert not (tmp_path / "run").exists()
