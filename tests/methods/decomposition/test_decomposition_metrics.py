"""Figures of a decomposition: by hand, by law, and at a size that is slow elsewhere."""

import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from custodes.errors import DataError
from custodes.methods.decomposition import (
    SPD,
    SPDConfig,
    dense_error,
    identity_error,
    match,
    match_columns,
    reconstruction,
)
from custodes.methods.decomposition.metrics.activity import active_per_row, alive
from custodes.methods.decomposition.metrics.columns import match_mechanisms
from custodes.methods.decomposition.metrics.importance import (
    dense_order,
    identity_order,
    order_of,
    wrong,
)
from custodes.methods.decomposition.metrics.stability import cosines
from custodes.methods.decomposition.targets.base import Pattern


def test_columns_by_hand():
    """Component 1 has column 0 at .9 of its length; component 0 column 1 turned by 45 degrees."""
    columns = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    components = torch.zeros(3, 2, 2)
    components[1, 0] = torch.tensor([1.8, 0.0])
    components[0, 1] = torch.tensor([0.5, 0.5])
    found = match_columns(columns, components)
    assert found.best.tolist() == [1, 0]
    assert found.mmcs == pytest.approx((1 + 0.5**0.5) / 2)
    assert found.ml2r == pytest.approx((0.9 + 0.5**0.5) / 2)


def test_columns_of_nothing_and_mechanisms():
    empty = match_columns(torch.zeros(2, 2), torch.ones(1, 2, 2))
    assert empty.mmcs == 0
    mechanisms = torch.eye(4).reshape(2, 2, 4)
    found = match_mechanisms(mechanisms, 0.5 * mechanisms.flip(0))
    assert found.mmcs == pytest.approx(1) and found.ml2r == pytest.approx(0.5)
    assert found.best.tolist() == [1, 0]


@pytest.mark.parametrize("scale", [1e-21, 1e-24, 1e-38])
def test_a_component_that_shrank_to_nothing_has_no_cosine_above_one(scale):
    columns = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    held = torch.stack([torch.diag(torch.tensor([1.0, 0.0])), torch.diag(torch.tensor([0.0, 1.0]))])
    gone = torch.full((1, 2, 2), scale)
    found = match_columns(columns, torch.cat([gone, held]))
    assert found.best.tolist() == [1, 2]
    assert (found.mmcs, found.ml2r) == pytest.approx((1, 1))
    whole = match_mechanisms(columns[None], torch.cat([gone, columns[None]]))
    assert whole.best.tolist() == [1] and whole.mmcs == pytest.approx(1)


@given(st.integers(2, 8), st.integers(0, 5), st.integers(0, 2**32 - 1))
def test_a_permuted_identity_has_no_wrong_entry(features, spare, seed):
    draw = np.random.default_rng(seed)
    whole = np.concatenate([np.eye(features), np.zeros((features, spare))], axis=1)
    mixed = whole[:, draw.permutation(features + spare)]
    assert identity_error(mixed) == 0
    assert np.array_equal(mixed[:, identity_order(mixed)][:, :features], np.eye(features))
    spoiled = mixed.copy()
    spoiled[0, identity_order(mixed)[1]] = 0.2
    assert identity_error(spoiled) == 1
    spoiled[1, identity_order(mixed)[1]] = 0.8
    assert identity_error(spoiled) == 2


def test_the_best_permutation_beats_the_greedy_one():
    """Greedy takes .9 for the first feature and is left with 0; the best total is .8 + .8."""
    importances = np.array([[0.9, 0.8], [0.8, 0.0]])
    assert identity_order(importances).tolist() == [1, 0]


def test_dense_columns_by_hand():
    importances = np.array([[1.0, 0.95, 0.0, 0.3], [1.0, 0.2, 0.0, 0.0]])
    assert dense_error(importances, 2) == 1  # .3 beyond the two
    assert dense_error(importances, 1) == 3  # .95, .2 and .3
    assert dense_error(importances, 3) == 1  # the third is never important
    assert dense_order(importances).tolist() == [0, 1, 3, 2]
    assert wrong(importances, Pattern("dense", 2)) == 1
    assert order_of(importances, Pattern("dense", 2)).tolist() == [0, 1, 3, 2]
    assert wrong(np.eye(3), Pattern("identity", 3)) == 0
    assert order_of(np.eye(3), Pattern("identity", 3)).tolist() == [0, 1, 2]


def test_a_thousand_components_take_less_than_a_second():
    draw = np.random.default_rng(0)
    importances = np.clip(np.eye(1000)[:, draw.permutation(1000)] + draw.random((1000, 1000)), 0, 1)
    began = time.process_time()
    order = identity_order(importances)
    assert time.process_time() - began < 1
    assert sorted(order.tolist()) == list(range(1000))


def test_importances_of_a_wrong_shape_are_refused():
    with pytest.raises(DataError, match="3 components for 4 features"):
        identity_error(np.zeros((4, 3)))
    with pytest.raises(DataError, match="at least 5"):
        dense_error(np.zeros((4, 3)), 5)
    with pytest.raises(DataError, match="shape"):
        dense_error(np.zeros(4), 1)


def test_alive_and_active_by_hand():
    importances = torch.tensor([[[0.2, 0.05], [0.0, 0.0], [0.9, 0.9]]])
    weight = torch.tensor([[1.0, 3.0, 0.0]])
    assert alive(importances, weight).tolist() == [[True, False]]
    assert active_per_row(importances, weight).item() == pytest.approx(1 / 4)


def test_components_are_matched_whatever_their_order_and_length():
    draw = torch.Generator().manual_seed(0)
    first = [torch.randn(5, 2, 3, generator=draw), torch.randn(5, 4, 2, generator=draw)]
    order = torch.tensor([3, 1, 4, 0, 2])
    second = [2 * part[order] for part in first]
    found = match(cosines(first, second))
    assert found.mean == pytest.approx(1) and found.shared == 1
    fewer = match(cosines([part[:3] for part in first], second))
    assert fewer.mean == pytest.approx(1) and fewer.shared == pytest.approx(3 / 5)
    nothing = match(cosines([part[:0] for part in first], second))
    assert nothing.mean == 0 and nothing.shared == 0


def test_worst_masks_are_worse_than_importances(tms, draws):
    target = tms(2)
    spd = SPD(target, SPDConfig(components=10), draws(2, purpose=1))
    batch = target.sample(draws(2), 64)
    found = reconstruction(spd, batch, draws(2, purpose=5), steps=10, rate=0.2)
    assert (found["worst"] >= found["important"]).all()
    again = reconstruction(spd, batch, draws(2, purpose=5), steps=3, rate=0.2)
    assert (found["worst"] >= again["worst"] - 1e-7).all()
    scale = target.forward(batch.inputs, lambda name, rows: rows.times(target.weights[name]))
    assert scale.shape[2] == 8 and (found["none"] > 0).all()
