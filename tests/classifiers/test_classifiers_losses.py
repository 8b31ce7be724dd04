import numpy as np
import pytest
import torch

from custodes.classifiers import LOSSES
from custodes.classifiers.losses import (
    annealed_cummax,
    bce_token,
    cummax,
    ema_softmax,
    moving_average,
    sliding_window,
    swim_softmax,
)
from custodes.classifiers.smoothing import Smoother, ema, ema_weight, sliding_mean
from custodes.errors import ConfigError


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 40, generator=generator)
    lengths = torch.tensor([40, 7, 1])
    mask = torch.arange(40)[None, :] < lengths[:, None]
    return logits, mask, torch.tensor([1.0, 0.0, 1.0])


def slow_bce(logit, label):
    p = 1 / (1 + np.exp(-logit))
    return -(label * np.log(p) + (1 - label) * np.log(1 - p))


def test_bce_token_is_the_mean_over_real_tokens(batch):
    logits, mask, labels = batch
    found = bce_token(logits, mask, labels, 0.0, 16)
    for row in range(3):
        tokens = logits[row, mask[row]].numpy()
        assert found[row] == pytest.approx(slow_bce(tokens, labels[row].item()).mean(), rel=1e-5)


def test_annealed_cummax_is_equation_1(batch):
    logits, mask, labels = batch
    found = annealed_cummax(logits, mask, labels, 0.3, 16)
    for row in range(3):
        p = torch.sigmoid(logits[row, mask[row]]).numpy()
        mixed = 0.7 * p + 0.3 * np.maximum.accumulate(p)
        y = labels[row].item()
        expected = -(y * np.log(mixed) + (1 - y) * np.log(1 - mixed)).mean()
        assert found[row] == pytest.approx(expected, rel=1e-4)


def test_annealing_goes_from_tokens_to_the_running_maximum(batch):
    start = annealed_cummax(*batch, 0.0, 16)
    assert torch.allclose(start, bce_token(*batch, 0.0, 16), atol=1e-5)
    assert torch.equal(annealed_cummax(*batch, 1.0, 16), cummax(*batch, 0.0, 16))


def test_swim_softmax_weighs_whole_windows_only(batch):
    logits, mask, labels = batch
    found = swim_softmax(logits, mask, labels, 0.0, 16)
    for row in range(3):
        tokens = logits[row, mask[row]].numpy().astype(np.float64)
        smooth = sliding_mean(tokens, 16)[min(16, len(tokens)) - 1 :]
        weights = np.exp(smooth) / np.exp(smooth).sum()
        expected = (weights * slow_bce(smooth, labels[row].item())).sum()
        assert found[row] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", LOSSES.names())
def test_padding_changes_nothing(batch, name):
    logits, mask, labels = batch
    loss = LOSSES.load(name)
    changed = torch.where(mask, logits, torch.full_like(logits, 9.0))
    assert torch.allclose(loss(logits, mask, labels, 0.5, 4), loss(changed, mask, labels, 0.5, 4))


@pytest.mark.parametrize("name", LOSSES.names())
def test_gradients_are_finite_at_extreme_logits(name):
    logits = torch.tensor([[60.0, -60.0, 0.0]], requires_grad=True)
    mask = torch.ones(1, 3, dtype=torch.bool)
    loss = LOSSES.load(name)(logits, mask, torch.tensor([0.0]), 0.5, 2)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(logits.grad).all()


def test_an_unknown_loss_is_named():
    with pytest.raises(ConfigError, match="swim_softmax"):
        LOSSES.load("hinge")


def test_sliding_window_agrees_with_numpy():
    logits = torch.randn(1, 30, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(1, 30, dtype=torch.bool)
    found = sliding_window(logits, mask, 5)[0].numpy()
    assert np.allclose(found, sliding_mean(logits[0].numpy().astype(np.float64), 5), atol=1e-5)


def test_the_moving_average_is_bias_corrected_and_has_the_windows_age():
    assert ema(np.array([3.0, 3.0, 3.0]), 16) == pytest.approx([3.0, 3.0, 3.0])
    assert ema(np.array([1.0, 5.0]), 1) == pytest.approx([1.0, 5.0])
    weight = ema_weight(16)
    ages = np.arange(2000)
    assert (weight * (1 - weight) ** ages * ages).sum() == pytest.approx(7.5, rel=1e-6)
    smoother = Smoother(4)
    values = [0.5, -2.0, 7.0]
    assert [smoother.push(v) for v in values] == pytest.approx(list(ema(np.array(values), 4)))


def test_the_moving_average_of_training_is_the_one_that_is_served(batch):
    logits, mask, labels = batch
    for window in (1, 5, 16):
        found = moving_average(logits, mask, window)
        for row in range(3):
            own = logits[row, mask[row]].numpy().astype(np.float64)
            np.testing.assert_allclose(found[row, : len(own)], ema(own, window), atol=1e-5)
    # with a window of one both are the logits themselves
    one = ema_softmax(logits, mask, labels, 0.0, 1)
    assert torch.allclose(one, swim_softmax(logits, mask, labels, 0.0, 1), atol=1e-6)
    assert not torch.allclose(ema_softmax(*batch, 0.0, 16), swim_softmax(*batch, 0.0, 16))
