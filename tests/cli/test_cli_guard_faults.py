"""Commands on guards where something is odd: nothing is lost, nothing reported that was not."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from command_doubles import custodes, refused

from custodes.data import conversation, read, write
from custodes.guard import find_guard, load_guard, mode_of
from custodes.types import Action, Message, Mode

GARDENING = Path(__file__).parents[1] / "synthesis" / "gardening.yaml"
HASHED = """\
stages:
  - {name: words, features: hashed, settings: {bits: 12}, epochs: 4, learning_rate: 0.02}
policy: {rules: {growing_mint: {action: log}}}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Rows and a guard whose rule `growing_mint` only logs."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "hashed.yaml").write_text(HASHED)
    made = custodes("synth", "--constitution", GARDENING, "--out", folder, "--set", "rows=80")
    assert made.status == 0, made
    trained = custodes(
        "train", "--constitution", GARDENING, "--config", folder / "hashed.yaml", "--examples",
        folder / "examples.parquet", "--out", folder / "run", "--kept-out", 0.2,
    )  # fmt: skip
    assert trained.status == 0, trained
    return folder


def test_an_evaluation_counts_what_the_guard_did(home: Path, tmp_path: Path) -> None:
    rows = [row for row in read(home / "run" / "test.parquet") if row.label is not None]
    guard = load_guard(home / "run" / "guard")
    write(tmp_path / "rows.parquet", rows)
    done = custodes(
        "evaluate", "--examples", tmp_path / "rows.parquet", "--guard", home / "run" / "guard",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.status == 0, done
    values = json.loads((tmp_path / "out" / "report.json").read_text())
    harmful = [conversation(row) for row in rows if row.label == 1]
    verdicts = [guard.judge(each) for each in harmful if mode_of(each) is Mode.INPUT]
    assert any(v.action is Action.RELEASE and v.score >= 0.5 for v in verdicts), "some only log"
    stopped = sum(v.action is Action.STOP for v in verdicts) / len(verdicts)
    recall = values["modes"]["input"]["overall"]["metrics"]["recall"]
    assert recall["value"] == pytest.approx(stopped)


def test_a_policy_is_changed_and_nothing_else(home: Path, tmp_path: Path) -> None:
    before = load_guard(home / "run" / "guard")
    assert before.policy.rules["growing_mint"].action == "log"
    (tmp_path / "policy.yaml").write_text("rules: {}\nhold_back: 7\nthresholds: {input: 0.9}\n")
    done = custodes(
        "calibrate", "--guard", home / "run" / "guard", "--policy", tmp_path / "policy.yaml",
        "--out", tmp_path / "strict",
    )  # fmt: skip
    assert done.status == 0, done
    after = load_guard(tmp_path / "strict")
    assert (after.policy.rules, after.policy.hold_back) == ({}, 7)
    assert after.policy.thresholds == {**before.policy.thresholds, "input": 0.9}
    assert after.artifact != before.artifact
    assert "  input     block from probability 0.9" in done.out
    (tmp_path / "policy.yaml").write_text("rules: {nobody: {action: log}}\n")
    wrong = custodes(
        "calibrate", "--guard", tmp_path / "strict", "--policy", tmp_path / "policy.yaml"
    )
    assert wrong.status == 2 and "unknown rules" in wrong.err
    assert load_guard(tmp_path / "strict").artifact == after.artifact


@pytest.fixture(scope="module")
def traffic(home: Path) -> Path:
    """Benign prompts that hold a word or two of what is restricted."""
    rng = random.Random(5)
    words = ["how", "do", "i", "grow", "basil", "thyme", "in", "a", "pot", "mint", "peppermint"]
    texts = [" ".join(rng.choice(words) for _ in range(12)) for _ in range(100)]
    (home / "traffic.jsonl").write_text("\n".join(json.dumps({"text": each}) for each in texts))
    return home / "traffic.jsonl"


def test_rows_and_policy_are_told_as_they_will_be_judged(
    home: Path, traffic: Path, tmp_path: Path
) -> None:
    (tmp_path / "policy.yaml").write_text("rules: {growing_mint: {threshold: 0.0001}}\n")
    done = custodes(
        "calibrate", "--guard", home / "run" / "guard", "--benign", traffic, "--budget", 0.05,
        "--policy", tmp_path / "policy.yaml", "--out", tmp_path / "g",
    )  # fmt: skip
    assert done.status == 0, done
    guard = load_guard(tmp_path / "g")
    texts = [json.loads(line)["text"] for line in traffic.read_text().splitlines()]
    verdicts = guard.judge_many([(Message("user", each),) for each in texts])
    stopped = sum(each.action is Action.STOP for each in verdicts)
    assert stopped > 5
    assert f": {stopped} of 100 benign rows ({stopped}.00%" in done.out
    assert "  input     over the budget: " in done.out
    assert (
        "  rule growing_mint: block from probability 0.0001 in every mode, a threshold of its own"
        in done.out
    )
    assert guard.artifact in done.out
    spared = custodes(
        "calibrate", "--guard", home / "run" / "guard", "--benign", traffic, "--budget", 0.05,
        "--out", tmp_path / "h",
    )  # fmt: skip
    assert "  rule growing_mint: log from its mode's threshold" in spared.out
    assert "more benign rows through that reach its threshold, by the policy" in spared.out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rules: {growing_mimt: {action: log}}", "unknown rules: got growing_mimt"),
        ("thresholds: {input: 0.99}", "policy: got thresholds and rows"),
        ("# nothing", "policy.yaml: says nothing; expected settings of the policy"),
    ],
)
def test_a_wrong_policy_beside_rows_leaves_the_guard_as_it_was(
    home: Path, traffic: Path, tmp_path: Path, text: str, words: str
) -> None:
    shutil.copytree(home / "run" / "guard", tmp_path / "guard")
    before = load_guard(tmp_path / "guard").artifact
    (tmp_path / "policy.yaml").write_text(text)
    refused(
        words, "calibrate", "--guard", tmp_path / "guard", "--benign", traffic, "--budget", 0.05,
        "--policy", tmp_path / "policy.yaml",
    )  # fmt: skip
    assert load_guard(tmp_path / "guard").artifact == before


