"""What all tests share: one thread of torch, no deadlines on a shared machine, no stray network."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("custodes", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("custodes")


@pytest.fixture(scope="session")
def talking_llama(tmp_path_factory):
    """A tiny random Llama with a chat template that says words of its own alone, so that its
    replies are tokenized as they were drawn."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("talking")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=["<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["say quick brown fox jumps over the lazy dog"] * 4, trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>")
    wrapped.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    wrapped.save_pretrained(folder)
    torch.manual_seed(7)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(wrapped),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=256,
            initializer_range=0.2,
            eos_token_id=[1],
        )
    )
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
