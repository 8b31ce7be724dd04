"""Language models on another device: what they read, say and learn is the processor's."""

import numpy as np
import pytest

from custodes.models import Sampling
from custodes.models.encoder import Encoder, EncoderConfig
from custodes.models.transformers import TransformersModel
from custodes.models.tuning import (
    CHATML,
    Row,
    TunableConfig,
    TuneConfig,
    continuation_log_probs,
    open_tunable,
    row_log_probs,
    tune,
    tune_preferences,
)
from custodes.types import Message

ASKED = (Message("user", "the quick brown foxes"),)


def made(folder, device, **settings):
    return TransformersModel(
        TransformersModel.Config(model=str(folder), threads=1, device=device, **settings)
    )


@pytest.fixture
def both(tiny_folder, elsewhere):
    return [made(tiny_folder, device, chat_template=CHATML) for device in ("cpu", elsewhere)]


def test_what_is_read(both, texts):
    here, there = (model.activations(texts[:3], (0, 1, 3)) for model in both)
    for one, other in zip(here, there, strict=True):
        assert one.values.any()
        np.testing.assert_allclose(one.values, other.values, rtol=1e-5)


def test_what_streams_in(both, texts):
    streams = [model.open_activations((2,)) for model in both]
    for piece in texts[:3]:
        here, there = (
            stream.push_tokens(model.encode(piece)[0])
            for model, stream in zip(both, streams, strict=True)
        )
        assert here.any()
        np.testing.assert_allclose(here, there, rtol=1e-5)


def test_what_is_said(both):
    drawn = Sampling(max_tokens=12, temperature=1.0, seed=3)
    for sampling in (Sampling(max_tokens=12, temperature=0.0), drawn):
        here, there = (model.generate([ASKED], sampling)[0].text for model in both)
        assert here == there
        assert "".join(both[1].stream(ASKED, sampling)) == there


def rows():
    rng = np.random.default_rng(0)
    lengths = (5, 12, 7, 12, 3, 9)
    return [Row(tuple(rng.integers(3, 250, n).tolist()), (0.0, *[1.0] * (n - 1))) for n in lengths]


@pytest.fixture
def tunable(tiny_folder, elsewhere):
    return [
        open_tunable(TunableConfig(model=str(tiny_folder), precision="float32", device=device))
        for device in ("cpu", elsewhere)
    ]


@pytest.mark.parametrize("kind", ["lora", "full"])
@pytest.mark.parametrize("objective", ["supervised", "preferences"])
def test_what_is_learned(tunable, kind, objective):
    settings = TuneConfig(kind=kind, rank=2, epochs=3, batch_rows=2, learning_rate=1e-2)
    found = []
    for model in tunable:
        before = row_log_probs(model, rows())
        if objective == "supervised":
            tune(model, rows(), settings)
        else:
            tune_preferences(model, list(zip(rows()[:3], rows()[3:], strict=True)), settings)
        after = row_log_probs(model, rows())
        assert after != pytest.approx(before, abs=1e-3)
        found.append(after)
    assert found[0] == pytest.approx(found[1], abs=1e-4)


def test_what_is_likely(both, texts):
    here, there = (model.log_probabilities(ASKED, texts[:3]) for model in both)
    for one, other in zip(here, there, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)


def test_what_is_watched_while_it_is_said(both):
    sampling = Sampling(max_tokens=8, temperature=0.0)
    here, there = (list(model.watch(ASKED, sampling, (1, 3))) for model in both)
    assert [one.text for one in here] == [one.text for one in there]
    for one, other in zip(here, there, strict=True):
        np.testing.assert_allclose(one.values, other.values, rtol=1e-4, atol=1e-5)


def test_which_tokens_promise_most(both):
    here, there = (model.swaps(ASKED, "brown foxes", "jump over", top=3) for model in both)
    assert here == there


def test_options_of_one_beginning(tunable):
    found = [
        continuation_log_probs(model, [[5, 6, 7], [8, 9]], [[[10], [11, 12]], [[13, 14], [15]]])
        for model in tunable
    ]
    for one, other in zip(*found, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_what_an_encoder_says(tiny_bert, elsewhere):
    found = []
    for device in ("cpu", elsewhere):
        encoder = Encoder(EncoderConfig(folder=tiny_bert, device=device))
        found.append(encoder.embed([encoder.encode(text)[0] for text in ("the fox", "lazy dog")]))
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-6)
