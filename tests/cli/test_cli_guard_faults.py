"""Commands on guards where something is odd: nothing is lost, nothing reported that was not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from command_doubles import custodes

from custodes.data import conversation, read, write
from custodes.guard import find_guard, load_guard, mode_of
from custodes.types import Action, Mode

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
    (tmp_path / "policy.yaml").write_text("rules: {nobody: {action: log}}\n")
    wrong = custodes(
        "calibrate", "--guard", tmp_path / "strict", "--policy", tmp_path / "policy.yaml"
    )
    assert wrong.status == 2 and "unknown rules" in wrong.err
    assert load_guard(tmp_path / "strict").artifact == after.artifact


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
