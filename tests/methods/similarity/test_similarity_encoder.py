"""A sentence encoder from a folder, frozen and fine-tuned: on a tiny one made here."""

import numpy as np
import pytest

from custodes.errors import ConfigError
from custodes.methods.similarity.config import WeakToStrongConfig
from custodes.methods.similarity.lora import LoraSupervisor
from custodes.methods.similarity.supervision import Crew
from custodes.methods.similarity.supervisors import Encoder

TEXTS = [f"{word} number {i}" for i in range(24) for word in ("yes", "no")]
LABELS = np.array([1.0, 0.0] * 24)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    path = tmp_path_factory.mktemp("encoder")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "yes", "no", "number"]
    (path / "vocab.txt").write_text("\n".join([*words, *map(str, range(24))]))
    BertTokenizerFast(vocab=str(path / "vocab.txt")).save_pretrained(path)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=32,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(path)
    return path


def test_embeddings_do_not_depend_on_the_batch(folder):
    encoder = Encoder(folder)
    together = encoder.features(["yes number 1", "no"])
    alone = encoder.features(["no"])
    assert together.shape == (2, 1, 32)
    assert np.allclose(together[1], alone[0], atol=1e-5)


# peft 0.21 asks transformers 5 for a property that it has deprecated.
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
def test_a_fine_tuned_student_learns_and_repeats(folder):
    pytest.importorskip("peft")
    student = LoraSupervisor("lora:minilm", Encoder(folder), epochs=8, learning_rate=0.02)
    says = student.fit(TEXTS, LABELS, seed=1)(TEXTS)
    assert ((says > 0.5) == LABELS).mean() > 0.9
    assert np.array_equal(says, student.fit(TEXTS, LABELS, seed=1)(TEXTS))


def test_the_crew_builds_what_is_named(folder, tmp_path):
    config = WeakToStrongConfig(
        weak=("words", "minilm"), strong=("minilm", "lora:minilm"), minilm=folder
    )
    crew = Crew(config, tmp_path, model=lambda: pytest.fail("no language model is named"))
    crew.prepare(TEXTS)
    says = crew.weak[1].fit(TEXTS, LABELS, seed=0)(TEXTS)
    assert ((says > 0.5) == LABELS).mean() > 0.9
    assert [student.base.name for student in crew.strong] == ["minilm", "minilm"]
    with pytest.raises(ConfigError, match="students only"):
        Crew(config.model_copy(update={"weak": ("lora:minilm",)}), tmp_path, model=lambda: None)


def test_missing_weights_are_said(tmp_path):
    with pytest.raises(ConfigError, match=r"expected.*config.json"):
        Encoder(tmp_path).features(["a"])
