"""What is multiplied fast is measured; whichever it is, 8 bits give the same numbers."""

import pytest
import torch
from torch import nn

from custodes.models import arithmetic, eight_bits
from custodes.models.arithmetic import bfloat16_pays, integers_pay, resolved
from custodes.models.eight_bits import EightBitLinear


@pytest.mark.parametrize("width", [8, 1040, 1041, 1536, 4000])
@pytest.mark.parametrize("greatest", [False, True], ids=["any", "greatest"])
def test_integers_and_float32_give_the_same_bits(monkeypatch, width, greatest):
    """`greatest`: every product is 127 x 127, sums beyond what a float32 holds exactly."""
    torch.manual_seed(0)
    linear = nn.Linear(width, 16)
    values = torch.randn(9, width)
    if greatest:
        nn.init.ones_(linear.weight)
        values = torch.ones(9, width)
    found = []
    for pays in (True, False):
        monkeypatch.setattr(eight_bits, "integers_pay", lambda pays=pays: pays)
        with torch.inference_mode():
            found.append(EightBitLinear(linear)(values))
    assert torch.equal(*found)


def test_what_is_asked_for_is_what_is_used():
    assert resolved("float32", "cpu") == "float32"
    assert resolved("bfloat16", "cpu") == "bfloat16"
    assert resolved("auto", "cuda") == "bfloat16"


def test_auto_is_the_faster(monkeypatch):
    for pays, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(arithmetic, "bfloat16_pays", lambda pays=pays: pays)
        assert resolved("auto", "cpu") == expected


def test_it_is_measured_once():
    assert bfloat16_pays() is bfloat16_pays()
    assert integers_pay() is integers_pay()
    assert integers_pay.cache_info().misses == 1
