"""Targets: what they compute, how rows are drawn, and anyone's module."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from custodes.errors import ArtifactError, ConfigError, DataError
from custodes.methods.decomposition.config import (
    GatedConfig,
    ResidualConfig,
    TargetConfig,
    TMSConfig,
)
from custodes.methods.decomposition.targets.base import collapse, plain_linear, randomized
from custodes.methods.decomposition.targets.gated import code_gated
from custodes.methods.decomposition.targets.making import make_target, with_nulls
from custodes.methods.decomposition.targets.module import ModuleTarget
from custodes.methods.decomposition.targets.residual import build_residual, train_residual
from custodes.methods.decomposition.vectors import Vectors


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_collapsed_rows_stand_for_all(seed, probability):
    draw = torch.Generator().manual_seed(seed)
    rows = torch.randn(3, 7, 2, generator=draw)
    rows *= (torch.rand(3, 7, 1, generator=draw) < probability).float()
    batch = collapse(rows)
    assert batch.weight.sum(dim=1).tolist() == [7, 7, 7]
    for power in (1, 2):
        means = (batch.inputs**power * batch.weight[..., None]).sum(dim=1) / 7
        torch.testing.assert_close(means, (rows**power).mean(dim=1))
    assert batch.inputs.shape[1] == int((rows != 0).any(dim=2).sum(dim=1).max()) + 1


def test_vectors_are_the_same_folded_or_not():
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 5, 3, generator=draw), torch.randn(2, 5, 4, generator=draw)
    basis, matrix = torch.randn(2, 3, 6, generator=draw), torch.randn(2, 6, 9, generator=draw)
    wide = torch.randn(2, 4, 6, generator=draw)
    vectors = Vectors.of(x, basis) + Vectors.of(y, wide)
    dense = x @ basis + y @ wide
    torch.testing.assert_close(vectors.dense(), dense)
    torch.testing.assert_close(vectors.through(matrix), dense @ matrix)
    torch.testing.assert_close(vectors.times(matrix).dense(), dense @ matrix)
    assert len(vectors.times(matrix).parts) == 2 and len(vectors.times(matrix[..., :2]).parts) == 1
    factors = torch.rand(2, 5, 1, generator=draw)
    torch.testing.assert_close(vectors.scaled(factors).dense(), dense * factors)


def test_a_trained_tms_reconstructs_its_inputs(tmp_path):
    """TMS 5-2 with the paper's settings but fewer steps: five features share two numbers."""
    config = TargetConfig(tms=TMSConfig(steps=1200, rate=1e-2))
    target = make_target(config, [0, 1], 1, device="cpu", cache=tmp_path)
    assert target.weights["embed"].shape == (3, 5, 2)
    assert torch.equal(target.weights["embed"][0], target.weights["embed"][1])
    x = torch.eye(5).expand(3, -1, -1)
    error = ((target.forward(x, plain_linear(target.weights)) - x) ** 2).mean(dim=(1, 2))
    assert error[0] < 0.05 < error[2]
    (kept,) = (tmp_path / "targets").glob("*.safetensors")
    stamp = kept.stat().st_mtime_ns
    again = make_target(config, [5], 0, device="cpu", cache=tmp_path)
    assert kept.stat().st_mtime_ns == stamp
    assert torch.equal(again.weights["embed"][0], target.weights["embed"][0])
    kept.write_bytes(b"broken")
    with pytest.raises(ArtifactError, match="delete it"):
        make_target(config, [0], 0, device="cpu", cache=tmp_path)


def test_seeds_may_have_targets_of_their_own(tmp_path):
    config = TargetConfig(tms=TMSConfig(steps=3), own=True)
    target = make_target(config, [0, 1], 1, device="cpu", cache=tmp_path)
    first, second, null = target.weights["embed"]
    assert not torch.equal(first, second) and not torch.equal(first, null)
    alone = make_target(
        TargetConfig(tms=TMSConfig(steps=3), seed=1), [0], 0, device="cpu", cache=tmp_path
    )
    torch.testing.assert_close(alone.weights["embed"][0], second)


def test_a_random_network_keeps_moments_and_ties(tms):
    target = tms(1, identity=True, features=60, hidden=40)
    whole = with_nulls(target, 2, 1, seed=3, device="cpu")
    assert {w.shape[0] for w in whole.weights.values()} == {3}
    one, null = whole.weights["embed"][0], whole.weights["embed"][2]
    assert null.std().item() == pytest.approx(one.std().item(), rel=0.1)
    assert abs(torch.corrcoef(torch.stack([one.ravel(), null.ravel()]))[0, 1]) < 0.1
    assert torch.equal(whole.weights["unembed"][2], null.T)
    draw = torch.Generator().manual_seed(3)
    first = {n: w[0] for n, w in target.weights.items()}
    assert list(randomized(first, target.facts, draw)) == ["embed", "middle", "unembed"]


def test_the_residual_stream_in_features_is_the_wide_one(draws):
    """The folded run against plain matrices of the stream's own width; two layers."""
    config = ResidualConfig(features=6, embedding=40, neurons=5, layers=2, steps=0)
    tensors = train_residual(config, draws(2))
    target = build_residual(config, tensors)
    x = torch.randn(2, 9, 6)
    stream = x @ tensors["embedding"]
    for layer in range(2):
        hidden = torch.relu(stream @ tensors[f"layers.{layer}.in"])
        stream = stream + hidden @ tensors[f"layers.{layer}.out"]
    wanted = stream @ tensors["embedding"].mT
    linear = plain_linear(target.weights)
    torch.testing.assert_close(target.forward(x, linear), wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(target.hidden(x, linear)[1], hidden, rtol=1e-4, atol=1e-5)
    lengths = tensors["embedding"].norm(dim=2)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))
    sample = target.sample(draws(2), 500)
    assert sample.inputs.min() < -0.5 and sample.weight.sum(dim=1).tolist() == [500, 500]


