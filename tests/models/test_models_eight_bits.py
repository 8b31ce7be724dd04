import copy

import numpy as np
import pytest
import torch
from torch import nn

from custodes.errors import ConfigError
from custodes.models import Sampling, eight_bits
from custodes.models.eight_bits import EightBitLinear, _Rounded
from custodes.models.transformers import TransformersModel
from custodes.types import Message

TEXTS = ["the quick brown fox jumps", "a", "over the lazy dog " * 4, "the fox " * 12]


def made(folder, dtype: str = "int8") -> TransformersModel:
    return TransformersModel(TransformersModel.Config(model=str(folder), threads=1, dtype=dtype))


def test_a_map_is_the_rounded_matrix_times_the_rounded_input() -> None:
    linear = nn.Linear(32, 24)
    values = torch.randn(5, 7, 32)
    step_w = linear.weight.detach().abs().amax(1, keepdim=True) / 127
    step_x = values.abs().amax(-1, keepdim=True) / 127
    matrix = (linear.weight.detach() / step_w).round() * step_w
    expected = (values / step_x).round() * step_x @ matrix.T + linear.bias.detach()
    with torch.inference_mode():
        found = EightBitLinear(linear)(values)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_token_does_not_feel_what_else_is_in_the_batch() -> None:
    linear = EightBitLinear(nn.Linear(32, 24))
    values = torch.randn(40, 32) * torch.logspace(-3, 3, 40)[:, None]
    with torch.inference_mode():
        whole = linear(values)
        single = torch.cat([linear(row[None]) for row in values])
    assert torch.equal(whole, single)


def test_maps_of_one_input_round_it_once_and_of_a_changed_one_anew(monkeypatch) -> None:
    maps = nn.Linear(8, 8), nn.Linear(8, 8)
    rounded = _Rounded()
    first, second = (EightBitLinear(linear, rounded) for linear in maps)
    counted = []
    step = eight_bits._step
    monkeypatch.setattr(eight_bits, "_step", lambda rows: counted.append(len(rows)) or step(rows))
    values = torch.randn(3, 8)
    with torch.no_grad():
        (first(values), second(values))
        assert sorted(counted) == [3, 8, 8]  # the input and both matrices
        values += 1.0
        changed = second(values)
        assert counted.count(3) == 2
    assert torch.equal(changed, EightBitLinear(maps[1])(values.detach()))
    assert copy.deepcopy(rounded)._last is None


def test_nothing_but_noughts_gives_the_bias() -> None:
    linear = nn.Linear(8, 8)
    with torch.inference_mode():
        found = EightBitLinear(linear)(torch.zeros(3, 8))
    torch.testing.assert_close(found, linear.bias.detach().expand(3, 8))


def test_activations_are_near_those_of_32_bits_and_streams_are_the_batch(tiny_folder) -> None:
    exact = made(tiny_folder, "float32").activations(TEXTS, (2, 4))
    model = made(tiny_folder)
    rough = model.activations(TEXTS, (2, 4))  # one batch, padded
    for fine, coarse in zip(exact, rough, strict=True):
        error = np.linalg.norm(coarse.values - fine.values) / np.linalg.norm(fine.values)
        assert 0 < error < 0.1
    for text, whole in zip(TEXTS, rough, strict=True):
        stream = model.open_activations((2, 4))
        ids, _ = model.encode(text)
        parts = [stream.push_tokens(ids[start : start + 3]) for start in range(0, len(ids), 3)]
        np.testing.assert_array_equal(np.concatenate(parts, 1), whole.values)


def test_replies_do_not_depend_on_the_batch(tiny_folder) -> None:
    model = made(tiny_folder)
    talks = [(Message("user", text),) for text in TEXTS]
    together = model.generate(talks, Sampling(max_tokens=8))
    assert together == [model.generate([talk], Sampling(max_tokens=8))[0] for talk in talks]


def test_an_adapter_is_felt(tiny_folder) -> None:
    model = made(tiny_folder)
    before = model.activations(TEXTS[:1], (2,))[0].values
    rng = np.random.default_rng(0)
    pairs = {
        "layers.0.mlp.up_proj.down": rng.normal(size=(2, 32)),
        "layers.0.mlp.up_proj.up": rng.normal(size=(64, 2)),
    }
    model.adapt(pairs, name="trial")
    after = model.activations(TEXTS[:1], (2,))[0].values
    plain = made(tiny_folder, "float32")
    plain.adapt(pairs, name="trial")
    expected = plain.activations(TEXTS[:1], (2,))[0].values
    assert not np.allclose(before, expected, rtol=0.1)
    assert np.linalg.norm(after - expected) < 0.05 * np.linalg.norm(expected)


def test_gradients_are_refused() -> None:
    linear = EightBitLinear(nn.Linear(4, 4))
    with pytest.raises(ConfigError, match="no gradients"):
        linear(torch.ones(1, 4, requires_grad=True))


def test_swaps_are_those_of_the_weights_before_rounding(tiny_folder) -> None:
    asked = (Message("user", "the fox"),)
    model = made(tiny_folder)
    before = model.log_probabilities(asked, ["dog"])[0]
    found = model.swaps(asked, "fox", "dog", top=3)
    assert found == made(tiny_folder, "float32").swaps(asked, "fox", "dog", top=3)
    assert np.array_equal(model.log_probabilities(asked, ["dog"])[0], before)


def test_off_the_processor_it_is_refused() -> None:
    from custodes.models.eight_bits import in_eight_bits

    class Elsewhere:
        device = torch.device("cuda")

    with pytest.raises(ConfigError, match=r"device 'cuda'"):
        in_eight_bits(Elsewhere())
