"""The passes that write a reply, looked at: same text, activations of the same tokens, no second
pass but for a last token that none has read."""

from __future__ import annotations

import numpy as np
import pytest

from custodes.errors import ConfigError, ModelRequestError
from custodes.models import Sampling, WatchedModel
from custodes.models.decoding import ReplyText
from custodes.models.passages import passages
from custodes.models.transformers import TransformersModel
from custodes.types import Message

LAYERS = (0, 1, 3, 4)
ASKED = (Message("user", "say the fox"),)


def load(folder, **settings):
    values = {"model": str(folder), "threads": 1, **settings}
    return TransformersModel(TransformersModel.Config.parse(values))


@pytest.fixture(scope="module")
def model(talking_llama):
    return load(talking_llama)


def watched(model, sampling, conversation=ASKED, *, prompt_tokens=3):
    found = list(model.watch(conversation, sampling, LAYERS, prompt_tokens=prompt_tokens))
    values = [p.values for p in found if len(p.ends)]
    ends = np.concatenate([p.ends for p in found])
    return found, np.concatenate(values, axis=1) if values else None, ends


def same(one, other):
    np.testing.assert_allclose(one, other, atol=1e-4 * np.abs(other).max())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_reply_holds_what_one_pass_over_it_holds(talking_llama, seed, dtype):
    model = load(talking_llama, dtype=dtype)
    sampling = Sampling(max_tokens=25, temperature=1.0, seed=seed)
    found, values, ends = watched(model, sampling)
    text = "".join(p.text for p in found)
    assert (
        text == "".join(model.stream(ASKED, sampling)) == model.generate([ASKED], sampling)[0].text
    )
    ids, whole = model.encode(text)
    np.testing.assert_array_equal(ends, [0, 0, 0, *whole])
    prompt = model.prompt_ids(ASKED)
    (read,) = model.exchange_activations([(prompt, ids)], LAYERS)
    assert read.shape == (len(LAYERS), len(prompt) + len(ids), model.width)
    if dtype == "float32":
        same(values, read[:, len(prompt) - 3 :])
    else:  # a step of the rounding may fall to either side
        assert np.corrcoef(values.ravel(), read[:, len(prompt) - 3 :].ravel())[0, 1] > 0.999


def test_text_never_comes_before_its_tokens(model):
    for prompt_tokens in (0, 3, 99):
        sampling = Sampling(max_tokens=12, temperature=1.0, seed=3)
        found, _, ends = watched(model, sampling, prompt_tokens=prompt_tokens)
        prompt = min(prompt_tokens, len(model.prompt_ids(ASKED)))
        assert (ends[:prompt] == 0).all()
        said, covered = 0, 0
        for passage in found:
            covered = max(covered, int(passage.ends.max(initial=0)))
            said += len(passage.text)
            assert said <= covered
        assert said == covered == ends[-1]


def test_a_pass_for_each_token_and_no_other(model):
    runs = []
    inner = model._model.model.layers[0]
    handle = inner.register_forward_hook(lambda *_: runs.append(1))
    try:
        for sampling in (Sampling(max_tokens=9), Sampling(max_tokens=40, temperature=1, seed=2)):
            runs.clear()
            found, _, _ = watched(model, sampling)
            text = "".join(p.text for p in found)
            tokens = len(model.encode(text)[0])
            # the prompt and each token but the end's, which ends the reply in the pass before
            assert len(runs) == 1 + tokens
    finally:
        handle.remove()


def test_stop_strings_and_an_empty_reply(model):
    whole = "".join(model.stream(ASKED, Sampling(max_tokens=20)))
    stop = whole.split()[3]
    sampling = Sampling(max_tokens=20, stop=(stop,))
    found, values, ends = watched(model, sampling)
    assert "".join(p.text for p in found) == whole[: whole.index(stop)]
    assert values.shape[1] == len(ends)
    assert list(model.watch(ASKED, Sampling(max_tokens=0), (1,))) == []


def test_a_token_covers_the_characters_that_it_makes_whole(model):
    text = "fox \U0001f98a é!"
    ids, _ = model.encode(text)
    reply = ReplyText(model._tokenizer.backend_tokenizer, ends={1}, stop=(), limit=len(ids))
    drawn = iter([*ids, 1])
    read = iter(range(100))

    def look(last):
        return next(drawn), np.full((1, last, 1), next(read), np.float32)

    found = list(passages(look, reply, prompt_tokens=2))
    assert "".join(p.text for p in found) == text
    ends = np.concatenate([p.ends for p in found])
    assert list(ends[:2]) == [0, 0]
    assert len(ends) == 2 + len(ids)
    decoded = [model._tokenizer.decode(ids[: k + 1]).rstrip("\ufffd") for k in range(len(ids))]
    # what is not a whole character yet holds back the character before it only where it must
    assert all(end <= len(part) for end, part in zip(ends[2:], decoded, strict=True))
    assert ends[-1] == len(text)
    np.testing.assert_array_equal(np.concatenate([p.values.ravel() for p in found])[:3], [0, 0, 1])


def test_other_threads_may_use_the_model_meanwhile(model):
    stream = model.watch(ASKED, Sampling(max_tokens=9), LAYERS, prompt_tokens=3)
    found = [next(stream)]
    (between,) = model.activations(["the fox"], (2,))
    found += list(stream)
    again = list(model.watch(ASKED, Sampling(max_tokens=9), LAYERS, prompt_tokens=3))
    for one, other in zip(found, again, strict=True):
        np.testing.assert_array_equal(one.values, other.values)
    assert between.values.shape[0] == 1


def test_the_identity_is_that_of_the_content(talking_llama, tmp_path):
    import shutil

    model = load(talking_llama)
    assert isinstance(model, WatchedModel)
    copied = tmp_path / "copy"
    shutil.copytree(talking_llama, copied)
    assert load(copied).identity == model.identity
    others = {load(talking_llama, dtype="bfloat16").identity}
    others.add(load(talking_llama, chat_template="{{ messages[0].content }}").identity)
    changed = load(talking_llama)
    changed.adapt(
        {
            "layers.1.mlp.up_proj.down": np.full((1, 32), 0.01),
            "layers.1.mlp.up_proj.up": np.full((64, 1), 0.01),
        },
        name="x",
    )
    others.add(changed.identity)
    assert len(others | {model.identity}) == 4


def test_wrong_questions_say_so(model):
    with pytest.raises(ConfigError, match="layers"):
        model.watch(ASKED, Sampling(), (9,))
    with pytest.raises(ModelRequestError, match="cannot have written it"):
        model.exchange_activations([([1] * 200, [2] * 57)], (1,))
    assert model.exchange_activations([], (1,)) == []
