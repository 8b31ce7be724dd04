"""Blocks of the model under study as compiled code: the same activations, nothing left."""

import shutil

import pytest
import torch

from custodes.errors import ConfigError
from custodes.methods.sae.collecting import collect
from custodes.methods.sae.compiling import compiled_blocks
from custodes.methods.sae.config import CollectConfig
from custodes.methods.sae.hooks import read_hooks
from custodes.methods.sae.store import ActivationStore

HOOKS = ("residual.1", "model.layers.1.mlp")
SETTINGS = {"hooks": HOOKS, "tokens": 500, "context": 20, "batch": 4, "shard_rows": 200}
needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="no C++ compiler"
)


def replaced_forwards(model):
    return {name for name, one in model.named_modules() if "forward" in vars(one)}


@pytest.mark.parametrize(
    ("hooks", "expected"),
    [
        (["residual.1"], {"model.layers.0", "model.layers.1", "model.layers.2"}),
        (
            ["model.layers.1.mlp:input"],
            {"model.layers.0", "model.layers.2", *(
                f"model.layers.1.{part}"
                for part in ("mlp", "self_attn", "input_layernorm", "post_attention_layernorm")
            )},
        ),
    ],
)  # fmt: skip
def test_what_is_compiled_holds_no_place(language, hooks, expected):
    with compiled_blocks(language.model, hooks):
        assert replaced_forwards(language.model) == expected
    assert not replaced_forwards(language.model)


@needs_compiler
def test_compiled_blocks_give_the_same_activations(language, texts, tmp_path):
    """Short last batches too: 6 contexts a shard are 4 and 2."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    plain = collect(language, texts, CollectConfig(**SETTINGS), tmp_path / "plain")
    store = collect(language, texts, CollectConfig(**SETTINGS, compile=True), tmp_path / "store")
    frames = torch._dynamo.utils.counters["frames"]
    assert frames["ok"] == frames["total"] > 0, "one shape: nothing fell back"
    assert store.facts.compiled and not plain.facts.compiled
    for hook in HOOKS:
        for one, other in zip(store.batches(hook, 99), plain.batches(hook, 99), strict=True):
            assert torch.allclose(one, other, rtol=2e-3, atol=2e-3)
    with pytest.raises(ConfigError, match="compiled = True, got False"):
        collect(language, texts, CollectConfig(**SETTINGS), tmp_path / "store")


def test_a_machine_that_cannot_compile_is_told_so_and_keeps_its_folder(language, texts, tmp_path):
    torch._dynamo.reset()
    missing = {"cpp.cxx": (None, "/nowhere/g++"), "force_disable_caches": True}
    with torch._inductor.config.patch(missing), pytest.raises(ConfigError, match="give compile=fa"):
        collect(language, texts, CollectConfig(**SETTINGS, compile=True), tmp_path)
    assert not replaced_forwards(language.model)
    collect(language, texts, CollectConfig(**SETTINGS), tmp_path)
    assert not ActivationStore(tmp_path).facts.compiled


def test_errors_of_others_pass_through(language):
    with pytest.raises(ZeroDivisionError), compiled_blocks(language.model, HOOKS):
        raise ZeroDivisionError
    with pytest.raises(ConfigError, match="hook: got"), compiled_blocks(language.model, ["no"]):
        read_hooks(language.model, HOOKS, input_ids=torch.tensor([[1]]))