def test_a_trained_residual_mlp_learns_its_function(draws):
    config = ResidualConfig(features=10, embedding=60, neurons=10, steps=300, probability=0.1)
    target = build_residual(config, train_residual(config, draws(1)))
    x = target.probes()
    error = (target.forward(x, plain_linear(target.weights)) - 2 * x) ** 2
    untrained = (x - 2 * x) ** 2
    assert error.mean() < 0.3 * untrained.mean()


def test_gated_functions_add_up_where_their_bits_are_on():
    config = GatedConfig(functions=3, neurons=4, width=2.0)
    target = code_gated(config, torch.Generator().manual_seed(0))
    numbers = torch.linspace(0, 2, 21)

    def run(*bits):
        rows = torch.cat([numbers[:, None], torch.tensor(bits).expand(21, -1)], dim=1)
        return target.forward(rows[None], plain_linear(target.weights))[0, :, 0]

    assert run(0.0, 0.0, 0.0).abs().max() == 0
    alone = [run(*(float(i == j) for j in range(3))) for i in range(3)]
    torch.testing.assert_close(run(1.0, 0.0, 1.0), alone[0] + alone[2])
    assert all(one.abs().max() > 0.1 for one in alone)
    truth = target.facts.truth
    torch.testing.assert_close(truth["in"].sum(dim=1)[:, 1:], target.weights["in"][:, 1:])
    torch.testing.assert_close(truth["out"].sum(dim=1), target.weights["out"])
    assert target.probes().shape == (1, 3, 4)
    assert target.hidden(target.probes(), plain_linear(target.weights))[0].shape == (1, 3, 12)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Linear(4, 6)
        self.down = nn.Linear(6, 3, bias=False)
        self.pooled = nn.Linear(3, 2)

    def forward(self, x):
        found = self.down(torch.relu(self.up(x)))
        return found + 0 * self.pooled(found.mean(dim=1)).sum()


def network(draw):
    """A factory, as settings name it."""
    torch.manual_seed(int(draw.initial_seed()))
    return Network().eval(), lambda g, n: torch.randn((n, 5, 4), generator=g)


def test_any_module_by_naming_its_matrices(draws):
    module, draw_inputs = network(torch.Generator().manual_seed(0))
    target = ModuleTarget(module, ["up", "down"], draw_inputs)
    whole = with_nulls(target, 2, 1, seed=0, device="cpu")
    batch = whole.sample(draws(3), 2)
    assert batch.weight.shape == (3, 10)
    found = whole.forward(batch.inputs, plain_linear(whole.weights))
    for i in (0, 1):
        wanted = module(batch.inputs[i]).reshape(10, 3)
        torch.testing.assert_close(found[i], wanted)
    assert (found[2] - module(batch.inputs[2]).reshape(10, 3)).abs().max() > 0.01
    assert "forward" not in vars(module.up)
    assert whole.probes() is None and whole.hidden(batch.inputs, plain_linear({})) == []


def test_a_module_that_cannot_be_taken_is_refused(draws):
    module, draw_inputs = network(torch.Generator().manual_seed(0))
    with pytest.raises(ConfigError, match="expected names of linear modules: up, down, pooled"):
        ModuleTarget(module, ["sideways"], draw_inputs)
    with pytest.raises(ConfigError, match="no name"):
        ModuleTarget(module, [], draw_inputs)
    with pytest.raises(ConfigError, match=r"call its eval\(\) first"):
        ModuleTarget(module.train(), ["up"], draw_inputs)
    target = ModuleTarget(module.eval(), ["up", "pooled"], draw_inputs)
    with pytest.raises(ConfigError, match="pooled sees 1"):
        target.sample(draws(1), 2)
    with pytest.raises(ConfigError, match=r"package\.module:function"):
        make_target(TargetConfig(kind="module"), [0], 0, device="cpu")


def test_a_module_from_a_factory(draws, monkeypatch):
    import sys
    import types

    made = types.ModuleType("factory_of_tests")
    made.network = network
    monkeypatch.setitem(sys.modules, "factory_of_tests", made)
    config = TargetConfig.parse(
        {"kind": "module", "module": {"factory": "factory_of_tests:network", "weights": ["up"]}}
    )
    target = make_target(config, [0, 1], 1, device="cpu")
    assert target.weights["up"].shape == (3, 4, 6)
    assert target.facts.origin == "factory_of_tests:network"


@pytest.mark.slow
def test_a_matrix_of_the_embedded_model(draws, tmp_path):
    from custodes.methods.decomposition.config import EmbeddedConfig
    from custodes.methods.decomposition.targets.embedded import load_embedded

    target = load_embedded(EmbeddedConfig(depth=1, tokens=4), "cpu")
    assert target.weights["model.layers.0.mlp.down_proj"].shape == (1, 1536, 576)
    assert "4-bit" in target.facts.origin and "first 1 of 30" in target.facts.origin
    batch = target.sample(draws(1), 2)
    found = target.forward(batch.inputs, plain_linear(target.weights))
    wanted = target.module(batch.inputs[0]).logits.reshape(8, -1)
    torch.testing.assert_close(found[0], wanted, rtol=1e-3, atol=1e-3)
    with pytest.raises(ConfigError, match="at most 30"):
        load_embedded(EmbeddedConfig(depth=31), "cpu")
    short = tmp_path / "short.txt"
    short.write_text("Hello.")
    with pytest.raises(DataError, match="expected more than 16"):
        load_embedded(EmbeddedConfig(text=short), "cpu")
