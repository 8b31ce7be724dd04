"""The commands, presets, sweeps, reports and reproductions."""

import json
import subprocess
import sys

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from custodes.errors import ConfigError, DataError
from custodes.measure import over_seeds
from custodes.methods import METHODS
from custodes.methods.decomposition import preset_config
from custodes.methods.decomposition import reproduce as reproduce_module
from custodes.methods.decomposition.command import app
from custodes.methods.decomposition.config import APDConfig, SPDConfig, SweepConfig
from custodes.methods.decomposition.drawings import (
    contribution_scatter,
    importance_map,
    vector_panels,
)
from custodes.methods.decomposition.presets import PRESETS, preset_names
from custodes.methods.decomposition.sweep import run_sweep, sweep_rows

QUICK = ["steps=6", "batch=16", "points=3", "judged_rows=16", "attack_steps=1", "seeds=2"]
TMS = [*QUICK, "target.tms.steps=5"]
RESIDUAL = [
    *QUICK, "target.residual.steps=2", "target.residual.features=8", "components=9",
    "target.residual.embedding=20", "target.residual.neurons=4", "target.residual.batch=16",
]  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CUSTODES_CACHE_DIR", str(tmp_path / "cache"))


def invoke(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def settings(*values):
    return [part for value in values for part in ("--set", value)]


def test_the_registry_knows_the_commands():
    assert METHODS.load("decomposition") is app
    for verb in ("apd", "spd", "sweep", "presets"):
        assert verb in invoke("--help").output


def test_listing_commands_loads_nothing_heavy():
    code = (
        "import sys; from custodes.methods.decomposition.command import app; "
        "print({'torch', 'transformers', 'sklearn', 'scipy', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_every_preset_is_valid_and_listed():
    listed = invoke("presets").output
    for method, name in PRESETS:
        config = preset_config(method, name)
        assert isinstance(config, APDConfig if method == "apd" else SPDConfig)
        assert f"{method} {name}: {config.components} components" in listed
    assert preset_names("apd")[0] == "tms-5-2"
    with pytest.raises(ConfigError, match="expected one of tms-5-2"):
        preset_config("spd", "tms-6-3")


def test_a_file_and_flags_change_a_preset(tmp_path):
    path = tmp_path / "changes.yaml"
    path.write_text("steps: 7\ntarget: {tms: {steps: 9}}\n")
    config = preset_config("spd", "tms-40-10", path, ["batch=8", "target.seed=3"])
    assert (config.steps, config.batch, config.components) == (7, 8, 200)
    assert (config.target.tms.steps, config.target.tms.features, config.target.seed) == (9, 40, 3)
    with pytest.raises(ConfigError, match="known fields"):
        preset_config("spd", "tms-5-2", None, ["stepps=1"])


def test_spd_writes_a_run_folder(tmp_path):
    out = tmp_path / "run"
    found = invoke("spd", "tms-5-2", "--out", out, *settings(*TMS))
    assert str(out / "report.html") in found.output and "MMCS" in found.output
    values = json.loads((out / "report.json").read_text())
    titles = [section["title"] for section in values["sections"]]
    assert titles == [
        "In short", "Figures", "What was found", "Importances on one-hot inputs",
        "Do seeds agree?", "Training",
    ]  # fmt: skip
    columns = values["sections"][1]["blocks"][0]["columns"]
    assert columns == ["figure", "mean over seeds", "seed 0", "seed 1", "random network"]
    assert len(values["figures"]["MMCS"]) == 3
    page = (out / "report.html").read_text()
    assert "random network" in page and page.count("<svg") == 2 + 4 + 2
    lines = [json.loads(x) for x in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 2, 4, 5]
    assert all(len(line["stochastic"]) == 3 for line in lines)
    assert {path.name for path in (out / "artifacts").iterdir()} == {
        "checkpoint.safetensors", "components.safetensors",
    }  # fmt: skip


def test_apd_and_a_residual_mlp(tmp_path):
    invoke("apd", "tms-5-2", "--out", tmp_path / "apd", *settings(*TMS, "nulls=0", "seeds=1"))
    values = json.loads((tmp_path / "apd" / "report.json").read_text())
    assert values["sections"][1]["blocks"][0]["columns"] == ["figure", "mean over seeds", "seed 0"]
    out = tmp_path / "residual"
    invoke("spd", "residual-mlp-2", "--out", out, *settings(*RESIDUAL, "target.own=true"))
    page = (out / "report.html").read_text()
    assert "Neuron contributions" in page and "wrong importances, layers.1.out" in page
    assert "Do seeds agree?" not in page
    gated = tmp_path / "gated"
    invoke("apd", "gated", "--out", gated, *settings(*QUICK, "nulls=0"))
    assert "MMCS, out" in (gated / "report.html").read_text()


def test_a_sweep_runs_every_combination(tmp_path):
    path = tmp_path / "sweep.yaml"
    changes = dict(part.split("=") for part in TMS)
    values = {
        "preset": "tms-5-2",
        "settings": {**{k: int(v) for k, v in changes.items()}, "target.kind": "tms"},
        "vary": {"importance": [0.001, 0.01], "p": [1.0]},
        "engine_settings": {"kind": "serial"},
    }
    path.write_text(yaml.safe_dump(values))
    invoke("sweep", "spd", path, "--out", tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    columns = report["sections"][0]["blocks"][0]["columns"]
    assert columns == ["figure", "importance=0.001 p=1.0", "importance=0.01 p=1.0"]
    one = tmp_path / "out" / "artifacts" / "importance-0.001_p-1.0" / "report.html"
    assert one.exists()
    stamp = one.stat().st_mtime_ns
    config = SweepConfig.parse(values)
    assert sweep_rows(config) == [{"importance": 0.001, "p": 1.0}, {"importance": 0.01, "p": 1.0}]
    run_sweep("spd", config, tmp_path / "out")
    assert one.stat().st_mtime_ns == stamp
    assert len((tmp_path / "out" / "metrics.jsonl").read_text().splitlines()) == 2
    with pytest.raises(ConfigError, match="expected apd or spd"):
        invoke("sweep", "sae", path, "--out", tmp_path / "other")
    with pytest.raises(ConfigError, match="stepps"):
        run_sweep("spd", SweepConfig(vary={"stepps": (1,)}), tmp_path / "wrong")


def test_a_sweep_over_shapes_leaves_figures_empty_that_a_run_has_not(tmp_path):
    values = {
        "preset": "tms-5-2",
        "settings": {part.split("=")[0]: int(part.split("=")[1]) for part in TMS},
        "vary": {"target.tms.identity": [True, False], "nulls": [1, 0]},
        "engine_settings": {"kind": "serial"},
    }
    run_sweep("spd", SweepConfig.parse(values), tmp_path / "out")
    table = json.loads((tmp_path / "out" / "report.json").read_text())["sections"][0]["blocks"][0]
    rows = {row[0]: row[1:] for row in table["rows"]}
    assert [value is None for value in rows["alive, middle"]] == [False, False, True, True]
    assert [v is None for v in rows["alive, embed, random network"]] == [False, True, False, True]


@pytest.mark.slow
def test_a_sweep_may_be_spread_over_processes(tmp_path):
    values = {
        "settings": {part.split("=")[0]: int(part.split("=")[1]) for part in TMS},
        "vary": {"components": [6, 7]},
        "engine_settings": {"workers": 2},
    }
    page = run_sweep("apd", SweepConfig.parse(values), tmp_path / "out")
    assert "components=7" in page.read_text()


def test_reproductions_put_published_figures_beside(tmp_path, monkeypatch):
    whole = reproduce_module.preset_config
    monkeypatch.setattr(
        reproduce_module,
        "preset_config",
        lambda method, name, path, changes: whole(method, name, path, [*changes, *TMS]),
    )
    for method in ("apd", "spd"):
        run = getattr(reproduce_module, f"reproduce_{method}")
        page = run("tiny", 4, tmp_path / method)
        assert page == tmp_path / method / "report.html"
        values = json.loads((tmp_path / method / "report.json").read_text())
        rows = {row[0]: row for row in values["sections"][0]["blocks"][0]["rows"]}
        mmcs, ml2r = reproduce_module.PUBLISHED[method, "tms-5-2"]
        assert rows["tms-5-2: MMCS"][1] == mmcs and rows["tms-5-2: ML2R"][1] == ml2r
        assert "tms-5-2/report.html" in page.read_text()
        assert (tmp_path / method / "tms-5-2" / "report.html").exists()


def test_drawings_stand_alone():
    draw = np.random.default_rng(0)
    columns = draw.normal(size=(5, 2))
    parts = draw.normal(size=(3, 5, 2))
    svg = vector_panels(columns, parts.sum(axis=0), parts, title="Columns <W>")
    assert svg.startswith("<svg ") and svg.count("component ") >= 3 and "&lt;W&gt;" in svg
    svg = contribution_scatter(columns, columns, title="Contributions")
    assert "correlation 1.0000" in svg
    wide = importance_map(draw.random((3, 2)), None, title="more features than components")
    assert "feature 2" in wide
    assert "component 4" in importance_map(draw.random((3, 5)), None, title="fits")


def test_means_over_seeds():
    found = over_seeds([1, 2, 3])
    assert found.value == 2 and found.high - 2 == pytest.approx(4.30265 / 3**0.5, rel=1e-5)
    assert np.isnan(over_seeds([1]).low)
    with pytest.raises(DataError, match="no runs"):
        over_seeds([])


@pytest.mark.slow
def test_the_embedded_model_as_a_smoke_run(tmp_path, monkeypatch):
    monkeypatch.delenv("CUSTODES_CACHE_DIR")
    quick = ["steps=2", "target.embedded.tokens=4", "components=4", "warmup_steps=1"]
    invoke("spd", "embedded", "--out", tmp_path / "run", *settings(*quick))
    values = json.loads((tmp_path / "run" / "report.json").read_text())
    assert "4-bit" in values["facts"]["target"]
