"""The commands, the runner and the reports."""

import json
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from custodes.errors import ConfigError, DataError
from custodes.measure import over_seeds
from custodes.methods import METHODS
from custodes.methods.mona.command import app
from custodes.methods.mona.config import StudyConfig
from custodes.methods.mona.gridworld.study import clear_ranges
from custodes.methods.mona.measure import group_runs
from custodes.methods.mona.method import run_study
from custodes.methods.mona.reproduce import reproduce

QUICK = ["noise_seeds=2", "weights=5", "comparisons=[500]"]


def invoke(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def settings(*values):
    return [part for value in values for part in ("--set", value)]


def test_the_registry_knows_the_commands():
    assert METHODS.load("mona") is app
    for verb in ("gridworld", "study", "show", "write-tests"):
        assert verb in invoke("--help").output


def test_listing_commands_loads_nothing_heavy():
    code = (
        "import sys; from custodes.methods.mona.command import app; "
        "print({'torch', 'gymnasium', 'sklearn', 'scipy', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_exact_part_needs_numpy_only():
    code = (
        "import sys; import custodes.methods.mona.reproduce, custodes.methods.mona.loan.exact; "
        "print({'torch', 'gymnasium', 'stable_baselines3', 'peft'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_show_draws_a_state_and_values_its_moves():
    found = invoke("show", "A.../BB../..../H...").output
    assert found.startswith("######\n#A   #\n#BB  #")
    assert "MONA    ordinary RL" in found and found.count("\n") == 11
    assert invoke("show", "3", "--as", "svg").output.startswith("<svg ")
    with pytest.raises(ConfigError, match="expected 1 to 84"):
        invoke("show", "85")
    with pytest.raises(ConfigError, match="text or svg"):
        invoke("show", "1", "--as", "png")
    with pytest.raises(DataError, match="expected 4 rows"):
        invoke("show", "AB")


def test_gridworld_writes_a_run_folder(tmp_path):
    out = tmp_path / "run"
    # A short episode on a small board: what is tested is the page, not the figures.
    small = ["board.rows=4", "board.columns=4", "steps=12"]
    invoke("gridworld", "--out", out, *settings(*QUICK, *small))
    values = json.loads((out / "report.json").read_text())
    titles = [section["title"] for section in values["sections"]]
    assert titles == [
        "In short",
        "Optimization horizon",
        "Crossover under noise",
        "Approval spectrum, one step optimized",
    ]
    page = (out / "report.html").read_text()
    assert page.count("<svg") == 5
    assert np.load(out / "artifacts" / "noisy.npy").shape == (2, 12, 3)
    lines = (out / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["horizon"] for line in lines] == list(range(1, 13))


def test_a_study_goes_on_where_it_was(tmp_path):
    quick = ("loan.updates=20", "loan.points=4")
    first = invoke("study", "loan", "--out", tmp_path / "run", *settings(*quick, "seeds=1"))
    assert first.output.count("seed 0: observed") == 3
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.jsonl")}
    invoke("study", "loan", "--out", tmp_path / "run", *settings(*quick, "seeds=2"))
    shards = [path for path in kept if path.parent.name == "runs"]
    assert len(shards) == 3
    assert all(path.stat().st_mtime_ns == kept[path] for path in shards)
    values = json.loads((tmp_path / "run" / "report.json").read_text())
    assert values["facts"]["blind optimum"] == "0.78675"
    assert "2 of ordinary RL" in values["summary"]
    with pytest.raises(ConfigError, match="environment"):
        invoke("study", "chess", "--out", tmp_path / "other")


def test_seeds_may_be_spread_over_processes(tmp_path):
    values = {"environment": "loan", "seeds": 2, "arms": ["mona"], "loan": {"updates": 5}}
    processes = StudyConfig.parse({**values, "engine_settings": {"workers": 2}})
    serial = StudyConfig.parse({**values, "engine_settings": {"kind": "serial"}})
    rows = list(run_study(processes, tmp_path / "one"))
    assert [(row["arm"], row["seed"]) for row in rows] == [("mona", 0), ("mona", 1)]
    assert rows == list(run_study(serial, tmp_path / "two"))


def test_reproduce_writes_all_that_is_exact(tmp_path, monkeypatch):
    quick = {"noise_seeds": 1, "steps": 10, "weights": 3, "comparisons": (500,)}
    from custodes.methods.mona import reproduce as module

    whole = module.GridworldConfig
    monkeypatch.setattr(module, "GridworldConfig", lambda **given: whole(**{**given, **quick}))
    page = reproduce("tiny", 0, tmp_path)
    assert page == tmp_path / "report.html"
    assert "loan: loan/report.html" in page.read_text()
    assert (tmp_path / "loan" / "report.html").exists()


def test_figures_over_seeds():
    """By hand: 1, 2, 3 has mean 2 and t(0.975, 2) x 1 / sqrt(3)."""
    found = over_seeds([1, 2, 3])
    assert found.value == 2 and found.high - 2 == pytest.approx(4.30265 / 3**0.5, rel=1e-5)
    assert np.isnan(over_seeds([1]).low)
    with pytest.raises(DataError, match="no runs"):
        over_seeds([])
    rows = [
        {"arm": "a", "seed": seed, "points": [{"step": 0, "x": 0}, {"step": 5, "x": seed}]}
        for seed in (1, 2, 3)
    ]
    (arm,) = group_runs(rows)
    assert arm.last("x") == [1, 2, 3] and arm.final("x").value == 2
    curve = arm.curve("x")
    assert curve.steps.tolist() == [0, 5] and curve.mean.tolist() == [0, 2]
    assert curve.low[0] == curve.high[0] == 0


def test_the_longest_range_of_good_horizons():
    noisy = np.zeros((3, 6, 3))
    noisy[0, [0, 2, 3, 4], 1] = 1.0
    noisy[1, :, 1] = 0.9
    assert clear_ranges(noisy) == [(3, 5), None, None]
    assert clear_ranges(noisy, share=0.9) == [(3, 5), (1, 6), None]
