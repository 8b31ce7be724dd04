"""A tiny random Llama, for whatever reads or tunes a language model."""

from __future__ import annotations

import pytest

FOX = "The quick brown fox jumps over the lazy dog. "


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory, save_llama):
    folder = tmp_path_factory.mktemp("llama")
    save_llama(folder, told=[FOX] * 4, tokens=320, special=["<end>"], end="<end>", vocab_size=320)
    return folder


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory):
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    words = sorted(set(FOX.lower().replace(".", "").split()) | {"what", "does", "do", "bites"})
    letters = [f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"] + list("abcdefghijklmnopqrstuvwxyz")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words, *letters]
    tokenizer = Tokenizer(
        models.WordPiece({w: i for i, w in enumerate(dict.fromkeys(vocabulary))}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    ).save_pretrained(folder)
    torch.manual_seed(7)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    config = BertConfig(
        vocab_size=len(dict.fromkeys(vocabulary)),
        num_attention_heads=4,
        max_position_embeddings=64,
        initializer_range=0.2,
        **shape,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder
