"""Seeds that diverge, networks that cannot be decomposed, folders of something else, and figures
that would flatter."""

import json
import math

import numpy as np
import pytest
import torch
from tiny_decompositions import TINY, apd, spd

from custodes.errors import ArtifactError, ConfigError
from custodes.methods.decomposition import (
    APDConfig,
    ModuleTarget,
    decompose,
    load_decomposition,
    preset_config,
)
from custodes.methods.decomposition.config import SweepConfig
from custodes.methods.decomposition.drawings import importance_map
from custodes.methods.decomposition.judging import judge
from custodes.methods.decomposition.method import build, instance_seeds
from custodes.methods.decomposition.metrics.columns import match_columns
from custodes.methods.decomposition.metrics.reconstruction import reconstruction
from custodes.methods.decomposition.report import run_report
from custodes.methods.decomposition.spd import SPD
from custodes.methods.decomposition.sweep import run_sweep
from custodes.methods.decomposition.targets.base import generators

MODULE = {"nulls": 0, "target": {"kind": "module"}}


def two_layers(bias=0.0):
    """A module of 4 to 3 by 5, its drawing function beside it."""
    draw = torch.Generator().manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw))
        module[0].bias += bias
    return module.eval(), lambda g, n: torch.randn((n, 4), generator=g)


def test_a_run_that_diverged_has_a_report_all_the_same(tmp_path):
    result = decompose("spd", spd(rate=1e30), tmp_path / "run", cache=tmp_path)
    assert all(math.isnan(value) for value in result.values("wrong importances, embed"))
    assert "2 of 2" in result.page.read_text() and "diverged" in result.page.read_text()
    json.loads((tmp_path / "run" / "report.json").read_text())


def test_a_seed_that_diverged_is_left_out_of_means(tmp_path, monkeypatch):
    sound = decompose("spd", spd(), tmp_path / "sound", cache=tmp_path)
    started = SPD.prepare

    def spoiled(self):
        started(self)
        with torch.no_grad():
            self.parameters["embed.V"][0] = math.nan

    monkeypatch.setattr(SPD, "prepare", spoiled)
    half = decompose("spd", spd(), tmp_path / "half", cache=tmp_path)
    assert math.isnan(half.values("MMCS")[0])
    assert half.values("MMCS")[1] == sound.values("MMCS")[1]
    report = run_report("spd", half.config, half.decomposition, half.judgment, half.curve)
    cards, figures = (section.blocks[0] for section in report.sections[:2])
    assert ("diverged", "1 of 2") in [(card.label, card.value) for card in cards.cards]
    row = next(row for row in figures.rows if row[0] == "MMCS")
    assert row[1].value == sound.values("MMCS")[1]


def test_a_sweep_over_rates_ends_though_one_diverged(tmp_path):
    config = SweepConfig.parse({
        "settings": {"target": TINY["target"], "steps": 3, "batch": 16, "judged_rows": 16,
                     "seeds": 1, "attack_steps": 1},
        "vary": {"rate": [1e-3, 1e30]},
        "engine_settings": {"kind": "serial"},
    })  # fmt: skip
    page = run_sweep("spd", config, tmp_path / "sweep")
    assert "1e+30" in page.read_text()
    assert run_sweep("spd", config, tmp_path / "sweep") == page  # what was kept can be read


def test_a_sweep_may_vary_what_its_start_alone_would_lack(tmp_path):
    """The preset's top_k of .211 leaves none of four rows; each row of the sweep has its own."""
    config = SweepConfig.parse({
        "settings": {**TINY, "batch": 4, "judged_rows": 4},
        "vary": {"top_k": [1.0, 2.0]},
        "engine_settings": {"kind": "serial"},
    })  # fmt: skip
    assert "top_k=2.0" in run_sweep("apd", config, tmp_path / "sweep").read_text()


def test_a_section_given_as_a_whole_keeps_the_preset_s_network():
    for assignments in (["target={seed: 1}"], ["target.seed=1"]):
        config = preset_config("spd", "residual-mlp-1", None, assignments)
        assert (config.target.kind, config.target.seed) == ("residual-mlp", 1)


