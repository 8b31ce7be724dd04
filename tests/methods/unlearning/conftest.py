"""A tiny random Llama with a tokenizer that knows bytes, and a study of it that takes seconds."""

import pytest

from custodes.methods.unlearning.config import (
    FactsConfig,
    RelearnConfig,
    RemovalConfig,
    StudyConfig,
)
from custodes.models.tuning import TunableConfig, TuneConfig


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory, save_llama):
    from custodes.methods.unlearning.grammar import RELATIONS

    folder = tmp_path_factory.mktemp("tiny")
    words = [f" {value}" for relation in RELATIONS for value in relation.values]
    save_llama(
        folder,
        told=[" ".join(words), "the village of the city is"] * 4,
        tokens=500,
        special=["<|begin|>", "<|im_start|>", "<|im_end|>"],
        begin="<|begin|>",
        end="<|im_end|>",
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=3,
        initializer_range=0.1,
        tie_word_embeddings=True,
    )
    return folder


@pytest.fixture(scope="session")
def tiny_study(tiny_folder):
    """Settings of a study of the tiny model: it takes seconds, and learns its facts by heart."""
    return StudyConfig(
        model=TunableConfig(model=str(tiny_folder), precision="float32", threads=1),
        seeds=1,
        facts=FactsConfig(forget=8, neighbors=6, shares=(0.3, 0.3), neighbor_shares=(0.4, 0.3)),
        implant=TuneConfig(epochs=25, batch_rows=14, learning_rate=1e-2),
        removal=RemovalConfig(
            methods=("npo", "rmu"),
            tune=TuneConfig(epochs=2, batch_rows=16, schedule="constant", warmup=0.0),
            rates={"npo": (1e-3, 1e-2), "rmu": (1e-2,)},
            rmu_layer=2,
        ),
        relearn=RelearnConfig(epochs=2, batch_rows=12, points=(0, 1, 2)),
        text_tokens=128,
        resamples=100,
        engine_settings={"kind": "serial"},
    )
