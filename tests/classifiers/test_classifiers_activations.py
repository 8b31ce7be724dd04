"""Activation features on a tiny random Llama: streams, windows, contexts, and the whole chain."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from custodes.classifiers import (
    Judged,
    StageConfig,
    fit_stage,
    labelled_rows,
    load_scorer,
    save_scorer,
)
from custodes.classifiers.features.activations import ActivationFeatures, ActivationsConfig
from custodes.errors import ConfigError
from custodes.types import Example, Message, Mode

FOX = "The quick brown fox jumps over the lazy dog. "
TEXTS = [
    "",
    "fox",
    FOX,
    "Za\u017c\u00f3\u0142\u0107 g\u0119\u015bl\u0105 \u72d0\u72f8 e\u0301",
    "\U0001f98a\U0001f469\u200d\U0001f33e",
    "\u200b\u200b",
    "fox\u200b \ud800 dog",
    FOX * 9,
    "x" * 700,
]
READING = {"layers": (1, 3), "stride": 4, "window": 64, "context_tokens": 20}


def config_of(folder, **changes):
    backend = {"model": "transformers", "settings": {"model": str(folder), "threads": 1}}
    return ActivationsConfig.parse({**backend, **READING, **changes})


@pytest.fixture(scope="session")
def features(tiny_llama):
    return ActivationFeatures(config_of(tiny_llama))


def judged(text, mode=Mode.EXCHANGE, before="What did the fox do?"):
    context = () if mode is Mode.INPUT else (Message("user", before),)
    role = "user" if mode is Mode.INPUT else "assistant"
    return Judged((*context, Message(role, text)), mode)


def streamed(features, row, cuts):
    text = row.conversation[-1].content
    stream = features.open(row.conversation[:-1], row.mode)
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    tokens = [stream.push(text[a:b]) for a, b in pairwise(places)]
    whole = tokens[0]
    for more in [*tokens[1:], stream.finish()]:
        whole = whole.joined(more)
    return whole


def same(one, other):
    np.testing.assert_array_equal(one.ends, other.ends)
    scale = np.abs(other.values).max(initial=1.0)
    np.testing.assert_allclose(one.values, other.values, atol=1e-4 * scale)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.sampled_from(TEXTS) | st.text(max_size=60),
    mode=st.sampled_from(list(Mode)),
    cuts=st.lists(st.integers(0, 1000), max_size=6),
)
def test_a_stream_reads_what_a_batch_reads(features, text, mode, cuts):
    row = judged(text, mode)
    (batch,) = features.extract([row])
    found = streamed(features, row, cuts)
    same(found, batch)
    whole = streamed(features, row, ())
    # not a rounding apart: the verdict on a stream may not depend on its packets
    np.testing.assert_array_equal(found.values, whole.values)


def test_texts_of_a_batch_do_not_touch_one_another(features):
    rows = [judged(text, mode) for text in TEXTS for mode in Mode]
    together = features.extract(rows)
    for row, tokens in zip(rows, together, strict=True):
        same(tokens, features.extract([row])[0])
        assert tokens.values.shape == (len(tokens), features.dim)
    assert features.dim == 64


def test_tokens_end_where_their_text_ends(features):
    (tokens,) = features.extract([judged(FOX)])
    assert (np.diff(tokens.ends) >= 0).all()
    assert tokens.ends[-1] == len(FOX)
    assert len(features.extract([judged("")])[0]) == 0
    assert len(features.extract([judged("\u200b\u200b")])[0]) == 0


def test_training_reads_the_first_tokens_only(features):
    row = judged(FOX * 5)
    (whole,) = features.extract([row])
    (part,) = features.extract([row], limit=7)
    assert len(part) == 7
    same(part, whole.part(0, 7))


def test_a_full_window_rolls_over_to_a_fresh_one(features, tiny_llama):
    row = judged(FOX * 9)
    roomy = ActivationFeatures(config_of(tiny_llama, window=256))
    (short,), (long,) = features.extract([row]), roomy.extract([row])
    room = 64 - len(features.prefix(row.conversation[:-1], row.mode))
    assert len(short) > 2 * room
    same(short.part(0, room), long.part(0, room))
    assert np.abs(short.values[room] - long.values[room]).max() > 1e-2
    # the fresh window begins behind the context again, as if the text began there
    stream = features.open(row.conversation[:-1], row.mode)
    pushed = stream.push(FOX * 9)
    same(pushed, short.part(0, len(pushed)))


@pytest.mark.parametrize("stride", [1, 7, 16])
def test_the_stride_does_not_change_the_numbers(tiny_llama, features, stride):
    other = ActivationFeatures(config_of(tiny_llama, stride=stride, max_tokens=3))
    row = judged(FOX * 3)
    same(streamed(other, row, (5, 50, 90)), features.extract([row])[0])
    assert other.fingerprint == features.fingerprint
    assert (other.stride, other.max_tokens) == (stride, 3)


def test_a_long_context_keeps_its_head_and_tail(features):
    def prefix(text):
        return features.prefix((Message("user", text),), Mode.EXCHANGE)

    short, long = prefix("fox"), prefix("Begin. " + FOX * 30 + "End.")
    role = features.prefix((), Mode.EXCHANGE)
    assert short[-len(role) :] == long[-len(role) :] == role
    assert len(long) == 20 + len(role)
    assert long[:10] == prefix("Begin. " + FOX * 3)[:10]
    assert long[10:20] == prefix("Start. " + FOX * 99 + "End.")[10:20]
    same_ends = prefix("Begin. " + FOX * 30 + "Other words. " + FOX * 30 + "End.")
    assert long == same_ends


def test_output_mode_ignores_the_context_and_exchange_does_not(features):
    text = "It jumps."
    rows = {
        (mode, before): features.extract([judged(text, mode, before)])[0].values
        for mode in (Mode.OUTPUT, Mode.EXCHANGE)
        for before in ("What?", "Sing a song of dogs.")
    }
    alone, other = (values for (mode, _), values in rows.items() if mode is Mode.OUTPUT)
    np.testing.assert_array_equal(alone, other)
    one, two = (values for (mode, _), values in rows.items() if mode is Mode.EXCHANGE)
    assert np.abs(one - two).max() > 1e-2
    prompt = features.extract([judged(text, Mode.INPUT)])[0].values
    assert np.abs(prompt - alone).max() > 1e-2


def test_the_fingerprint_names_what_the_numbers_depend_on(features, tiny_llama):
    def fingerprint(**changes):
        return ActivationFeatures(config_of(tiny_llama, **changes)).fingerprint

    others = [fingerprint(layers=(2,)), fingerprint(window=128), fingerprint(context_tokens=10)]
    assert len({features.fingerprint, *others}) == 4
    assert str(tiny_llama) in features.fingerprint
    assert features.cached


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"window": 32}, "window: Input should be greater than or equal to 64"),
        ({"context_tokens": 33}, "context_tokens 33 is more than half of window 64"),
        ({"stride": 0}, "stride"),
        ({"layer": [1]}, "layer: Extra inputs"),
        ({"model": "nobody"}, "nobody"),
        ({"settings": {"model": "/nowhere"}}, "/nowhere"),
        ({"settings": {"sort": "large"}}, "sort: Extra inputs"),
    ],
)
def test_wrong_settings_say_so(tiny_llama, changes, words):
    with pytest.raises(ConfigError) as told:
        ActivationFeatures(config_of(tiny_llama, **changes))
    assert words in str(told.value)


def test_layers_that_the_model_has_not_say_so(tiny_llama):
    wrong = ActivationFeatures(config_of(tiny_llama, layers=(9,)))
    with pytest.raises(ConfigError, match="9"):
        wrong.extract([judged(FOX)])


def examples(count):
    rng = random.Random(3)
    rows = []
    for index in range(count):
        label = index % 2
        act = "bites the lazy dog" if label else "jumps over the dog"
        reply = f"The fox {act}. " + " ".join(rng.sample(FOX.split(), 5))
        messages = (Message("user", "What does the fox do?"), Message("assistant", reply))
        rule = "bites" if label else None
        rows.append(
            Example(id=str(index), source="s", kind="k", messages=messages, label=label, rule=rule)
        )
    return rows


def test_a_stage_is_trained_saved_loaded_and_streams(tiny_llama, tmp_path):
    heard = []
    stage = StageConfig(
        name="tiny",
        features="activations",
        settings=config_of(tiny_llama, max_tokens=40).model_dump(mode="json"),
        head="mlp",
        hidden=16,
        epochs=8,
        learning_rate=0.01,
        modes=(Mode.EXCHANGE,),
    )
    rows = labelled_rows(examples(80), (Mode.EXCHANGE,))
    cache = tmp_path / "cache"

    def fit():
        return fit_stage(
            rows,
            stage,
            rules=("bites",),
            seed=1,
            cache=cache,
            progress=lambda *said: heard.append(said),
        )

    scorer = fit()
    assert heard[-1] == ("tiny: head", 1.0)
    assert list(cache.rglob("*.npy"))
    save_scorer(scorer, tmp_path / "one", features="activations")
    save_scorer(fit(), tmp_path / "two", features="activations")
    loaded, again = load_scorer(tmp_path / "one"), load_scorer(tmp_path / "two")
    assert loaded.version == again.version
    conversations = [row.judged.conversation for row in rows]
    points = loaded.score(conversations, Mode.EXCHANGE)
    harmful = [p.logit for p, row in zip(points, rows, strict=True) if row.label == 1]
    benign = [p.logit for p, row in zip(points, rows, strict=True) if row.label == 0]
    assert min(harmful) > max(benign)
    for conversation, decisive in list(zip(conversations, points, strict=True))[:4]:
        stream = loaded.open(conversation[:-1], Mode.EXCHANGE)
        found = [p for piece in conversation[-1].content for p in stream.push(piece)]
        found += stream.finish()
        assert max(p.logit for p in found) == pytest.approx(decisive.logit, abs=1e-3)
        assert found[-1].end == len(conversation[-1].content)
