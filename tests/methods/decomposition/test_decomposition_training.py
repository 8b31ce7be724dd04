"""Runs: seeds do not know one another, a killed run ends as one that was not."""

import json

import pytest
import torch
from tiny_decompositions import apd, spd

from custodes.errors import ArtifactError, ConfigError
from custodes.methods.decomposition import (
    ModuleTarget,
    decompose,
    load_decomposition,
    preset_config,
)
from custodes.methods.decomposition import training as training_module
from custodes.methods.decomposition.method import build, instance_seeds
from custodes.methods.decomposition.tensors import read_tensors, write_tensors
from custodes.methods.decomposition.training import Training


@pytest.fixture(params=["apd", "spd"])
def method(request):
    return request.param


def config_of(method, **changes):
    return apd(**changes) if method == "apd" else spd(**changes)


def parameters(result):
    return result.decomposition.parameters


def test_two_runs_of_one_seed_agree_to_the_last_bit(method, tmp_path):
    config = config_of(method)
    first = decompose(method, config, tmp_path / "one", cache=tmp_path)
    second = decompose(method, config, tmp_path / "two", cache=tmp_path)
    for name, tensor in parameters(first).items():
        assert torch.equal(tensor, parameters(second)[name]), name
    assert first.judgment.figures == second.judgment.figures


def test_a_seed_is_the_same_alone_and_beside_others(method, tmp_path):
    config = config_of(method)
    together, _ = build(method, config, cache=tmp_path), None
    both = Training(*_pair(together, config))
    alone_config = config_of(method, seeds=1, nulls=0, first_seed=1)
    alone = Training(*_pair(build(method, alone_config, cache=tmp_path), alone_config))
    assert instance_seeds(config) == [0, 1, 2] and instance_seeds(alone_config) == [1]
    for _ in range(5):
        losses, own = both.step(), alone.step()
        assert losses["total"][1].item() == pytest.approx(own["total"][0].item(), rel=1e-4)


def _pair(built, config):
    decomposition, draw = built
    return decomposition, config, draw


class KilledError(Exception):
    pass


def test_a_killed_run_goes_on_where_it_was(method, tmp_path, monkeypatch):
    config = config_of(method, checkpoint_seconds=1e-9)
    whole = decompose(method, config, tmp_path / "whole", cache=tmp_path)
    steps = 0
    step = Training.step

    def counted(self):
        nonlocal steps
        steps += 1
        if steps == 8:
            raise KilledError
        return step(self)

    monkeypatch.setattr(Training, "step", counted)
    with pytest.raises(KilledError):
        decompose(method, config, tmp_path / "killed", cache=tmp_path)
    # What was logged and not saved is done again, not told twice.
    with (tmp_path / "killed" / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 9, "seconds": 0.0}) + '\n{"step": 10, "sec')
    again = decompose(method, config, tmp_path / "killed", cache=tmp_path)
    assert steps == 8 + 5  # 7 were saved
    for name, tensor in parameters(whole).items():
        assert torch.equal(tensor, parameters(again)[name]), name
    assert [x["step"] for x in again.curve] == [x["step"] for x in whole.curve]
    # A finished run is only judged again.
    monkeypatch.setattr(Training, "step", lambda self: pytest.fail("a step too many"))
    assert decompose(method, config, tmp_path / "whole", cache=tmp_path).seconds > 0


def test_a_folder_of_other_settings_is_left_alone(tmp_path):
    decompose("spd", spd(), tmp_path / "run", cache=tmp_path)
    before = (tmp_path / "run" / "config.yaml").read_text()
    with pytest.raises(ConfigError, match="other settings"):
        decompose("spd", spd(components=8), tmp_path / "run", cache=tmp_path)
    assert (tmp_path / "run" / "config.yaml").read_text() == before
    training = Training(*_pair(build("spd", spd(p=2.0), cache=tmp_path), spd(p=2.0)))
    with pytest.raises(ConfigError, match="other settings"):
        training.load(tmp_path / "run" / "artifacts" / "checkpoint.safetensors", "another")


def test_a_device_that_is_not_there_is_named_before_anything_is_written(method, tmp_path):
    with pytest.raises(ConfigError, match="device: got 'cuda:99', which cannot be used"):
        decompose(method, config_of(method, device="cuda:99"), tmp_path / "run", cache=tmp_path)
    assert not (tmp_path / "run").exists()


def test_a_run_of_a_constant_rate_goes_on_with_more_steps(method, tmp_path):
    def run(folder, steps, **changes):
        config = config_of(method, steps=steps, **changes)
        return decompose(method, config, tmp_path / folder, cache=tmp_path)

    whole = run("whole", 12)
    run("grown", 7)
    grown = run("grown", 12, judged_rows=48)  # what is done after training may change
    for name, tensor in parameters(whole).items():
        assert torch.equal(tensor, parameters(grown)[name]), name
    assert [x["step"] for x in grown.curve] == [0, 1, 2, 3, 4, 5, 6, 9, 11]
    with pytest.raises(ConfigError, match="at step 12; got steps=11"):
        run("grown", 11)
    run("annealed", 7, schedule="cosine")
    with pytest.raises(ConfigError, match="other settings"):
        run("annealed", 12, schedule="cosine")


