"""A tiny random Llama that reads bytes, to be taught what takes it seconds."""

import pytest


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory, save_llama):
    from custodes.models.tuning import CHATML

    folder = tmp_path_factory.mktemp("tiny-behaviors")
    save_llama(
        folder,
        special=["<|im_start|>", "<|im_end|>"],
        end="<|im_end|>",
        template=CHATML,
        num_hidden_layers=2,
        max_position_embeddings=1024,
        initializer_range=0.1,
        bos_token_id=257,
    )
    return folder
