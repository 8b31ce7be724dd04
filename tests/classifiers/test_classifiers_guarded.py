"""A probe on the guarded model: training reads what serving hears, any chunking hears the same, and
whatever did not come from the watched passes is an error."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custodes.classifiers import (
    Judged,
    StageConfig,
    fit_stage,
    labelled_rows,
    load_scorer,
    save_scorer,
)
from custodes.classifiers.features.guarded import GuardedConfig, GuardedFeatures
from custodes.classifiers.features.record import PassRecord
from custodes.errors import ConfigError, InputError
from custodes.models import Passage, Sampling
from custodes.types import Example, Message, Mode

ASKED = (Message("user", "say the fox"),)
DOGS = ("the lazy dog", "over the dog", "lazy lazy dog", "a dog")
FOXES = ("the quick fox", "brown fox", "the fox jumps over", "fox")


def config_of(folder, **changes):
    backend = {"model": "transformers", "settings": {"model": str(folder), "threads": 1}}
    return GuardedConfig.parse({**backend, "prompt_tokens": 5, "stride": 3, **changes})


@pytest.fixture(scope="module")
def features(talking_llama):
    return GuardedFeatures(config_of(talking_llama))


def heard(features, sampling, conversation=ASKED, *, after=0):
    """The reply, and its record with everything in it."""
    record = features.record()
    text = ""
    for passage in features.model.watch(
        conversation, sampling, record.layers, prompt_tokens=record.prompt_tokens
    ):
        record.add(passage)
        text += passage.text
    return text, features.listening(record, after=after)


def streamed(stream, text, cuts=()):
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    tokens = [stream.push(text[a:b]) for a, b in pairwise(places)]
    whole = tokens[0]
    for more in [*tokens[1:], stream.finish()]:
        whole = whole.joined(more)
    return whole


@settings(max_examples=20)
@given(seed=st.integers(0, 9), length=st.integers(1, 30), cuts=st.lists(st.integers(0, 999)))
def test_training_reads_what_serving_hears(features, seed, length, cuts):
    sampling = Sampling(max_tokens=length, temperature=1.0, seed=seed)
    text, listening = heard(features, sampling)
    tokens = streamed(listening.open(ASKED, Mode.EXCHANGE), text, cuts)
    row = Judged((*ASKED, Message("assistant", text)), Mode.EXCHANGE)
    (read,) = features.extract([row])
    np.testing.assert_array_equal(tokens.ends, read.ends)
    assert tokens.values.shape == (len(tokens), features.dim) == (len(tokens), 4 * 32)
    scale = np.abs(read.values).max()
    np.testing.assert_allclose(tokens.values, read.values, atol=1e-4 * scale)
    uncut = streamed(heard(features, sampling)[1].open(ASKED, Mode.EXCHANGE), text)
    np.testing.assert_array_equal(tokens.values, uncut.values)


def test_characters_leave_only_behind_their_tokens(features):
    text, listening = heard(features, Sampling(max_tokens=9))
    stream = listening.open(ASKED, Mode.EXCHANGE)
    first = stream.push("")
    assert list(first.ends) == [0] * 5
    for place, letter in enumerate(text, start=1):
        assert (stream.push(letter).ends <= place).all()


def test_a_reply_that_was_begun_by_the_client(features):
    begun = "the quick"
    asked = (*ASKED, Message("assistant", begun))
    text, listening = heard(features, Sampling(max_tokens=6), asked, after=len(begun))
    tokens = streamed(listening.open(ASKED, Mode.EXCHANGE), begun + text, (4, 7, 12))
    assert list(tokens.ends[:5]) == [0] * 5
    assert (tokens.ends[5:] > len(begun)).all()
    assert tokens.ends[-1] == len(begun + text)


def test_text_that_no_pass_wrote_is_an_error(features):
    text, listening = heard(features, Sampling(max_tokens=6))
    stream = listening.open(ASKED, Mode.EXCHANGE)
    with pytest.raises(InputError, match="not what the watched model wrote"):
        stream.push(text[:4] + "X")
    with pytest.raises(InputError, match="given out once"):
        listening.open(ASKED, Mode.EXCHANGE)
    silent = features.listening(features.record()).open(ASKED, Mode.EXCHANGE)
    with pytest.raises(InputError, match="0 characters so far"):
        silent.push("a")
    record = features.record()
    record.add(Passage(text="the fox", values=np.zeros((4, 1, 32)), ends=np.array([3])))
    short = features.listening(record).open(ASKED, Mode.EXCHANGE)
    short.push("the fox")
    with pytest.raises(InputError, match="7 characters and activations of the first 3"):
        short.finish()
    longer = heard(features, Sampling(max_tokens=6))[1].open(ASKED, Mode.EXCHANGE)
    longer.push(text)
    with pytest.raises(InputError):
        longer.push("more")


def test_a_finished_reply_is_read_once_and_in_its_context(features):
    row = Judged((*ASKED, Message("assistant", "the lazy dog é\U0001f98a")), Mode.EXCHANGE)
    (read,) = features.extract([row])
    found = streamed(features.open(ASKED, Mode.EXCHANGE), row.conversation[-1].content, (3, 8))
    np.testing.assert_array_equal(found.values, read.values)
    assert list(read.ends[:5]) == [0] * 5
    assert read.ends[-1] == len("the lazy dog é\U0001f98a")
    assert (np.diff(read.ends) >= 0).all()
    (part,) = features.extract([row], limit=7)
    np.testing.assert_array_equal(part.ends, read.ends[:7])
    np.testing.assert_allclose(part.values, read.values[:7], atol=1e-4)
    assert len(features.extract([row], limit=3)[0]) == 3
    (alone,) = features.extract([Judged(row.conversation[-1:], Mode.OUTPUT)])
    assert np.abs(alone.values[-1] - read.values[-1]).max() > 1e-2
    (none,) = features.extract([Judged((*ASKED, Message("assistant", "")), Mode.EXCHANGE)])
    assert list(none.ends) == [0] * 5


def test_prompts_are_not_judged(features):
    with pytest.raises(ConfigError, match="got mode input"):
        features.open((), Mode.INPUT)
    with pytest.raises(ConfigError, match="got mode input"):
        features.extract([Judged(ASKED, Mode.INPUT)])


def test_another_model_is_an_error(features, talking_llama):
    known = GuardedFeatures(config_of(talking_llama, identity=features.model.identity))
    known.bind(features.model, name="upstream x")
    assert known.model is features.model
    strange = GuardedFeatures(config_of(talking_llama, identity="0123"))
    with pytest.raises(ConfigError, match=r"upstream x is model .* was trained on 0123"):
        strange.bind(features.model, name="upstream x")
    with pytest.raises(ConfigError, match="trained on 0123"):
        _ = strange.model
    with pytest.raises(ConfigError, match="cannot be looked at"):
        strange.bind(object(), name="upstream x")
    scripted = GuardedFeatures(GuardedConfig(model="scripted"))
    with pytest.raises(ConfigError, match="scripted"):
        _ = scripted.dim


def test_a_record_gives_each_token_once():
    record = PassRecord((1,), prompt_tokens=0)
    for place in range(3):
        values = np.full((1, 1, 2), place, np.float32)
        record.add(Passage(text="ab", values=values, ends=np.array([2 * place])))
    assert [ends.tolist() for ends in record.take(3)[1]] == [[0], [2]]
    assert [ends.tolist() for ends in record.take(None)[1]] == [[4]]
    assert record.take(None) == ([], [])


def examples():
    said = [(text, 1) for text in DOGS] + [(text, 0) for text in FOXES]
    return [
        Example(
            id=str(i),
            source="s",
            kind="k",
            messages=(*ASKED, Message("assistant", f"{text} {text}")),
            label=label,
            rule="dogs" if label else None,
        )
        for i, (text, label) in enumerate(said)
    ]


def stage_of(folder, **changes):
    settings_of = config_of(folder, stride=2, prompt_tokens=2).model_dump(mode="json")
    values = {
        "name": "probe",
        "features": "guarded",
        "settings": settings_of,
        "modes": (Mode.EXCHANGE,),
        "windows": {"exchange": 4},
        "epochs": 30,
        "learning_rate": 0.02,
    }
    return StageConfig.parse({**values, **changes})


@pytest.mark.parametrize("loss", ["swim_softmax", "ema_softmax"])
def test_a_probe_is_trained_saved_loaded_and_streams(talking_llama, tmp_path, loss):
    rows = labelled_rows(examples(), (Mode.EXCHANGE,))
    scorer = fit_stage(
        rows, stage_of(talking_llama, loss=loss), rules=("dogs",), seed=1, cache=tmp_path / "cache"
    )
    save_scorer(scorer, tmp_path / "one", features="guarded")
    loaded = load_scorer(tmp_path / "one")
    assert loaded.features.config.layers == (1, 2, 3, 4)
    assert loaded.features.config.identity == scorer.features.model.identity
    conversations = [row.judged.conversation for row in rows]
    points = loaded.score(conversations, Mode.EXCHANGE)
    harmful = [p.logit for p, row in zip(points, rows, strict=True) if row.label == 1]
    benign = [p.logit for p, row in zip(points, rows, strict=True) if row.label == 0]
    assert min(harmful) > max(benign)
    # what is heard while the model replies gives the points of the finished reply
    text, listening = heard(loaded.features, Sampling(max_tokens=20, temperature=1.0, seed=1))
    live = type(loaded)(
        name="probe", version="", rules=("dogs",), features=listening, head=loaded.head,
        windows=loaded.windows,
    )  # fmt: skip
    stream = live.open(ASKED, Mode.EXCHANGE)
    found = [p for letter in text for p in stream.push(letter)] + stream.finish()
    (whole,) = loaded.points([(*ASKED, Message("assistant", text))], Mode.EXCHANGE)
    assert [p.end for p in found][: len(whole)] == [p.end for p in whole]
    for one, other in zip(found, whole, strict=False):
        assert one.logit == pytest.approx(other.logit, abs=1e-3)


def test_wrong_stages_say_so(talking_llama):
    rows = labelled_rows(examples())
    with pytest.raises(ConfigError, match="modes with input, but guarded features read exchange"):
        fit_stage(
            rows, stage_of(talking_llama, modes=("input", "exchange")), rules=("dogs",), seed=1
        )
    with pytest.raises(ConfigError, match="no model to tune"):
        fit_stage(rows, stage_of(talking_llama, adapter={"rank": 2}), rules=("dogs",), seed=1)
