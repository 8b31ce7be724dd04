"""The second device refuses what an accelerator refuses; otherwise no other test here says much."""

import pytest
import torch
from torch.testing import assert_close


def test_the_device_meets_the_processor_nowhere(elsewhere):
    there, here = torch.ones(3, device=elsewhere), torch.ones(3)
    with pytest.raises(RuntimeError, match="elsewhere"):
        there + here
    with pytest.raises(RuntimeError, match="generator"):
        torch.randn(3, generator=torch.Generator(), device=elsewhere)
    with pytest.raises(RuntimeError, match="numpy"):
        there.numpy()
    there += torch.tensor(1.0)
    assert_close(there.cpu(), here + 1)


def test_numbers_and_gradients_are_the_processors(elsewhere):
    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 2)
    x = torch.randn(3, 4)
    layer(x).square().sum().backward()
    expected = layer.weight.grad.clone()
    layer.zero_grad()
    layer.to(elsewhere)
    layer(x.to(elsewhere)).square().sum().backward()
    assert layer.weight.grad.device.type == "elsewhere"
    assert_close(layer.weight.grad.cpu(), expected)


def test_a_generator_of_the_device_draws_the_processors_numbers(elsewhere):
    here, there = (
        torch.rand(5, generator=torch.Generator(device).manual_seed(3), device=device)
        for device in ("cpu", elsewhere)
    )
    assert_close(there.cpu(), here)
    with pytest.raises(RuntimeError, match="generator"):
        torch.rand(5, generator=torch.Generator(elsewhere))
