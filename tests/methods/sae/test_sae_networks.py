"""Random networks, token entropy, the toy model."""

import numpy as np
import pytest
import torch

from custodes.errors import ConfigError
from custodes.methods.sae.config import ToyConfig
from custodes.methods.sae.toy import mmcs, toy_data, toy_study
from custodes.methods.sae.variants import VARIANTS, token_entropy, variant

IDS = torch.tensor([[1, 2, 1, 3]])


def hidden(language, ids=IDS):
    return language.model(ids, output_hidden_states=True).hidden_states


def test_rerandomized_matches_moments_of_every_matrix(language):
    weights = language.model.state_dict()
    name = "model.layers.0.mlp.up_proj.weight"
    drawn = variant(language, "rerandomized", seed=1)
    kept = variant(language, "rerandomized-but-embeddings", seed=1)
    for found in (drawn, kept):
        other = found.model.state_dict()[name]
        assert not torch.equal(other, weights[name])
        assert float(other.std()) == pytest.approx(float(weights[name].std()), rel=0.15)
        assert "seed 1" in found.name
    table = "model.embed_tokens.weight"
    assert torch.equal(kept.model.state_dict()[table], weights[table])
    assert not torch.equal(drawn.model.state_dict()[table], weights[table])
    norm = "model.norm.weight"  # all 1, so of variance 0
    assert torch.equal(drawn.model.state_dict()[norm], weights[norm])


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_repeat_and_leave_the_original(language, name):
    before = hidden(language)[-1]
    one, again = (hidden(variant(language, name, seed=4))[-1] for _ in range(2))
    other = hidden(variant(language, name, seed=5))[-1]
    assert torch.equal(one, again)
    assert torch.equal(one, other) == (name == "trained")
    assert torch.equal(before, hidden(language)[-1])


def test_control_embeds_every_occurrence_anew(language):
    found = hidden(variant(language, "control", seed=0))[0][0]
    assert not torch.equal(found[0], found[2])
    many = hidden(variant(language, "control", seed=0), torch.ones(1, 60, dtype=torch.long))[0]
    assert float(many.detach().std()) == pytest.approx(1, abs=0.15)


def test_a_matched_control_has_the_embeddings_moments(language):
    ids = torch.ones(1, 60, dtype=torch.long)
    found = hidden(variant(language, "control-matched", seed=0), ids)[0].detach()
    weight = language.model.get_input_embeddings().weight.detach()
    assert float(found.std()) == pytest.approx(float(weight.std()), rel=0.15)
    assert not torch.equal(found[0, 0], found[0, 1])


def test_unknown_variant(language):
    with pytest.raises(ConfigError, match="expected one of trained"):
        variant(language, "other", seed=0)


def test_token_entropy_by_hand():
    tokens = torch.tensor([7, 7, 9, 5])
    activations = torch.tensor([[1.0, 1, 0], [3, 0, 0], [0, 1, 0], [0, 0, 0]])
    found = token_entropy(activations, tokens)
    assert found[:2].tolist() == pytest.approx([0, np.log(2)])
    assert torch.isnan(found[2])


def test_toy_data_is_as_sparse_as_asked_and_the_control_alike():
    config = ToyConfig(features=40, width=30, points=1500, active=3, decay=1.0)
    sets, directions = toy_data(config, 0)
    assert mmcs(directions, directions.flip(0)) == pytest.approx(1, abs=1e-6)
    assert mmcs(directions, torch.randn(40, 30)) < 0.8
    one, other = (torch.cov(sets[name].T) for name in ("sparse", "gaussian"))
    assert float((one - other).norm() / one.norm()) < 0.3
    coefficients = sets["sparse"] @ torch.linalg.pinv(directions)
    assert coefficients.shape == (1500, 40)
    assert all(values.shape == (1500, 30) for values in sets.values())


def test_the_toy_study_shows_a_better_penalty_in_the_middle():
    config = ToyConfig(
        features=16, width=12, points=600, epochs=25, batch=200, active=2, seeds=(0,),
        decay=1.0, penalties=(0.01, 1.0, 30.0), learning_rate=1e-2,
    )  # fmt: skip
    points = list(toy_study(config))
    assert len(points) == 9
    sparse = {point.penalty: point for point in points if point.data == "sparse"}
    assert sparse[1.0].mmcs > max(sparse[0.01].mmcs, sparse[30.0].mmcs)
    assert sparse[0.01].l0 > sparse[1.0].l0 > sparse[30.0].l0
    gaussian = next(p for p in points if p.data == "gaussian" and p.penalty == 1.0)
    assert gaussian.mmcs is None
    assert gaussian.values()["l0"] > sparse[1.0].l0
