"""Seeds that diverge, networks that cannot be decomposed, folders of something else, and figures
that would flatter."""

import importlib
import json
import math
import shutil
import sys

import numpy as np
import pytest
import torch
from tiny_decompositions import TINY, apd, spd

from custodes.errors import ArtifactError, ConfigError, EngineError
from custodes.methods.decomposition import (
    APDConfig,
    ModuleTarget,
    decompose,
    load_decomposition,
    preset_config,
)
from custodes.methods.decomposition.apd import APD
from custodes.methods.decomposition.config import SweepConfig, TargetConfig
from custodes.methods.decomposition.drawings import importance_map
from custodes.methods.decomposition.judging import judge
from custodes.methods.decomposition.method import build, instance_seeds
from custodes.methods.decomposition.metrics.columns import match_columns
from custodes.methods.decomposition.metrics.reconstruction import reconstruction
from custodes.methods.decomposition.report import run_report
from custodes.methods.decomposition.reproduce import _rows as reproduced_rows
from custodes.methods.decomposition.spd import SPD
from custodes.methods.decomposition.sweep import _contents as sweep_contents
from custodes.methods.decomposition.sweep import _report as sweep_report
from custodes.methods.decomposition.sweep import run_sweep
from custodes.methods.decomposition.targets.base import Facts, generators, randomized
from custodes.methods.decomposition.training import _identity as identity_of
from custodes.methods.decomposition.training import read_curve

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


@pytest.mark.parametrize("method", ["spd", "apd"])
def test_a_run_that_diverged_has_a_report_all_the_same(method, tmp_path):
    config = spd(rate=1e30) if method == "spd" else apd(rate=1e30)
    result = decompose(method, config, tmp_path / "run", cache=tmp_path)
    assert all(math.isnan(value) for value in result.values("wrong importances, embed"))
    assert "2 of 2" in result.page.read_text() and "diverged" in result.page.read_text()
    values = json.loads((tmp_path / "run" / "report.json").read_text(), parse_constant=pytest.fail)
    assert values["figures"]["MMCS"][:2] == [None, None]


@pytest.mark.parametrize("method", ["spd", "apd"])
def test_a_seed_that_diverged_is_left_out_of_means(method, tmp_path, monkeypatch):
    kind, config = (SPD, spd()) if method == "spd" else (APD, apd())
    sound = decompose(method, config, tmp_path / "sound", cache=tmp_path)
    started = kind.prepare

    def spoiled(self):
        started(self)
        with torch.no_grad():
            next(iter(self.parameters.values()))[0] = math.nan

    monkeypatch.setattr(kind, "prepare", spoiled)
    half = decompose(method, config, tmp_path / "half", cache=tmp_path)
    for values in half.judgment.figures.values():  # not one of them is taken for a figure
        assert math.isnan(values[0]) and math.isfinite(values[1])
    assert half.values("MMCS")[1] == sound.values("MMCS")[1]
    assert half.judgment.matchings == {} and sound.judgment.matchings
    report = run_report(method, half.config, half.decomposition, half.judgment, half.curve)
    cards, figures = (section.blocks[0] for section in report.sections[:2])
    assert ("diverged", "1 of 2") in [(card.label, card.value) for card in cards.cards]
    for name in ("MMCS", "MMCS, living", "active, embed" if method == "spd" else "MMCS"):
        row = next(row for row in figures.rows if row[0] == name)
        assert row[1].value == sound.values(name)[1]
    rows = {row[0]: row[2] for row in reproduced_rows("tms", half)}
    assert rows["tms: MMCS"].value == sound.values("MMCS")[1]


def test_a_sweep_s_means_leave_out_what_diverged():
    config = SweepConfig(vary={"rate": (0.1,)})
    found = [{"settings": {"rate": 0.1}, "figures": {"MMCS": [math.nan, 0.5, 0.7]}, "nulls": {}}]
    (row,) = sweep_report("spd", config, found).sections[0].blocks[0].rows
    assert row[1].value == pytest.approx(0.6)


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


def test_a_sweep_does_not_hand_back_rows_of_another_network(tmp_path, monkeypatch):
    code = """
import torch
def make(generator):
    module = torch.nn.Sequential(torch.nn.Linear(4, 3, bias=False))
    with torch.no_grad():
        module[0].weight.fill_({}).add_(torch.eye(3, 4))
    return module.eval(), lambda g, n: torch.randn((n, 4), generator=g)
"""
    monkeypatch.syspath_prepend(tmp_path)
    config = SweepConfig.parse({
        "settings": {"target.kind": "module", "target.module.factory": "made_here:make",
                     "target.module.weights": ["0"], "steps": 3, "batch": 16, "judged_rows": 16,
                     "seeds": 1, "nulls": 0, "attack_steps": 1, "components": 3},
        "vary": {"importance": [1e-3]},
        "engine_settings": {"kind": "serial"},
    })  # fmt: skip

    def sweep(number):
        (tmp_path / "made_here.py").write_text(code.format(number))
        monkeypatch.delitem(sys.modules, "made_here", raising=False)
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
        importlib.invalidate_caches()
        return run_sweep("spd", config, tmp_path / "sweep")

    assert sweep(0.0) == sweep(0.0)
    with pytest.raises(EngineError, match="of another target"):
        sweep(2.0)


def test_a_text_s_content_is_part_of_a_sweep_and_of_a_run(tmp_path):
    text = tmp_path / "text.txt"

    def contents(words):
        text.write_text(words)
        target = TargetConfig.parse({"kind": "embedded", "embedded": {"text": str(text)}})
        held = spd(target={"kind": "embedded", "embedded": {"text": str(text)}})
        return sweep_contents([target]), identity_of(held, untrained)

    untrained, _ = build("spd", spd(), cache=tmp_path)
    first = contents("one")
    assert contents("one") == first
    assert all(one != other for one, other in zip(contents("two"), first, strict=True))
    assert sweep_contents([TargetConfig()]) == {}  # settings say it all: kept rows stay


def test_a_curve_that_is_gone_is_told_by_name(tmp_path):
    with pytest.raises(ArtifactError, match=r"metrics\.jsonl: holds no losses"):
        read_curve(tmp_path)


def test_a_single_number_has_a_random_network_too(draws):
    drawn = randomized({"a": torch.full((1, 1), 3.0)}, Facts(), draws(1)[0])
    assert torch.isfinite(drawn["a"]).all() and drawn["a"] != 3


def test_a_forward_of_the_module_s_own_is_put_back(draws):
    module, draw_inputs = two_layers()
    own = module[0].forward
    module[0].forward = own  # in vars(module), where the class's is not
    target = ModuleTarget(module, ["0", "2"], draw_inputs)
    target.sample(draws(1), 2)
    assert vars(module[0])["forward"] is own
    assert "forward" not in vars(module[2])


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
