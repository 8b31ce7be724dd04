import numpy as np
import pytest
import torch

from custodes.methods.unlearning import losses

LENGTHS = torch.tensor([1.0, 2.0, 3.0])


def logs():
    return torch.tensor([-0.5, -4.0, -1.2], requires_grad=True)


def value(loss):
    return float(loss.detach())


def slope(loss, at):
    (found,) = torch.autograd.grad(loss, at)
    return found


def test_grad_diff_climbs_what_training_descends():
    at = logs()
    assert value(losses.likelihood(at, LENGTHS)) == pytest.approx(5.7 / 6)
    up = slope(losses.grad_diff(at, LENGTHS), at)
    assert torch.allclose(up, -slope(losses.likelihood(at, LENGTHS), at))
    assert (up > 0).all()


def test_npo_is_its_equation_and_fades_where_forgotten():
    at, reference = logs(), torch.tensor([-0.5, -0.5, -0.5])
    beta = 0.1
    ratio = np.exp(at.detach().numpy() - reference.numpy())
    wanted = (2 / beta * np.log(1 + ratio**beta)).mean()  # Eq. 3 of arXiv 2404.05868
    assert value(losses.npo(at, reference, beta=beta)) == pytest.approx(wanted, rel=1e-5)
    steep = slope(losses.npo(at, reference, beta=5.0), at)
    assert steep[1] < 1e-3 * steep[0]


def test_npo_becomes_gradient_ascent_for_small_beta():
    at = logs()
    found = slope(losses.npo(at, at.detach(), beta=1e-4), at)
    ascent = slope(at.mean(), at)
    assert torch.allclose(found, ascent, atol=1e-4)


def test_simnpo_is_its_equation():
    at = logs()
    inner = -2.5 * at.detach().numpy() / LENGTHS.numpy() - 0.1
    wanted = (-2 / 2.5 * np.log(1 / (1 + np.exp(-inner)))).mean()
    assert value(losses.simnpo(at, LENGTHS, beta=2.5, gamma=0.1)) == pytest.approx(wanted, rel=1e-5)
    assert (slope(losses.simnpo(at, LENGTHS, beta=2.5, gamma=0.1), at) > 0).all()


def test_random_incorrect_raises_the_rows_it_is_given():
    at = logs()
    assert (slope(losses.random_incorrect(at, LENGTHS), at) < 0).all()


def test_rmu_looks_at_present_tokens_only():
    torch.manual_seed(0)
    states, frozen = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    present = torch.tensor([[1, 1, 0], [1, 0, 0]])
    control = torch.rand(4)
    chosen = present.bool()
    wanted = (states[chosen] - control).square().mean()
    assert torch.allclose(losses.rmu_forget(states, present, control), wanted)
    wanted = (states[chosen] - frozen[chosen]).square().mean()
    assert torch.allclose(losses.rmu_retain(states, frozen, present), wanted)
    assert float(losses.rmu_forget(states, torch.zeros(2, 3), control)) == 0
