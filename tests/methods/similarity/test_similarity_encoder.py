"""A sentence encoder from a folder, frozen and fine-tuned: on a tiny one made here."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from custodes.errors import ConfigError
from custodes.methods.similarity.config import WeakToStrongConfig
from custodes.methods.similarity.lora import LoraSupervisor
from custodes.methods.similarity.reproduce import run_weak_to_strong
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


def test_features_of_other_weights_are_computed_anew(folder, tmp_path):
    config = WeakToStrongConfig(weak=("words",), strong=("minilm",), minilm=folder)
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    weights = load_file(other / "model.safetensors")
    save_file({name: 2 * value for name, value in weights.items()}, other / "model.safetensors")
    found = []
    for encoder in (folder, other):
        crew = Crew(config.model_copy(update={"minilm": encoder}), tmp_path / "cache", None)
        crew.prepare(TEXTS)
        found.append(crew.strong[0].base._features(TEXTS[:1]))
    assert len(list((tmp_path / "cache" / "minilm").iterdir())) == 2
    assert not np.allclose(*found)


def test_a_study_does_not_go_on_with_another_encoder(folder, tmp_path):
    tasks = tmp_path / "persona.jsonl"
    with tasks.open("w") as file:
        for task in range(5):
            for n, text in enumerate(TEXTS):
                row = {"task": f"t{task}", "matching": ("Yes", "No")[n % 2], "statement": text}
                file.write(json.dumps(row) + "\n")
    config = WeakToStrongConfig(
        weak=("words",), strong=("minilm",), minilm=folder, train=10, test=20
    )

    def killed(task):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_weak_to_strong(config, tmp_path / "run", tasks=tasks, say=killed)
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    (other / "config.json").write_text((other / "config.json").read_text() + "\n")
    with pytest.raises(ConfigError, match="holds a study with other encoder"):
        run_weak_to_strong(
            config.model_copy(update={"minilm": other}), tmp_path / "run", tasks=tasks
        )


def test_missing_weights_are_said(tmp_path):
    with pytest.raises(ConfigError, match="no such folder"):
        Crew(WeakToStrongConfig(minilm=tmp_path / "none"), tmp_path, None)
    with pytest.raises(ConfigError, match=r"expected.*config.json"):
        Encoder(tmp_path).features(["a"])
