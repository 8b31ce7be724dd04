import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from custodes.errors import ConfigError, DataError
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
    assert "warning: model 0" not in result.output
    low = invoke("matrix", answers, "--out", tmp_path / "low", "--judge", "model 0", *settings,
                 "--set", "warn_above=-1")  # fmt: skip
    assert "warning: model 0 and model" in low.output
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


def test_weak_to_strong_runs_and_goes_on(tmp_path):
    tasks = tmp_path / "persona.jsonl"
    with tasks.open("w") as file:
        for task in ("likes-tea", "likes-rain", "likes-maps", "likes-cats", "likes-bread"):
            for number in range(30):
                for verb, answer in (("like", "Yes"), ("hate", "No")):
                    row = {"task": task, "matching": answer}
                    file.write(json.dumps({**row, "statement": f"I {verb} it {number}"}) + "\n")
    sizes = ("--set", "train=12", "--set", "test=12")
    names = ("--set", "weak=[words]", "--set", "strong=[characters, words]")
    arguments = ("weak-to-strong", "--out", tmp_path / "run", "--tasks", tasks, *sizes, *names)
    assert "report.html" in invoke(*arguments).output
    gains = tmp_path / "run" / "artifacts" / "gains.jsonl"
    kept = gains.read_text()
    assert len(kept.splitlines()) == 5
    assert "report.html" in invoke(*arguments).output
    assert gains.read_text() == kept
    with pytest.raises(ConfigError, match="greater than or equal to 5"):
        invoke(*arguments, "--set", "tasks=4")


def test_judges_runs_from_a_file(tmp_path):
    questions = tmp_path / "questions.jsonl"
    rows = [{"id": i, "question": str(i), "options": ["x", "y"], "label": 0} for i in range(3)]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = {"backend": "scripted"}
    settings = {
        "judges": {"j": model},
        "judged": {f"m{i}": model for i in range(5)},
        "questions": str(questions),
    }
    path = tmp_path / "study.yaml"
    path.write_text(json.dumps(settings))  # JSON is YAML
    assert "report.html" in invoke("judges", path, "--out", tmp_path / "run").output
    path.write_text("judges: {}")
    with pytest.raises(ConfigError, match="judged"):
        invoke("judges", path, "--out", tmp_path / "run")


def test_the_package_gives_its_names_on_first_use():
    from custodes.methods import similarity

    assert all(getattr(similarity, name) for name in similarity.__all__)
    with pytest.raises(AttributeError, match="no attribute 'kappa'"):
        _ = similarity.kappa


def test_the_first_example_of_the_chapter_prints_what_it_says(capsys):
    chapter = (Path(__file__).parents[3] / "docs" / "similarity.md").read_text(encoding="utf-8")
    code, shown = re.search(r"```python\n(.*?)```\s+```text\n(.*?)```", chapter, re.S).groups()
    exec(compile(code, "docs/similarity.md", "exec"), {})
    assert capsys.readouterr().out == shown


def test_groups_of_unequal_size_have_no_null_and_are_no_failure(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "g.jsonl"
    labels = rng.integers(0, 4, 41)
    lines = [
        {"model": model, "question": q, "label": int(labels[q]), "options": 4,
         "choice": int(rng.integers(0, 4)), "group": f"g{q // 2}"}
        for model in "ab" for q in range(41)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = invoke("pair", path, "a", "b")
    assert done.exit_code == 0
    assert "κp of independent errors" in done.output and "n/a: got groups of 1 to 2" in done.output
