import threading
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from custodes.errors import ConfigError, ModelRequestError
from custodes.models import (
    ActivationModel,
    GenerateModel,
    LogProbabilityModel,
    Sampling,
    StreamModel,
)
from custodes.models.base import Ending
from custodes.models.causal import CausalConfig, CausalModel
from custodes.models.padding import pack
from custodes.models.residual import ResidualReader
from custodes.models.transformers import TransformersModel
from custodes.models.tuning import RowMaker
from custodes.types import Message

TEXTS = [
    "the quick brown fox jumps",
    "",
    "dog 👋🏽 日本 \ud800",
    "a",
    "lazy lazy lazy lazy lazy lazy lazy lazy",
    " \n\n ",
    "over",
]
ALL = (0, 1, 2, 3, 4)


def talk(text: str) -> tuple[Message, ...]:
    return (Message("user", text),)


def made(folder, **settings) -> TransformersModel:
    return TransformersModel(TransformersModel.Config(model=str(folder), threads=1, **settings))


def close(got, expected) -> None:
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def reference(tiny_folder):
    """The same model, asked without any of our code."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_folder)


@pytest.fixture(scope="module")
def tokenizer(tiny_folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_folder)


def test_it_speaks_every_protocol(tiny) -> None:
    for protocol in (GenerateModel, StreamModel, LogProbabilityModel, ActivationModel):
        assert isinstance(tiny, protocol)
    assert (tiny.depth, tiny.width) == (4, 32)
    assert tiny.description.endswith("computed in float32")


# Activations


def test_activations_are_the_outputs_of_the_blocks(tiny, reference) -> None:
    import torch

    (got,) = tiny.activations(["the quick fox"], ALL)
    ids, ends = tiny.encode("the quick fox")
    with torch.inference_mode():
        hidden = reference(torch.tensor([ids]), output_hidden_states=True).hidden_states
        last = reference.model.norm(torch.from_numpy(got.values[4]))
    assert got.values.shape == (5, len(ids), 32) and got.values.dtype == np.float32
    assert got.layers == ALL and list(got.ends) == list(ends)
    close(got.values[:4], torch.cat(hidden[:4]).numpy())
    close(last.numpy(), hidden[4][0].numpy())  # the library norms the last layer, we do not


def test_activations_do_not_depend_on_the_batch(tiny) -> None:
    together = tiny.activations(TEXTS, ALL)
    for text, got in zip(TEXTS, together, strict=True):
        (alone,) = tiny.activations([text], ALL)
        close(got.values, alone.values)
        assert list(got.ends) == list(alone.ends)
        assert got.values.shape[1] == len(got.ends)
    assert together[1].values.shape == (5, 0, 32)
    assert together[2].ends[-1] == len(TEXTS[2])


def test_token_ids_may_be_given_in_place_of_texts(tiny) -> None:
    rows = [tiny.encode(text)[0] for text in TEXTS]
    got = tiny.token_activations(rows, [3, 1])
    for values, whole in zip(got, tiny.activations(TEXTS, [3, 1]), strict=True):
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, whole.values)


def test_layers_come_in_the_order_asked_for(tiny) -> None:
    (whole,) = tiny.activations(["the quick"], ALL)
    (some,) = tiny.activations(["the quick"], [3, 0, 3])
    assert some.layers == (3, 0, 3)
    np.testing.assert_array_equal(some.values, whole.values[[3, 0, 3]])


def test_layers_behind_the_deepest_one_are_not_computed(tiny_folder) -> None:
    from torch import nn

    model = made(tiny_folder)
    ran = []
    blocks = next(m for m in model._model.modules() if isinstance(m, nn.ModuleList))
    for index, block in enumerate(blocks, start=1):
        block.mlp.register_forward_hook(lambda *_, index=index: ran.append(index))
    model.activations(["the"], [2])
    assert ran == [1, 2]
    ran.clear()
    model.activations(["the"], [0])
    assert ran == []
    ran.clear()
    model.open_activations([1, 3]).push_tokens([5, 6])
    assert ran == [1, 2, 3]


@pytest.mark.parametrize("layers", [[], [5], [-1, 2]])
def test_layers_that_are_not_there_are_named(tiny, layers) -> None:
    with pytest.raises(ConfigError, match=r"expected some of 0 \(embeddings\) to 4"):
        tiny.activations(["a"], layers)
    with pytest.raises(ConfigError, match="expected some of 0"):
        tiny.open_activations(layers)


@given(cuts=st.lists(st.integers(0, 40), max_size=6), text=st.sampled_from(TEXTS))
def test_a_stream_gives_what_the_whole_text_gives(tiny, cuts, text) -> None:
    (whole,) = tiny.activations([text], [1, 3])
    ids, _ = tiny.encode(text)
    places = sorted({0, len(ids), *(cut % (len(ids) + 1) for cut in cuts)})
    stream = tiny.open_activations([1, 3])
    parts = [stream.push_tokens(ids[a:b]) for a, b in pairwise(places)]
    got = np.concatenate([stream.push_tokens([]), *parts], axis=1)
    assert got.dtype == np.float32
    close(got, whole.values)


@pytest.mark.parametrize("kind", ["plain", "begin"])
def test_a_text_longer_than_the_context_is_read_in_fresh_passes(
    kind, tiny_folder, tiny_folder_with_begin
) -> None:
    model = made(tiny_folder if kind == "plain" else tiny_folder_with_begin, context=12)
    assert model.window == (12 if kind == "plain" else 11)
    text = "the quick brown fox jumps over the lazy dog " * 5
    (whole,) = model.activations([text], [0, 2, 4])
    ids, ends = model.encode(text)
    assert whole.values.shape[1] == len(ids) > 3 * model.window
    assert whole.ends[-1] == len(text)
    second = text[ends[model.window - 1] : ends[2 * model.window - 1]]
    (alone,) = model.activations([second], [0, 2, 4])
    close(whole.values[:, model.window : 2 * model.window], alone.values)
    stream = model.open_activations([0, 2, 4])
    parts = [stream.push_tokens(ids[i : i + 5]) for i in range(0, len(ids), 5)]
    close(np.concatenate(parts, axis=1), whole.values)


def test_a_tokenizers_own_beginning_is_read_and_not_given(tiny_folder_with_begin) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = made(tiny_folder_with_begin)
    (got,) = model.activations(["the fox"], [2])
    ids, _ = model.encode("the fox")
    plain = AutoModelForCausalLM.from_pretrained(tiny_folder_with_begin)
    with torch.inference_mode():
        hidden = plain(torch.tensor([[0, *ids]]), output_hidden_states=True).hidden_states[2]
    close(got.values[0], hidden[0, 1:].numpy())


def test_threads_may_share_a_model(tiny) -> None:
    expected = [tiny.activations([text], [4])[0].values for text in TEXTS]
    (reply,) = tiny.generate([talk("the")], Sampling(max_tokens=5))
    failures = []

    def work() -> None:
        for _ in range(3):
            for text, values in zip(TEXTS, expected, strict=True):
                if not np.allclose(tiny.activations([text], [4])[0].values, values, atol=1e-4):
                    failures.append(text)
            if tiny.generate([talk("the")], Sampling(max_tokens=5)) != [reply]:
                failures.append("reply")

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# Replies


def test_greedy_replies_are_the_librarys(tiny, reference, tokenizer) -> None:
    texts = ["the quick", "dog", "jumps over the lazy dog", "fox 👋", "brown", "\ud800"]
    replies = tiny.generate([talk(text) for text in texts], Sampling(max_tokens=12))
    for text, reply in zip(texts, replies, strict=True):
        clean = text.replace("\ud800", "\ufffd")
        batch = tokenizer.apply_chat_template(
            [{"role": "user", "content": clean}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        start = batch["input_ids"].shape[1]
        whole = reference.generate(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            max_new_tokens=12,
            do_sample=False,
            pad_token_id=2,
        )
        expected = tokenizer.decode(whole[0, start:], skip_special_tokens=True)
        assert reply.text == expected.rstrip("\ufffd") or expected.startswith(reply.text)
        assert reply.prompt_tokens == start
        new = len(whole[0]) - start
        ended = int(whole[0, -1]) == 2
        assert (reply.reply_tokens, reply.finish) == (
            (new - 1, "stop") if ended else (new, "length")
        )


@pytest.mark.parametrize("temperature", [0.0, 1.3])
def test_a_stream_is_the_reply(tiny, temperature) -> None:
    sampling = Sampling(max_tokens=20, temperature=temperature, top_p=0.9, seed=5)
    (reply,) = tiny.generate([talk("the quick fox")], sampling)
    pieces = list(tiny.stream(talk("the quick fox"), sampling))
    assert "".join(pieces) == reply.text
    assert all(pieces) and len(pieces) > 1


def test_the_same_seed_gives_the_same_reply_in_any_batch(tiny) -> None:
    sampling = Sampling(max_tokens=10, temperature=1.5, seed=11)
    talks = [talk(text) for text in ("fox", "the lazy dog", "fox", "over")]
    replies = tiny.generate(talks, sampling)
    assert replies == tiny.generate(talks, sampling)
    assert tiny.generate([talks[1]], sampling) == [replies[1]]
    assert replies[0].text != replies[2].text  # equal conversations are not copied
    other = tiny.generate(talks, sampling.model_copy(update={"seed": 12}))
    assert [reply.text for reply in other] != [reply.text for reply in replies]


def test_without_a_seed_replies_differ_and_the_global_state_is_left_alone(tiny) -> None:
    import torch

    before = torch.get_rng_state()
    sampling = Sampling(max_tokens=10, temperature=2.0)
    texts = {tiny.generate([talk("fox")], sampling)[0].text for _ in range(4)}
    assert len(texts) > 1
    assert torch.equal(before, torch.get_rng_state())


def test_a_small_nucleus_is_greedy(tiny) -> None:
    greedy = tiny.generate([talk("fox")], Sampling(max_tokens=8))
    nucleus = Sampling(max_tokens=8, temperature=1.0, top_p=1e-6, seed=1)
    assert tiny.generate([talk("fox")], nucleus) == greedy


def test_a_stop_string_ends_reply_and_stream(tiny) -> None:
    (whole,) = tiny.generate([talk("the quick")], Sampling(max_tokens=16))
    stop = whole.text[3:5]
    sampling = Sampling(max_tokens=16, stop=(stop,))
    (cut,) = tiny.generate([talk("the quick")], sampling)
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish == "stop"
    assert "".join(tiny.stream(talk("the quick"), sampling)) == cut.text


def test_replies_that_end_at_different_times_do_not_disturb_each_other(tiny) -> None:
    talks = [talk(text) for text in ("fox", "the", "dog dog dog", "over the lazy", "a", "quick")]
    sampling = Sampling(max_tokens=40, temperature=3.0, seed=2, stop=("e", "z"))
    replies = tiny.generate(talks, sampling)
    assert len({reply.reply_tokens for reply in replies}) > 2
    for conversation, reply in zip(talks, replies, strict=True):
        assert tiny.generate([conversation], sampling) == [reply]


def test_the_end_token_ends_a_reply_and_is_not_in_it(tiny) -> None:
    talks = [talk(f"fox {number}") for number in range(24)]
    replies = tiny.generate(talks, Sampling(max_tokens=40, temperature=5.0, seed=1))
    ended = [reply for reply in replies if reply.finish == "stop"]
    assert ended and len(ended) < len(replies)
    assert all("<|im_end|>" not in reply.text for reply in replies)
    assert all(reply.reply_tokens < 40 for reply in ended)


def test_no_tokens_asked_for_are_no_tokens(tiny) -> None:
    replies = tiny.generate([talk("a"), talk("b")], Sampling(max_tokens=0))
    assert [(reply.text, reply.finish) for reply in replies] == [("", "length")] * 2
    assert list(tiny.stream(talk("a"), Sampling(max_tokens=0))) == []
    assert tiny.generate([], Sampling()) == []


def test_closing_a_stream_ends_the_work(tiny) -> None:
    stream = tiny.stream(talk("the quick fox"), Sampling(max_tokens=10**6, temperature=1.0, seed=1))
    next(stream)
    began = time.perf_counter()
    stream.close()
    assert time.perf_counter() - began < 0.5
    assert list(stream) == []


def test_replies_end_with_the_context(tiny_folder) -> None:
    model = made(tiny_folder, context=40)
    conversation = talk("the")
    replies = [
        model.generate([conversation], Sampling(max_tokens=999, temperature=1.0, seed=seed))[0]
        for seed in range(4)
    ]
    full = [reply for reply in replies if reply.finish == "length"]
    assert full and all(r.prompt_tokens + r.reply_tokens == 40 for r in full)
    with pytest.raises(ModelRequestError, match="expected 1 to 39"):
        model.generate([talk("the " * 50)], Sampling())


# Log-probabilities


def test_log_probabilities_are_those_of_the_whole_pass(tiny, reference, tokenizer) -> None:
    import torch

    continuations = ["the fox", "", "dog 👋", "a", "the lazy dog over", "x" * 9]
    got = tiny.log_probabilities(talk("quick"), continuations)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "quick"}], add_generation_prompt=True, return_dict=True
    )["input_ids"]
    for text, logs in zip(continuations, got, strict=True):
        ids, _ = tiny.encode(text)
        assert logs.dtype == np.float64 and logs.shape == (len(ids),)
        with torch.inference_mode():
            logits = reference(torch.tensor([[*prompt, *ids]])).logits[0].double()
        table = torch.log_softmax(logits, -1)[len(prompt) - 1 : -1]
        expected = table[torch.arange(len(ids)), torch.tensor(ids, dtype=torch.long)]
        np.testing.assert_allclose(logs, expected.numpy(), atol=1e-4)


def test_log_probabilities_of_nothing_are_nothing(tiny) -> None:
    assert tiny.log_probabilities(talk("a"), []) == []
    (empty,) = tiny.log_probabilities(talk("a"), [""])
    assert empty.shape == (0,)


def test_continuations_beyond_the_context_are_refused(tiny) -> None:
    with pytest.raises(ModelRequestError, match="expected at most 96 together"):
        tiny.log_probabilities(talk("a"), ["fox " * 80])


# Settings


def test_a_conversation_that_the_template_refuses_is_the_askers_mistake(tiny_folder) -> None:
    strict = (
        "{% if messages[0].role != 'user' %}{{ raise_exception('turns must alternate') }}"
        "{% endif %}{{ messages[-1].content }}"
    )
    model = made(tiny_folder, chat_template=strict)
    assert model.prompt_ids((Message("user", "fox"),))
    with pytest.raises(ModelRequestError, match="turns must alternate; got turns of system, user"):
        model.prompt_ids((Message("system", "fox"), Message("user", "fox")))
    with pytest.raises(ConfigError, match="chat_template: "):
        made(tiny_folder, chat_template="{% if %}").prompt_ids((Message("user", "fox"),))
    rows = RowMaker(model._tokenizer, strict)
    with pytest.raises(ModelRequestError, match="turns must alternate"):
        rows.prompt((Message("system", "fox"),))


def test_a_stream_tells_why_it_ended_and_its_tokens(tiny) -> None:
    asked = (Message("user", "the fox"),)

    def told(stream):
        return (yield from stream)

    for limit in (3, 200):
        sampling = Sampling(max_tokens=limit)
        (whole,) = tiny.generate([asked], sampling)
        ending = Ending(finish=whole.finish, reply_tokens=whole.reply_tokens)
        for stream in (tiny.stream(asked, sampling), tiny.watch(asked, sampling, [1])):
            telling = told(stream)
            with pytest.raises(StopIteration) as ended:
                while True:
                    next(telling)
            assert ended.value.value == ending


def test_a_model_without_a_chat_template_says_so(tiny_folder_with_begin) -> None:
    with pytest.raises(ConfigError, match="chat_template"):
        made(tiny_folder_with_begin).generate([talk("a")], Sampling())
    model = made(tiny_folder_with_begin, chat_template="{{ messages[-1].content }}")
    (reply,) = model.generate([talk("the quick")], Sampling(max_tokens=3))
    assert reply.prompt_tokens == len(model.encode("the quick")[0])
    with pytest.raises(ModelRequestError, match="0 tokens"):
        model.generate([talk("")], Sampling())


def test_batches_are_bounded_in_rows_and_tokens(tiny_folder) -> None:
    small = made(tiny_folder, batch_size=2, batch_tokens=10)
    large = made(tiny_folder, batch_size=64)
    for a, b in zip(small.activations(TEXTS, [4]), large.activations(TEXTS, [4]), strict=True):
        close(a.values, b.values)
    talks = [talk(text) for text in ("the", "fox over the dog", "a")]
    assert small.generate(talks, Sampling(max_tokens=4)) == large.generate(
        talks, Sampling(max_tokens=4)
    )


@given(st.lists(st.integers(0, 30), max_size=20), st.integers(1, 5), st.integers(1, 60))
def test_packing_covers_every_row_once_within_its_bounds(lengths, rows, tokens) -> None:
    batches = pack(lengths, rows=rows, tokens=tokens)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) <= rows
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= tokens


def test_half_precision_gives_float32_activations(tiny_folder) -> None:
    model = made(tiny_folder, dtype="bfloat16")
    (got,) = model.activations(["the quick"], [2])
    assert got.values.dtype == np.float32
    assert model.description.endswith("computed in bfloat16")


def test_a_folder_that_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(ConfigError, match="expected a folder that is there"):
        made(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"cannot be loaded; expected a folder with config\.json"):
        made(tmp_path)


def test_a_device_that_is_not_there_is_named(tiny_folder) -> None:
    for name in ("no-such-device", "cuda:99"):
        with pytest.raises(ConfigError, match=f"device: got '{name}', which cannot be used"):
            made(tiny_folder, device=name)


def test_a_tokenizer_without_offsets_is_refused(reference) -> None:
    with pytest.raises(ConfigError, match="a name: its tokenizer is a object; expected"):
        CausalModel(reference, object(), CausalConfig(), name="a name")


def test_a_model_without_a_list_of_blocks_is_refused(tiny_folder) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_folder)
    model.config.num_hidden_layers = 7
    with pytest.raises(ConfigError, match="no list of 7 blocks was found in a LlamaForCausalLM"):
        ResidualReader(model)


def test_a_pickled_model_is_not_read(tiny_folder, tmp_path) -> None:
    import shutil

    import torch

    folder = tmp_path / "pickled"
    shutil.copytree(tiny_folder, folder)
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="safetensors"):
        made(folder)


def test_a_reply_that_was_begun_is_gone_on_with(tiny_folder):
    """A last turn of the assistant is a prefill, not a finished turn."""
    model = made(tiny_folder)
    begun = (*talk("the quick"), Message("assistant", "brown fox"))
    plain = model._rendered(talk("the quick"))
    assert model._rendered(begun) == plain + "brown fox"
    assert model.generate([begun], Sampling(max_tokens=3))[0].reply_tokens <= 3


def test_swaps_promise_what_the_gradient_says(tiny_folder):
    """The best swap by the gradient raises the continuation's likelihood more often than not."""
    model = made(tiny_folder)
    asked = talk("the quick brown fox over over")
    pieces, swaps = model.swaps(asked, " over over", "lazy dog", top=5)
    assert "".join(pieces) == " over over"
    assert [len(each) for each in swaps] == [5] * len(pieces)

    def likelihood(text):
        (logs,) = model.log_probabilities(talk(text), ["lazy dog"])
        return logs.sum()

    start = likelihood("the quick brown fox over over")
    tried = [
        likelihood("the quick brown fox" + "".join([*pieces[:n], swap, *pieces[n + 1 :]]))
        for n, each in enumerate(swaps)
        for swap in each
    ]
    assert max(tried) > start
    with pytest.raises(ModelRequestError, match="shorten"):
        model.swaps(asked, " over over", "lazy " * 5000, top=1)