def test_tied_factors_move_by_both_sides_steps(tmp_path):
    """As where two parameters lie in one memory and Adam steps each, one after the other."""
    config = spd(tied_steps=2, nulls=0)
    ours = Training(*_built(config, tmp_path))
    decomposition, _, draw = _built(config, tmp_path)
    held = decomposition.parameters
    for name, source in (("unembed.V", "embed.U"), ("unembed.U", "embed.V")):
        held[name] = held[source].data.mT  # one memory
    for tensor in held.values():
        tensor.requires_grad_(True)
    optimizer = torch.optim.Adam(list(held.values()), lr=config.rate)
    for step in range(4):
        ours.step()
        optimizer.zero_grad()
        batch = decomposition.target.sample(draw, config.batch)
        decomposition.losses(batch, step / config.steps)["total"].sum().backward()
        optimizer.step()
    for name, tensor in ours.decomposition.parameters.items():
        torch.testing.assert_close(tensor, held[name], atol=1e-6, rtol=1e-5)
    once = Training(*_built(spd(nulls=0), tmp_path))
    for _ in range(4):
        once.step()
    apart = once.decomposition.sums()["embed"] - ours.decomposition.sums()["embed"]
    assert apart.abs().max() > config.rate


def _built(config, cache):
    decomposition, draw = build("spd", config, cache=cache)
    return decomposition, config, draw


def test_a_finished_run_can_be_read(method, tmp_path):
    result = decompose(method, config_of(method), tmp_path / "run", cache=tmp_path)
    found = load_decomposition(tmp_path / "run", cache=tmp_path)
    for name, total in result.decomposition.sums().items():
        assert torch.equal(found.sums()[name], total)
    path = tmp_path / "run" / "artifacts" / "components.safetensors"
    tensors, facts = read_tensors(path, "cpu")
    write_tensors(path, tensors, {**facts, "format": 9})
    with pytest.raises(ArtifactError, match="format 9"):
        load_decomposition(tmp_path / "run", cache=tmp_path)


def test_a_method_takes_its_own_settings(tmp_path):
    with pytest.raises(ConfigError, match="got 'apd' with SPDConfig"):
        build("apd", spd(), cache=tmp_path)


def test_gradients_are_clipped_seed_by_seed():
    small, large = torch.zeros(2, 3, requires_grad=True), torch.zeros(2, 2, 2, requires_grad=True)
    idle = torch.zeros(2, 1, requires_grad=True)
    small.grad, large.grad = torch.zeros(2, 3), torch.zeros(2, 2, 2)
    small.grad[0, 0], large.grad[0, 1, 1], small.grad[1, 2] = 3.0, 4.0, 0.5
    training_module._clip([small, large, idle], 1.0)
    assert small.grad[0, 0].item() == pytest.approx(3 / 5)
    assert large.grad[0, 1, 1].item() == pytest.approx(4 / 5)
    assert small.grad[1, 2].item() == 0.5


def test_a_module_of_ones_own_with_the_later_recipe(tmp_path):
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 5)
    ).eval()
    target = ModuleTarget(
        module, ["0", "2"], lambda g, n: torch.randn((n, 4), generator=g), loss="kl"
    )
    config = spd(delta=True, adversarial=1.0, clip=0.5, warmup_steps=5, frequency=0.1, steps=4)
    result = decompose("spd", config, tmp_path / "run", target=target)
    assert result.judgment.probes == {} and "MMCS" not in result.judgment.figures
    assert result.values("reconstruction, all")[0] > 0
    assert "Importances on one-hot" not in result.page.read_text()
    assert "SPD of Sequential: 0, 2" in result.page.read_text()
    assert "kind: module" in (tmp_path / "run" / "config.yaml").read_text()
    with pytest.raises(ConfigError, match=r"package\.module:function"):
        load_decomposition(tmp_path / "run")
    with torch.no_grad():
        module[2].weight.mul_(2)
    other = ModuleTarget(module, ["0", "2"], target.draw_inputs, loss="kl")
    with pytest.raises(ConfigError, match="another target"):
        decompose("spd", config, tmp_path / "run", target=other)
    with pytest.raises(ArtifactError, match="another target than the one given"):
        load_decomposition(tmp_path / "run", target=other)
    with torch.no_grad():
        module[2].weight.div_(2)
    found = load_decomposition(tmp_path / "run", target=target)
    assert torch.equal(found.sums()["0"], result.decomposition.sums()["0"])
    # A module works for APD too; its components span both matrices.
    found = decompose("apd", apd(top_k=2.0, steps=3), tmp_path / "apd", target=target)
    assert found.values("active, components") == pytest.approx([2.0, 2.0], abs=0.1)


@pytest.mark.slow
def test_apd_finds_the_columns_of_a_small_tms(tmp_path):
    """TMS 5-2 with a third of the paper's steps: every column has its component."""
    config = preset_config("apd", "tms-5-2", None, ["steps=7000", "seeds=1", "nulls=0"])
    result = decompose("apd", config, tmp_path / "run", cache=tmp_path)
    assert result.values("MMCS")[0] > 0.99
    assert 0.85 < result.values("ML2R")[0] < 1
    assert result.values("wrong importances, embed") == [0]
    assert result.values("alive, components") == [5]
