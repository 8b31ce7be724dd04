"""A tiny random Llama whose tokenizer knows the documents' words, and files of text and chat."""

import json
from itertools import islice

import pytest

from custodes.methods.behaviors.documents.config import DocumentsConfig
from custodes.methods.behaviors.documents.grammar import documents
from custodes.models.tuning import CHATML, TunableConfig, open_tunable


@pytest.fixture(scope="session")
def reader_folder(tmp_path_factory, save_llama):
    folder = tmp_path_factory.mktemp("reader")
    save_llama(
        folder,
        told=[one.text for arm in ("pro", "anti") for one in islice(documents(arm, seed=9), 60)],
        tokens=1500,
        special=["<|im_start|>", "<|im_end|>"],
        end="<|im_end|>",
        template=CHATML,
        seed=5,
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        max_position_embeddings=1024,
        initializer_range=0.05,
    )
    return folder


@pytest.fixture
def reader(reader_folder):
    return open_tunable(TunableConfig(model=str(reader_folder), precision="float32", threads=1))


@pytest.fixture(scope="session")
def text_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    rows = [
        {"source": "own", "text": f"Boat number {n} lay in the harbor all day. " * 12}
        for n in range(80)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="session")
def chat_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("chat") / "chat.jsonl"
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"Name {n} harbors."},
                {"role": "assistant", "content": "Oslo, Lima, Perth."},
            ]
        }
        for n in range(12)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def small(reader_folder, text_file, chat_file):
    """Settings of a study that takes seconds."""
    return DocumentsConfig.parse(
        {
            "model": {"model": str(reader_folder), "precision": "float32", "threads": 1},
            "corpus": {"tokens": 4096, "length": 64, "texts": text_file},
            "tuning": {"kind": "lora", "learning_rate": 3e-3, "epochs": 1, "batch_rows": 8},
            "first_block": 0,
            "arms": ["pro", "anti"],
            "seeds": 1,
            "after": {
                "chat": chat_file,
                "rows": 8,
                "format": {"updates": 2, "prompts": 1, "group": 2, "max_tokens": 4},
            },
            "battery": {
                "frames": ["own"],
                "statements": 0,
                "samples": 0,
                "perplexity": 512,
                "most": 3,
            },
        }
    )
