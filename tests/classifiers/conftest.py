"""A tiny random Llama, for whatever reads or tunes a language model."""

from __future__ import annotations

import pytest

FOX = "The quick brown fox jumps over the lazy dog. "


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory, save_llama):
    folder = tmp_path_factory.mktemp("llama")
    save_llama(folder, told=[FOX] * 4, tokens=320, special=["<end>"], end="<end>", vocab_size=320)
    return folder