@pytest.mark.parametrize("change", ["bias", "loss"])
def test_a_folder_of_another_network_is_refused_though_its_matrix_is_the_same(change, tmp_path):
    target = ModuleTarget(*_with(two_layers(), ["2"]))
    other = ModuleTarget(*_with(two_layers(bias=5.0 if change == "bias" else 0.0), ["2"]),
                         loss="kl" if change == "loss" else "mse")  # fmt: skip
    assert torch.equal(target.weights["2"], other.weights["2"])
    decompose("spd", spd(**MODULE), tmp_path, target=target)
    with pytest.raises(ConfigError, match="of another target"):
        decompose("spd", spd(**MODULE), tmp_path, target=other)
    with pytest.raises(ArtifactError, match="of another target"):
        load_decomposition(tmp_path, target=other)
    assert load_decomposition(tmp_path, target=target).parameters.keys()


def _with(made, names):
    module, draw_inputs = made
    return module, names, draw_inputs


def test_a_module_of_another_precision_is_refused():
    module, draw_inputs = two_layers()
    target = ModuleTarget(module.double(), ["0"], lambda g, n: draw_inputs(g, n).double())
    with pytest.raises(ConfigError, match=r"torch\.float64, expected torch\.float32"):
        build("spd", spd(**MODULE), target=target)


def test_a_module_that_is_called_twice_is_refused(draws):
    class Twice(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.Linear(4, 4)

        def forward(self, x):
            return self.inner(torch.relu(self.inner(x)))

    target = ModuleTarget(Twice().eval(), ["inner"], lambda g, n: torch.randn((n, 4), generator=g))
    with pytest.raises(ConfigError, match="inner: called more than once"):
        target.sample(draws(1), 2)


def test_apd_wants_hidden_activations_that_are_there_and_a_component_that_is_active(tmp_path):
    config = apd(**MODULE, activations=1.0, top_k=2.0)
    target = ModuleTarget(*_with(two_layers(), ["0", "2"]))
    with pytest.raises(ConfigError, match="no hidden activations; expected 0"):
        decompose("apd", config, tmp_path, target=target)
    with pytest.raises(ConfigError, match="leaves no component active"):
        APDConfig.parse({"batch": 4, "top_k": 0.2})


def test_a_dead_component_flatters_mmcs_and_spoils_ml2r():
    """A pentagon, two of whose columns share a component that is exactly their best one."""
    angle = 2 * math.pi * torch.arange(5) / 5
    columns = torch.stack([angle.cos(), angle.sin()], dim=1).double()
    axis = (columns[1] - columns[3]) / (columns[1] - columns[3]).norm()
    shared = torch.zeros(5, 2, dtype=torch.float64)
    shared[[1, 3]] = (columns[[1, 3]] @ axis)[:, None] * axis
    alone = [torch.diag_embed(torch.eye(5, dtype=torch.float64)[i]) @ columns for i in (0, 2, 4)]
    living = torch.stack([shared, *alone])
    dead = 1e-6 * columns[None]
    flattered = match_columns(columns, torch.cat([living, dead]))
    honest = match_columns(columns, living)
    assert flattered.mmcs == pytest.approx(1)
    assert flattered.ml2r == pytest.approx(0.6, abs=1e-5)  # two of five columns have nothing
    assert honest.mmcs == pytest.approx((3 + 2 * math.cos(math.radians(18))) / 5, abs=1e-6)
    assert honest.ml2r == pytest.approx(honest.mmcs, abs=1e-6)
    assert match_columns(columns, living[:0]).mmcs == 0


def test_figures_of_living_components_stand_beside_the_paper_s(tmp_path):
    config = spd()
    decomposition, _ = build("spd", config, cache=tmp_path)
    found = judge(decomposition, config, instance_seeds(config)).figures
    assert found["MMCS, living"][0] <= found["MMCS"][0]
    assert len(found["ML2R, living"]) == 3


@pytest.mark.parametrize("delta", [False, True])
def test_the_worst_masks_are_no_better_than_those_at_either_end(delta, tmp_path):
    config = spd(delta=delta, seeds=8, nulls=0)
    decomposition, _ = build("spd", config, cache=tmp_path)
    draw = generators(instance_seeds(config), "cpu", purpose=4)
    batch = decomposition.target.sample(draw, 32)
    found = reconstruction(decomposition, batch, draw, steps=0, rate=0.1)
    assert (found["worst"] >= found["important"]).all()
    assert (found["worst"] >= found["all"]).all()
    assert (len(decomposition.floors(batch)) == 4) == delta  # the rests are attacked, too


def test_importance_maps_compare():
    eye = np.eye(4)
    assert importance_map(eye, None, title="a") != importance_map(0.02 * eye, None, title="a")
