import json
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from custodes.errors import DataError
from custodes.methods import METHODS
from custodes.methods.similarity.command import app


@pytest.fixture
def answers(tmp_path, table):
    path = tmp_path / "answers.npz"
    np.savez(
        path,
        probabilities=table.probabilities,
        labels=table.labels,
        options=table.options,
        names=np.array(table.names),
    )
    return path


def invoke(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_registry_knows_the_commands():
    assert "similarity" in METHODS.names()
    assert METHODS.load("similarity") is app
    for verb in ("matrix", "pair", "panel", "weak-to-strong", "judges"):
        assert verb in invoke("--help").output


def test_listing_commands_loads_nothing_heavy():
    code = (
        "import sys; from custodes.methods.similarity.command import app; "
        "print({'torch', 'transformers', 'sklearn', 'scipy', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_matrix_writes_a_run_folder(answers, tmp_path):
    out = tmp_path / "run"
    settings = ("--set", "metrics=[capa, both-wrong]", "--set", "resamples=50")
    result = invoke("matrix", answers, "--out", out, "--judge", "model 0", *settings)
    assert "5 models, 240 questions" in result.output
    values = json.loads((out / "report.json").read_text())
    titles = [section["title"] for section in values["sections"]]
    assert titles[:3] == ["Models", "All pairs", "Pairs"]
    assert titles[-1] == "Judges that resemble the judged"
    page = (out / "report.html").read_text()
    assert page.count("<svg") >= 3 and "http://" not in page.replace("http://www.w3.org", "")
    with np.load(out / "artifacts" / "matrix.npz") as saved:
        assert saved["capa"].shape == (5, 5) and saved["names"][0] == "model 0"
    again = tmp_path / "again"
    invoke("matrix", answers, "--out", again, "--judge", "model 0", *settings)
    assert (again / "report.json").read_text() == (out / "report.json").read_text()


def test_pair_and_panel_print_their_findings(answers):
    found = invoke("pair", answers, "model 0", "model 1", "--permutations", "20")
    assert "CAPA κp, probabilistic" in found.output and "κp ceiling" in found.output
    assert "independent errors" in found.output
    assert (
        "independent"
        not in invoke("pair", answers, "model 0", "model 1", "--permutations", 0).output
    )
    chosen = invoke("panel", answers, "--set", "members=2", "--set", "weight=0.0")
    assert chosen.output.splitlines()[0] == "model 3, model 4"


def test_left_out_questions_are_said(tmp_path):
    path = tmp_path / "answers.jsonl"
    rows = [
        {"model": m, "question": q, "label": 0, "probabilities": [p, 1 - p]}
        for m, p in (("a", 0.7), ("b", 0.6))
        for q in range(6 if m == "a" else 5)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = invoke("pair", path, "a", "b", "--permutations", "0")
    assert "1 questions that not every model was asked" in result.stderr


def test_wrong_input_is_a_clear_error(tmp_path, answers):
    with pytest.raises(DataError, match="no such file"):
        invoke("pair", tmp_path / "none", "a", "b")
    with pytest.raises(DataError, match="expected one of model 0"):
        invoke("pair", answers, "model 0", "model 9")
