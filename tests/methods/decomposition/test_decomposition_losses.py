"""Losses and their gradients equal the papers' formulas, written out and run plainly."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from custodes.methods.decomposition.apd import (
    APD,
    attributions,
    choose_pairs,
    forward_attributions,
)
from custodes.methods.decomposition.attack import attack
from custodes.methods.decomposition.config import APDConfig, SPDConfig
from custodes.methods.decomposition.gates import (
    Gates,
    importance_logits,
    lower_leaky,
    plain_logits,
    upper_leaky,
)
from custodes.methods.decomposition.losses import divergence, importance_minimality
from custodes.methods.decomposition.schedule import annealed, rate_at
from custodes.methods.decomposition.spd import SPD
from custodes.methods.decomposition.targets.base import Batch
from custodes.methods.decomposition.targets.tms import sparse


def whole_rows(draw, target, size):
    """The rows that `sample` draws from the same generators, with none collapsed."""
    return sparse(draw, (size, target.config.features), target.config.probability, low=0.0)


def one_instance(tensor, index):
    return tensor[index].detach().clone().requires_grad_(True)


def test_components_start_as_small_as_the_authors(tms, draws):
    target = tms()
    for many in (1, 12):
        drawn = torch.empty(many, 300, *target.weights["embed"].shape[1:])
        torch.nn.init.xavier_normal_(drawn)
        config = APDConfig(components=300, drawn_at_once=many)
        ours = APD(target, config, draws(purpose=1)).parameters["embed.A"]
        assert ours.std().item() == pytest.approx(drawn.std().item(), rel=0.1)


@pytest.mark.parametrize("who", ["target", "components"])
def test_apd_losses_and_gradients_are_the_papers(tms, draws, plain, who):
    target = tms()
    config = APDConfig(
        components=6, rank=4, top_k=1.3, minimality=2, simplicity=0.5, p=0.9, attributions=who
    )
    apd = APD(target, config, draws(purpose=1))
    for tensor in apd.parameters.values():
        tensor.requires_grad_(True)
    losses = apd.losses(target.sample(draws(), 64), 0.0)
    losses["total"].sum().backward()
    rows = whole_rows(draws(), target, 64)
    weights = {"faithfulness": 1, "minimality": 2, "simplicity": 0.5}
    for i in range(2):
        a, b = (one_instance(apd.parameters[f"embed.{part}"], i) for part in "AB")
        # The components' own gradients are those of the network of their sum.
        embed = target.weights["embed"][i]
        if who == "components":
            swapped = torch.einsum("cim,cmj->ij", a, b).detach()
            mine = plain.apd_attributions(rows[i], swapped, target.bias[i], a.detach(), b.detach())
            original, plain.apd_attributions = plain.apd_attributions, lambda *_: mine  # noqa: B023
        try:
            wanted = plain.apd_losses(
                rows[i], embed, target.bias[i], a, b, top_k=1.3, p=0.9, weights=weights
            )
        finally:
            if who == "components":
                plain.apd_attributions = original
        wanted["total"].backward()
        for name, value in wanted.items():
            assert losses[name][i].item() == pytest.approx(value.item(), rel=1e-6), name
        for part, tensor in (("A", a), ("B", b)):
            got = apd.parameters[f"embed.{part}"].grad[i]
            torch.testing.assert_close(got, tensor.grad, rtol=1e-4, atol=1e-6)


def test_attributions_in_turns_are_those_at_once(tms, draws, monkeypatch, plain):
    from custodes.methods.decomposition import apd as module

    target = tms(1)
    apd = APD(target, APDConfig(components=7, rank=2), draws(1, purpose=1))
    components = {name: apd.factors(name)[0] @ apd.factors(name)[1] for name in target.weights}
    rows = whole_rows(draws(1), target, 20)
    whole = forward_attributions(target, target.weights, components, rows)
    monkeypatch.setattr(module, "_MOST", 500)
    in_turns = forward_attributions(target, target.weights, components, rows)
    torch.testing.assert_close(in_turns, whole)
    a, b = (apd.parameters[f"embed.{part}"][0] for part in "AB")
    by_output = plain.apd_attributions(rows[0], target.weights["embed"][0], target.bias[0], a, b)
    torch.testing.assert_close(whole[0], by_output, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("identity", [False, True])
def test_attributions_in_closed_form(tms, draws, identity, monkeypatch):
    from custodes.methods.decomposition.targets import tms as module

    monkeypatch.setattr(module, "_ROWS", 7)
    target = tms(2, identity=identity)
    apd = APD(target, APDConfig(components=5, rank=2), draws(2, purpose=1))
    components = {name: apd.factors(name)[0] @ apd.factors(name)[1] for name in target.weights}
    rows = whole_rows(draws(2), target, 20)
    torch.testing.assert_close(
        attributions(target, target.weights, components, rows),
        forward_attributions(target, target.weights, components, rows),
        rtol=1e-4, atol=1e-6,
    )  # fmt: skip


@given(st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_chosen_pairs_are_the_greatest(number, seed):
    found = torch.rand(2, 10, 5, generator=torch.Generator().manual_seed(seed))
    pairs = choose_pairs(found, number)
    mask = pairs.mask(10)
    number = min(number, 50)
    assert mask.sum(dim=(1, 2)).tolist() == [number, number]
    assert (mask.sum(dim=1) == pairs.counts).all()
    for i in range(2):
        if number < 50:
            assert found[i][mask[i] > 0].min() >= found[i][mask[i] == 0].max()


@pytest.mark.parametrize("p", [1.0, 2.0, 0.9])
def test_spd_losses_and_gradients_are_the_papers(tms, draws, plain, p):
    target = tms()
    config = SPDConfig(components=12, gate_neurons=5, importance=0.3, p=p)
    spd = SPD(target, config, draws(purpose=1))
    for tensor in spd.parameters.values():
        tensor.requires_grad_(True)
    batch = target.sample(draws(), 64)
    masks = draws(purpose=2)
    spd.draw = masks
    losses = spd.losses(batch, 0.0)
    losses["total"].sum().backward()
    rows, again = batch.inputs, draws(purpose=2)
    weights = {"faithfulness": 1, "importance": 0.3, "stochastic": 1, "layerwise": 1}
    for i in range(2):
        v, u = (one_instance(spd.parameters[f"embed.{part}"], i) for part in "VU")
        gates = [
            [one_instance(getattr(spd.gates(n), part), i) for part in Gates.__slots__]
            for n in ("embed", "unembed")
        ]
        # Rows that stand for several are written out; the masks on rows of zeros do not matter.
        times = batch.weight[i][batch.weight[i] > 0].long()
        r = [torch.rand(len(times), 12, generator=again[i]) for _ in range(4)]
        x = rows[i][: len(times)].repeat_interleave(times, dim=0)
        r = [one.repeat_interleave(times, dim=0) for one in r]
        wanted = plain.spd_losses(
            x, target.weights["embed"][i], target.bias[i], v, u, gates,
            ((r[0], r[1]), (r[2], r[3])), p=p, weights=weights,
        )  # fmt: skip
        wanted["total"].backward()
        for name, value in wanted.items():
            assert losses[name][i].item() == pytest.approx(value.item(), rel=2e-6), name
        for part, tensor in (("V", v), ("U", u)):
            got = spd.parameters[f"embed.{part}"].grad[i]
            torch.testing.assert_close(got, tensor.grad, rtol=1e-4, atol=1e-6)
        for name, mine in zip(("embed", "unembed"), gates, strict=True):
            for part, tensor in zip(
                ("gate_in", "gate_bias", "gate_out", "gate_offset"), mine, strict=True
            ):
                got = spd.parameters[f"{name}.{part}"].grad[i]
                torch.testing.assert_close(got, tensor.grad, rtol=1e-3, atol=1e-6)


def some_gates(instances, components, neurons, dtype=torch.float64):
    draw = torch.Generator().manual_seed(1)
    shape = (instances, components, neurons)
    parts = [torch.randn(shape, generator=draw, dtype=dtype) for _ in range(3)]
    parts.append(torch.randn(shape[:2], generator=draw, dtype=dtype))
    return [part.requires_grad_(True) for part in parts]


def test_gates_in_blocks_are_the_formula(monkeypatch):
    from custodes.methods.decomposition import gates as module

    monkeypatch.setattr(module, "_BLOCK", 20)
    monkeypatch.setattr(module, "_ROWS", 5)
    parts = some_gates(2, 4, 3)
    h = torch.randn(2, 13, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda h, *p: importance_logits(h, Gates(*p)), (h, *parts), eps=1e-6
    )
    torch.testing.assert_close(importance_logits(h, Gates(*parts)), plain_logits(h, Gates(*parts)))
    # On anything but a CPU the formula itself is used.
    elsewhere = [part.detach().to("meta") for part in parts]
    assert importance_logits(h.detach().to("meta"), Gates(*elsewhere)).shape == (2, 13, 4)


@given(st.floats(-3, 3))
def test_leaky_hard_sigmoids(value):
    x = torch.tensor(value, dtype=torch.float64)
    low, high = lower_leaky(x).item(), upper_leaky(x).item()
    assert low <= 1 and high >= 0
    if 0 <= value <= 1:
        assert low == high == value
    elif value < 0:
        assert low == pytest.approx(0.01 * value) and high == 0
    else:
        assert low == 1 and high == pytest.approx(1 + 0.01 * (value - 1))


def test_the_price_of_frequency():
    """By hand: two rows of weights 3 and 1, importances 1 and 0: sum 3, mean 3/4."""
    g = torch.tensor([[[1.0], [0.0]]])
    weight = torch.tensor([[3.0, 1.0]])
    assert importance_minimality([g], weight, p=1).item() == pytest.approx(0.75)
    found = importance_minimality([g], weight, p=1, frequency=0.5).item()
    assert found == pytest.approx(0.75 + 0.5 * 0.75 * 2)


def test_divergences_by_hand():
    y, t = torch.tensor([[[1.0, 0.0], [3.0, 3.0]]]), torch.zeros(1, 2, 2)
    weight = torch.tensor([[1.0, 3.0]])
    assert divergence(y, t, weight, "mse").item() == pytest.approx((0.5 + 3 * 9) / 4)
    kl = divergence(y, t, torch.tensor([[1.0, 0.0]]), "kl").item()
    q = torch.softmax(torch.tensor([1.0, 0.0]), 0)
    assert kl == pytest.approx(float((0.5 * (0.5 / q).log()).sum()), rel=1e-6)
    assert divergence(y, y, weight, "kl").item() == pytest.approx(0, abs=1e-7)


def test_an_attack_finds_the_worst_corner():
    """The distance grows with the first mask and falls with the second."""
    floors = {"m": torch.tensor([[[0.2, 0.5]]])}

    def distance(masks):
        return (masks["m"][..., 0] - masks["m"][..., 1]).sum(dim=1)

    start = {"m": torch.full((1, 1, 2), 0.5)}
    found = attack(distance, floors, start, steps=20, rate=0.1)["m"][0, 0]
    assert found.tolist() == pytest.approx([1.0, 0.5])
    none = attack(distance, floors, start, steps=0, rate=0.1)["m"][0, 0]
    assert none.tolist() == pytest.approx([0.6, 0.75])


def test_an_attack_keeps_the_worst_that_it_met():
    floors, start = {"m": torch.zeros(1, 1, 1)}, {"m": torch.full((1, 1, 1), 0.5)}

    def peak(masks):
        return -((masks["m"] - 0.5) ** 2).sum(dim=(1, 2))

    assert attack(peak, floors, start, steps=5, rate=0.3)["m"].item() == pytest.approx(0.5)


def test_spd_with_the_later_recipe(tms, draws):
    """With a delta component and nothing else masked, the network is the target itself."""
    target = tms(identity=True)
    config = SPDConfig(
        components=4, delta=True, adversarial=0.5, adversarial_steps=2, frequency=0.1, p=2.0,
        p_final=0.5, samples=2, warmup_steps=30,
    )  # fmt: skip
    spd = SPD(target, config, draws(purpose=1))
    for tensor in spd.parameters.values():
        tensor.requires_grad_(True)
    batch = target.sample(draws(), 32)
    before = spd.losses(batch, 0.0)["faithfulness"]
    spd.prepare()
    losses = spd.losses(batch, 0.9)
    assert (losses["faithfulness"] < before).all()
    assert (losses["adversarial"] > 0).all()
    parts = [getattr(config, name) * value for name, value in losses.items() if name != "total"]
    torch.testing.assert_close(losses["total"], torch.stack(parts).sum(dim=0))
    ones = {name: torch.ones(1, 1, 1) for name in target.weights}
    everything = ones | {f"{name} rest": torch.ones(1, 1, 1) for name in ones}
    from custodes.methods.decomposition.spd import _Pass

    assert _Pass(spd, batch).distance(everything).detach().max() < 1e-10
    assert _Pass(spd, batch).distance(ones).detach().max() > 1e-8


def test_layerwise_alone_and_nothing_at_all(tms, draws):
    target = tms(1)
    spd = SPD(target, SPDConfig(components=3, stochastic=0.0), draws(1))
    assert set(spd.losses(target.sample(draws(1), 8), 0.0)) == {
        "total", "faithfulness", "importance", "layerwise",
    }  # fmt: skip
    with pytest.raises(ValueError, match="one of stochastic"):
        SPDConfig(stochastic=0, layerwise=0)


def test_apd_activations_and_unit_norm(tms, draws):
    target = tms(1)
    config = APDConfig(components=4, rank=2, unit_norm=True, activations=1.0, top_k=4.0)
    apd = APD(target, config, draws(1))
    lengths = apd.parameters["embed.A"].norm(dim=2)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))
    apd.parameters["embed.A"].requires_grad_(True)
    batch = target.sample(draws(1), 16)
    losses = apd.losses(batch, 0.0)
    # The outputs are TMS' only activations, so the two terms are the same thing.
    torch.testing.assert_close(losses["activations"], losses["minimality"])
    losses["total"].sum().backward()
    apd.before_step()
    a = apd.parameters["embed.A"]
    torch.testing.assert_close(
        (a.grad * a).sum(dim=2), torch.zeros_like(lengths), atol=1e-6, rtol=0
    )
    probes = target.probes()
    alone = apd.probed(Batch(probes, torch.ones(1, 8), 8))["components"]
    assert alone.shape == (1, 8, 4) and alone.sum() == 8
    # With every component active on every row, the sum of all is what is run.
    every = Batch(batch.inputs, batch.weight, batch.size)
    torch.testing.assert_close(apd.outputs(every, apd.importances(every)), apd.outputs(every, None))


def test_schedules():
    assert rate_at(0, 100, "constant") == 1
    assert rate_at(99, 100, "cosine") == pytest.approx(0, abs=1e-12)
    assert rate_at(50, 100, "linear") == 0.5
    assert [rate_at(s, 100, "constant", warmup=0.1) for s in (0, 5, 10)] == [0, 0.5, 1]
    assert annealed(0.5, 2.0, None, start=0) == 2
    assert annealed(0.2, 2.0, 0.5, start=0.2) == 2
    assert annealed(1.0, 2.0, 0.5, start=0.2) == pytest.approx(0.5)
    assert annealed(0.6, 2.0, 1.0, start=0.2) == pytest.approx(1.5)
    assert Batch(torch.zeros(1), torch.zeros(1), 1).size == 1
