"""A tiny random Llama with a tokenizer of characters, planted dictionaries, small stores."""

import numpy as np
import pytest
import torch

from custodes.methods.sae.config import CoderConfig
from custodes.methods.sae.language import LanguageModel
from custodes.methods.sae.store import write_store
from custodes.methods.sae.training import Trainer


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory, save_llama):
    """A saved Llama of 3 blocks, width 16."""
    folder = tmp_path_factory.mktemp("tiny-sae")
    save_llama(
        folder,
        special=["<|end|>"],
        end="<|end|>",
        seed=3,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.3,
        bos_token_id=256,
        tie_word_embeddings=True,
    )
    return folder


@pytest.fixture(scope="session")
def language(tiny_folder) -> LanguageModel:
    from custodes.methods.sae.language import load_language_model

    torch.set_num_threads(1)
    return load_language_model(str(tiny_folder))


TEXTS = [f"the {n} quick brown foxes jump over {n + 3} lazy dogs, and so on" for n in range(40)]


@pytest.fixture(scope="session")
def texts():
    return TEXTS


def _planted(*, rows=4000, width=16, features=24, active=3, seed=0):
    """Rows that are sums of few of `features` unit directions; rows and directions."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(features, width))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    on = rng.random((rows, features)) < active / features
    values = on * rng.uniform(1, 2, size=on.shape)
    return (values @ directions).astype(np.float32), directions.astype(np.float32)


@pytest.fixture
def planted():
    return _planted


@pytest.fixture
def planted_store(tmp_path):
    rows, _ = _planted()
    return write_store(tmp_path / "store", {"x": rows}, shard_rows=1500)


@pytest.fixture
def make_coder():
    """An untrained autoencoder with every tensor drawn at random, so that nothing is 0."""

    def make(kind="topk", *, latents=24, width=16, k=4, seed=0):
        config = CoderConfig(kind=kind, latents=latents, k=k, seed=seed)
        trainer = Trainer(config, torch.randn(width), 1.0)
        with torch.no_grad():
            for name, tensor in trainer.part.items():
                if name != "decoder":
                    tensor.add_(0.1 * torch.randn_like(tensor))
        return trainer.finish()

    torch.manual_seed(0)
    return make