def test_a_policy_without_rows_takes_nothing_that_is_for_rows(home: Path, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("hold_back: 3\n")
    asked = ("calibrate", "--guard", home / "run" / "guard", "--out", tmp_path / "g")
    asked = (*asked, "--policy", tmp_path / "policy.yaml")
    for flag, value in (
        ("--stage", "nosuch"), ("--alone", "words=0.2"), ("--mode", "output"), ("--budget", 0.4),
        ("--escalate", 0.2), ("--most-rows", 5), ("--cache", tmp_path),
    ):  # fmt: skip
        refused(f"calibrate: got {flag} without rows", *asked, flag, value)
    (tmp_path / "policy.yaml").write_text("# nothing\n")
    refused("says nothing; expected settings of the policy", *asked)
    (tmp_path / "policy.yaml").write_text("threshold: 1.0\nthresholds: {input: 0.4}\n")
    assert custodes(*asked).status == 0
    (tmp_path / "policy.yaml").write_text("thresholds: {output: 0.4, exchange: 0.4}\n")
    asked = ("calibrate", "--guard", tmp_path / "g", "--policy", tmp_path / "policy.yaml")
    assert custodes(*asked).status == 0
    (tmp_path / "policy.yaml").write_text("threshold: 1.0\n")
    refused("threshold: got 1.0, which would change nothing", *asked)


def test_stages_that_do_not_judge_the_mode_are_no_candidates(home: Path, tmp_path: Path) -> None:
    head, words, _ = HASHED.splitlines()
    letters = words.replace("words", "letters")
    prompts = words.replace("words,", "prompts, serves: [input],")
    (tmp_path / "guard.yaml").write_text("\n".join([head, words, letters, prompts]))
    trained = custodes(
        "train", "--constitution", GARDENING, "--config", tmp_path / "guard.yaml", "--examples",
        home / "examples.parquet", "--out", tmp_path / "run",
    )  # fmt: skip
    assert trained.status == 0, trained
    asked = ("ensemble", "--guard", tmp_path / "run" / "guard", "--budget", 0.1)
    asked = (*asked, "--examples", home / "examples.parquet")
    told = {mode: custodes(*asked, "--mode", mode) for mode in ("input", "exchange")}
    assert [done.status for done in told.values()] == [0, 0], told
    assert "prompts" in told["input"].out and "prompts" not in told["exchange"].out
    assert "letters" in told["exchange"].out


def test_a_shipped_guard_is_not_overwritten(home: Path) -> None:
    before = find_guard("default").joinpath("guard.json").read_bytes()
    done = custodes(
        "calibrate", "--guard", "default", "--examples", home / "run" / "calibration.parquet"
    )
    assert done.status == 2 and "comes with custodes" in done.err
    assert find_guard("default").joinpath("guard.json").read_bytes() == before


def test_an_onset_that_is_none_is_told_before_rows_are_judged(home: Path, tmp_path: Path) -> None:
    row = next(row for row in read(home / "run" / "test.parquet") if row.label == 1)
    for onset in ("ten", 10**6, -1):
        write(tmp_path / "rows.parquet", [replace(row, meta={"onset": onset})])
        done = custodes(
            "evaluate", "--examples", tmp_path / "rows.parquet", "--guard",
            home / "run" / "guard", "--out", tmp_path / "out",
        )  # fmt: skip
        assert done.status == 2 and f"row {row.id}: got meta.onset" in done.err, done


def test_lines_without_an_id_may_come_from_two_files(home: Path, tmp_path: Path) -> None:
    from custodes.cli.sources import read_traffic

    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text('{"text": "x"}\n{"id": null, "text": "y"}\n')
    rows = read_traffic([str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")])
    assert len({row.id for row in rows}) == 4


def test_scores_go_beside_no_folder_of_somebody_else(home: Path, tmp_path: Path) -> None:
    (tmp_path / "lines.jsonl").write_text('{"text": "water the roses"}\n')
    (tmp_path / "out.jsonl.parts").mkdir()
    (tmp_path / "out.jsonl.parts" / "thesis.tex").write_text("mine")
    done = custodes(
        "score", tmp_path / "lines.jsonl", "--guard", home / "run" / "guard", "--output",
        tmp_path / "out.jsonl",
    )  # fmt: skip
    assert done.status == 2 and "thesis.tex, which is not ours" in done.err
    assert (tmp_path / "out.jsonl.parts" / "thesis.tex").read_text() == "mine"
