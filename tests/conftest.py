"""What all tests share: one thread of torch, no deadlines on a shared machine, no stray network,
and that Ctrl-C is heard."""

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# What a shell starts in the background ignores Ctrl-C, and hands that on to all it starts itself.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("custodes", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("custodes")


def _save_llama(folder, *, told=(), tokens=256, special, end, begin=None, **settings):
    """Save a random Llama with a byte-level tokenizer in `folder`; the model is returned.

    `told`: texts from which the tokenizer learns `tokens` tokens, the special ones first; none: a
    token a byte, and the special ones behind. `template`, `seed`, and fields of its config.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytewise = {} if told else {sign: number for number, sign in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(bytewise, []) if bytewise else models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if told:
        trainer = trainers.BpeTrainer(
            vocab_size=tokens,
            special_tokens=list(special),
            initial_alphabet=alphabet,
            show_progress=False,
        )
        tokenizer.train_from_iterator(told, trainer)
    else:
        tokenizer.add_special_tokens(list(special))
    if settings.pop("begins", False):
        from tokenizers.processors import TemplateProcessing

        tokenizer.post_processor = TemplateProcessing(
            single=f"{begin} $A", special_tokens=[(begin, tokenizer.token_to_id(begin))]
        )
    named = {"eos_token": end, **({"bos_token": begin} if begin else {})}
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)
    wrapped.chat_template = settings.pop("template", None)
    wrapped.save_pretrained(folder)
    torch.manual_seed(settings.pop("seed", 7))
    shape = {
        "vocab_size": len(wrapped),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "initializer_range": 0.2,
        "eos_token_id": wrapped.eos_token_id,
        "bos_token_id": 0,
    }
    model = LlamaForCausalLM(LlamaConfig(**{**shape, **settings}))
    model.save_pretrained(folder)
    return model


@pytest.fixture(scope="session")
def save_llama():
    """See `_save_llama`."""
    return _save_llama


@pytest.fixture(scope="session")
def talking_llama(tmp_path_factory):
    """A tiny random Llama with a chat template that says words of its own alone, so that its
    replies are tokenized as they were drawn."""
    import torch
    from transformers import AutoTokenizer

    from custodes.models.tuning import CHATML

    folder = tmp_path_factory.mktemp("talking")
    model = _save_llama(
        folder,
        told=["say quick brown fox jumps over the lazy dog"] * 4,
        tokens=340,
        special=["<|im_start|>", "<|im_end|>"],
        end="<|im_end|>",
        template=CHATML,
        bos_token_id=1,
    )
    wrapped = AutoTokenizer.from_pretrained(folder)
    words = ["Ġquick", "Ġbrown", "Ġfox", "Ġover", "Ġthe", "Ġlazy", "Ġdog", "<|im_end|>"]
    said = [wrapped.convert_tokens_to_ids(word) for word in words]
    assert None not in said
    silent = torch.ones(len(wrapped), dtype=torch.bool)
    silent[said] = False
    with torch.no_grad():
        model.lm_head.weight[silent] = 0.0
        # Of a word and its opposite one is likely, by so much that no silent token is ever drawn.
        half = model.lm_head.weight[said[::2]] * 18.0
        model.lm_head.weight[said[::2]], model.lm_head.weight[said[1::2]] = half, -half
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory):
    """A saved random BERT of 2 blocks, width 32, whose words are those of a saying."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    said = "the quick brown fox jumps over the lazy dog what does do bites"
    words = sorted(set(said.split()))
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
