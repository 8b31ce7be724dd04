"""Encoder features on a tiny random BERT: views of texts and of streams, and a tuned stage."""

from __future__ import annotations

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
from custodes.classifiers.features.encoder import EncoderFeatures, EncoderFeaturesConfig
from custodes.errors import ConfigError
from custodes.types import Example, Message, Mode

FOX = "the quick brown fox jumps over the lazy dog "
TEXTS = ["", "fox", FOX, FOX * 6, "x" * 300, "fox\u200b \ud800 dog", "\u200b\u200b"]


def config_of(folder, **changes):
    reading = {"stride": 8, "window": 24, "context_tokens": 6}
    return EncoderFeaturesConfig.parse(
        {"model": {"folder": str(folder)}, **reading, **changes}, origin="test"
    )


@pytest.fixture(scope="session")
def features(tiny_bert):
    return EncoderFeatures(config_of(tiny_bert))


def judged(text, mode=Mode.INPUT):
    context = (Message("user", "what does the fox do"),) if mode is Mode.EXCHANGE else ()
    role = "user" if mode is Mode.INPUT else "assistant"
    return Judged((*context, Message(role, text)), mode)


def streamed(features, row, cuts):
    text = row.conversation[-1].content
    stream = features.open(row.conversation[:-1], row.mode)
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    whole = stream.push("")
    for a, b in pairwise(places):
        whole = whole.joined(stream.push(text[a:b]))
    return whole.joined(stream.finish())


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    text=st.sampled_from(TEXTS) | st.text(max_size=60),
    mode=st.sampled_from(list(Mode)),
    cuts=st.lists(st.integers(0, 1000), max_size=6),
)
def test_a_stream_sees_what_a_batch_sees(features, text, mode, cuts):
    row = judged(text, mode)
    (batch,) = features.extract([row])
    found = streamed(features, row, cuts)
    np.testing.assert_array_equal(found.ends, batch.ends)
    np.testing.assert_allclose(found.values, batch.values, atol=1e-4)
    # not a rounding apart: the verdict on a stream may not depend on its packets
    np.testing.assert_array_equal(found.values, streamed(features, row, ()).values)


def test_8_bits_say_nearly_the_same_and_the_same_in_a_batch(features, tiny_bert):
    model = {"folder": str(tiny_bert), "precision": "int8"}
    fast = EncoderFeatures(config_of(tiny_bert, model=model))
    rows = [judged(text) for text in TEXTS]
    for row, exact, tokens in zip(rows, features.extract(rows), fast.extract(rows), strict=True):
        np.testing.assert_array_equal(tokens.values, fast.extract([row])[0].values)
        np.testing.assert_array_equal(tokens.ends, exact.ends)
        if len(tokens):
            a, b = exact.values.ravel(), tokens.values.ravel()
            assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.99
    assert fast.fingerprint != features.fingerprint


def test_a_view_every_stride_and_one_of_the_end(features):
    (tokens,) = features.extract([judged(FOX * 3 + "fox")])
    words = (FOX * 3 + "fox").split()
    assert len(tokens) == -(-len(words) // 8)
    assert tokens.ends[-1] == len(FOX * 3 + "fox")
    assert (np.diff(tokens.ends) > 0).all()
    (short,) = features.extract([judged("fox")])
    assert len(short) == 1
    assert len(features.extract([judged("")])[0]) == 0


def test_a_view_forgets_what_lies_before_its_window(features):
    (one,) = features.extract([judged("lazy dog " * 4 + FOX * 4)])
    (other,) = features.extract([judged("fox over " * 4 + FOX * 4)])
    np.testing.assert_allclose(one.values[-1], other.values[-1], atol=1e-5)
    assert np.abs(one.values[0] - other.values[0]).max() > 1e-3


def test_only_an_exchange_sees_its_context(features):
    views = {mode: features.extract([judged("fox", mode)])[0].values for mode in Mode}
    np.testing.assert_array_equal(views[Mode.INPUT], views[Mode.OUTPUT])
    assert np.abs(views[Mode.EXCHANGE] - views[Mode.INPUT]).max() > 1e-3


def test_training_sees_the_first_tokens_only(features):
    (part,) = features.extract([judged(FOX * 6)], limit=8)
    assert len(part) == 1
    before, own = EncoderFeatures(
        config_of(features.config.model["folder"], max_tokens=5)
    ).training_ids(judged(FOX * 6, Mode.EXCHANGE))
    assert len(before) == 1 + 5  # the first mark, and a question of five words
    assert len(own) == 5 + 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"window": 16, "context_tokens": 16}, "window: got 16"),
        ({"window": 500}, "at most 62"),
        ({"stride": 0}, "stride"),
        ({"model": {"folder": "/nowhere"}}, "/nowhere"),
        ({"model": {"size": 3}}, "size: Extra inputs"),
    ],
)
def test_wrong_settings_say_so(tiny_bert, changes, words):
    with pytest.raises(ConfigError) as told:
        EncoderFeatures(config_of(tiny_bert, **changes))
    assert words in str(told.value)


def rows():
    found = []
    for index in range(60):
        label = index % 2
        act = "bites" if label else "jumps"
        text = f"the fox {act} over the dog " + "quick brown " * (index % 5)
        rule = "bites" if label else None
        found.append(
            Example(
                id=str(index),
                source="s",
                kind="k",
                messages=(Message("user", text),),
                label=label,
                rule=rule,
            )
        )
    return labelled_rows(found, (Mode.INPUT,))


@pytest.mark.parametrize("adapter", [None, {"rank": 4, "learning_rate": 0.02}])
def test_a_stage_is_trained_saved_loaded_and_streams(tiny_bert, tmp_path, adapter):
    if adapter:
        pytest.importorskip("peft")
    stage = StageConfig.parse(
        {
            "name": "tiny",
            "features": "encoder",
            "settings": config_of(tiny_bert).model_dump(mode="json"),
            "adapter": adapter,
            "windows": {"input": 1, "output": 1, "exchange": 1},
            "epochs": 12,
            "batch_rows": 16,
            "learning_rate": 0.02,
            "modes": ["input"],
        },
        origin="test",
    )
    scorer = fit_stage(rows(), stage, rules=("bites",), seed=1)
    save_scorer(scorer, tmp_path / "one", features="encoder")
    loaded = load_scorer(tmp_path / "one")
    assert loaded.features.fingerprint == scorer.features.fingerprint
    conversations = [row.judged.conversation for row in rows()]
    points = loaded.score(conversations, Mode.INPUT)
    harmful = np.array([p.logit for p, row in zip(points, rows(), strict=True) if row.label])
    benign = np.array([p.logit for p, row in zip(points, rows(), strict=True) if not row.label])
    assert np.median(harmful) > benign.max()
    for conversation, decisive in list(zip(conversations, points, strict=True))[:3]:
        stream = loaded.open((), Mode.INPUT)
        found = [p for piece in conversation[-1].content for p in stream.push(piece)]
        found += stream.finish()
        assert max(p.logit for p in found) == pytest.approx(decisive.logit, abs=1e-4)
