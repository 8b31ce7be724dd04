"""A stage whose language model is fine-tuned: what it learns, that it is kept, that it streams."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from custodes.classifiers import (
    CachedFeatures,
    StageConfig,
    fit_stage,
    labelled_rows,
    load_scorer,
    save_scorer,
)
from custodes.classifiers.features.activations import ActivationFeatures, ActivationsConfig
from custodes.errors import ConfigError
from custodes.types import Example, Message, Mode


def example(index):
    label = index % 2
    act = "bites the lazy dog" if label else "jumps over the dog"
    reply = f"The fox {act}. The quick brown fox is number {index}."
    messages = (Message("user", "What does the fox do?"), Message("assistant", reply))
    rule = "bites" if label else None
    return Example(id=str(index), source="s", kind="k", messages=messages, label=label, rule=rule)


ROWS = labelled_rows([example(index) for index in range(60)], (Mode.EXCHANGE,))


def reading(folder):
    backend = {"model": "transformers", "settings": {"model": str(folder), "threads": 1}}
    return {**backend, "layers": [2], "stride": 4, "window": 64, "context_tokens": 20}


def untuned(folder):
    return ActivationFeatures(ActivationsConfig.parse(reading(folder), origin="test"))


def stage(folder, **changes):
    return StageConfig.parse(
        {
            "name": "tuned",
            "features": "activations",
            "settings": {**reading(folder), "max_tokens": 40},
            "adapter": {"rank": 4, "learning_rate": 0.01},
            "epochs": 4,
            "batch_rows": 16,
            "learning_rate": 0.01,
            "modes": ["exchange"],
            **changes,
        },
        origin="test",
    )


def fit(config, heard=None):
    return fit_stage(
        ROWS,
        config,
        rules=("bites",),
        seed=1,
        progress=lambda *said: heard.append(said) if heard is not None else None,
    )


@pytest.fixture(scope="module")
def tuned(tiny_llama):
    pytest.importorskip("peft")
    return fit(stage(tiny_llama))


def conversations():
    return [row.judged.conversation for row in ROWS]


def test_it_tells_the_two_apart_and_says_how_far_it_is(tiny_llama, tuned):
    pytest.importorskip("peft")
    heard = []
    fit(stage(tiny_llama), heard)
    assert heard[-1] == ("tuned: adapter", 1.0)
    points = tuned.score(conversations(), Mode.EXCHANGE)
    harmful = [p.logit for p, row in zip(points, ROWS, strict=True) if row.label == 1]
    benign = [p.logit for p, row in zip(points, ROWS, strict=True) if row.label == 0]
    assert min(harmful) > max(benign)


def test_it_is_kept_and_loaded_with_the_same_numbers(tmp_path, tuned, tiny_llama):
    version = save_scorer(tuned, tmp_path / "one", features="activations")
    loaded = load_scorer(tmp_path / "one")
    assert loaded.version == version
    assert loaded.features.fingerprint == tuned.features.fingerprint
    plain = untuned(tiny_llama)
    assert loaded.features.fingerprint != plain.fingerprint
    before = tuned.score(conversations(), Mode.EXCHANGE)
    after = loaded.score(conversations(), Mode.EXCHANGE)
    # the head is rounded to half precision, the adapter was before
    assert [p.logit for p in after] == pytest.approx([p.logit for p in before], abs=2e-2)


def test_streams_say_what_whole_texts_say(tuned):
    for conversation in conversations()[:4]:
        stream = tuned.open(conversation[:-1], Mode.EXCHANGE)
        found = [p for piece in conversation[-1].content for p in stream.push(piece)]
        found += stream.finish()
        (decisive,) = tuned.score([conversation], Mode.EXCHANGE)
        assert max(p.logit for p in found) == pytest.approx(decisive.logit, abs=1e-4)


def test_one_seed_gives_one_stage(tiny_llama, tuned):
    again = fit(stage(tiny_llama))
    np.testing.assert_array_equal(again.head.first, tuned.head.first)
    assert again.features.adapter.keys() == tuned.features.adapter.keys()
    for name, pair in tuned.features.adapter.items():
        np.testing.assert_array_equal(again.features.adapter[name], pair)


def test_next_token_prediction_pulls_too(tiny_llama, tuned):
    adapter = {"rank": 4, "learning_rate": 0.01, "next_token": 1.0, "places": 8}
    other = fit(stage(tiny_llama, adapter=adapter))
    assert np.abs(other.head.first - tuned.head.first).max() > 1e-4


def test_bfloat16_learns_the_same_a_little_roughly(tiny_llama, tuned):
    adapter = {"rank": 4, "learning_rate": 0.01, "precision": "bfloat16"}
    other = fit(stage(tiny_llama, adapter=adapter))
    gap = np.abs(other.head.first - tuned.head.first).max()
    assert 0 < gap < 0.2 * np.abs(tuned.head.first).max()


def test_the_model_itself_stays_as_it_was(tiny_llama, tuned):
    row = ROWS[0].judged
    (once,) = untuned(tiny_llama).extract([row])
    (tuned_to,) = tuned.features.extract([row])
    assert np.abs(once.values - tuned_to.values).max() > 1e-2


def test_a_second_adapter_is_refused(tuned):
    with pytest.raises(ConfigError, match="an adapter already"):
        tuned.features.adapt(tuned.features.adapter)


def test_an_adapter_of_another_model_is_refused(tiny_llama, tuned):
    plain = untuned(tiny_llama)
    stranger = {
        name.replace("layers.0", "layers.77"): a for name, a in tuned.features.adapter.items()
    }
    with pytest.raises(ConfigError, match=r"layers.77.*load the model that it was trained on"):
        plain.adapt(stranger)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"head": "mlp"}, "got mlp with an adapter"),
        ({"adapter": {"rank": 0}}, "adapter.rank"),
        ({"features": "hashed", "settings": {}}, "hashed features, which have no model"),
    ],
)
def test_wrong_settings_say_so(tiny_llama, changes, words):
    with pytest.raises(ConfigError, match=words):
        fit(stage(tiny_llama, **changes))


def test_a_scorer_that_remembers_is_saved_with_what_was_tuned(tuned, tmp_path):
    """As calibration saves it: its features wrapped in a cache."""
    remembering = replace(tuned, features=CachedFeatures(tuned.features, tmp_path / "cache"))
    save_scorer(remembering, tmp_path / "saved", features="activations")
    again = load_scorer(tmp_path / "saved")
    assert again.features.adapter.keys() == tuned.features.adapter.keys() != set()
    turns = [row.judged.conversation for row in ROWS[:4]]
    expected = [point.logit for point in tuned.score(turns, Mode.EXCHANGE)]
    found = [point.logit for point in again.score(turns, Mode.EXCHANGE)]
    np.testing.assert_allclose(found, expected, atol=1e-2)
