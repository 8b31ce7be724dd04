"""Files: exact both ways, and what is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from custodes.errors import ArtifactError, ConfigError
from custodes.methods.sae.formats import load_coder, save_coder


@pytest.mark.parametrize("kind", ["topk", "batchtopk", "jumprelu", "gated", "relu"])
def test_saelens_round_trip_is_exact(kind, make_coder, tmp_path):
    coder = make_coder(kind)
    save_coder(coder, tmp_path, metadata={"hook_name": "residual.3"})
    cfg = json.loads((tmp_path / "cfg.json").read_text())
    architecture = {"relu": "standard", "batchtopk": "jumprelu"}.get(kind, kind)
    assert cfg["architecture"] == architecture
    assert (cfg["d_in"], cfg["d_sae"], cfg["dtype"]) == (16, 24, "float32")
    tensors = load_file(tmp_path / "sae_weights.safetensors")
    assert tensors["W_enc"].shape == (16, 24) and tensors["W_dec"].shape == (24, 16)
    assert ("threshold" in tensors) == (architecture == "jumprelu")
    again = load_coder(tmp_path)
    assert again.kind == kind and again.k == coder.k
    for name, tensor in coder.tensors.items():
        assert torch.equal(tensor, again.tensors[name])
    x = torch.randn(9, 16)
    assert torch.equal(coder(x), again(x))


def test_sparsify_round_trip_is_exact(make_coder, tmp_path):
    coder = make_coder()
    save_coder(coder, tmp_path, form="sparsify")
    tensors = load_file(tmp_path / "sae.safetensors")
    assert set(tensors) == {"encoder.weight", "encoder.bias", "W_dec", "b_dec"}
    assert tensors["encoder.weight"].shape == (24, 16)
    again = load_coder(tmp_path)
    assert again.k == 4
    assert all(torch.equal(coder.tensors[name], again.tensors[name]) for name in coder.tensors)
    with pytest.raises(ConfigError, match="sparsify keeps topk alone"):
        save_coder(make_coder("relu"), tmp_path / "b", form="sparsify")
    with pytest.raises(ConfigError, match="format: got 'other'"):
        save_coder(coder, tmp_path, form="other")


def test_a_strangers_file_is_written_again_as_it_was(tmp_path):
    """A folder laid out as SAELens 6 writes it, with fields that we do not know."""
    torch.manual_seed(0)
    cfg = {
        "d_in": 4, "d_sae": 6, "dtype": "float16", "device": "cuda", "k": 2.0,
        "architecture": "topk", "apply_b_dec_to_input": False, "normalize_activations": "none",
        "reshape_activations": "none", "rescale_acts_by_decoder_norm": False,
        "metadata": {"model_name": "gpt2", "sae_lens_version": "6.54.12"}, "new_field": [1],
    }  # fmt: skip
    shapes = {"W_enc": (4, 6), "W_dec": (6, 4), "b_enc": (6,), "b_dec": (4,)}
    tensors = {name: torch.randn(shape).half() for name, shape in shapes.items()}
    (tmp_path / "a").mkdir()
    (tmp_path / "a/cfg.json").write_text(json.dumps(cfg))
    save_file(tensors, tmp_path / "a/sae_weights.safetensors")
    coder = load_coder(tmp_path / "a")
    assert not coder.centered and coder.k == 2
    save_coder(coder, tmp_path / "b")
    assert json.loads((tmp_path / "b/cfg.json").read_text()) == cfg
    again = load_file(tmp_path / "b/sae_weights.safetensors")
    assert set(again) == set(tensors)
    assert all(torch.equal(tensors[name], again[name]) for name in tensors)
    with pytest.raises(ConfigError, match="of another input"):
        save_coder(coder, tmp_path / "c", form="sparsify")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"architecture": "temporal"}, "architecture is 'temporal'"),
        ({"normalize_activations": "layer_norm"}, "only 'none' is supported"),
        ({"k": None}, "k: got None"),
    ],
)
def test_settings_that_are_refused(make_coder, tmp_path, change, says):
    save_coder(make_coder(), tmp_path)
    cfg = json.loads((tmp_path / "cfg.json").read_text())
    (tmp_path / "cfg.json").write_text(json.dumps({**cfg, **change}))
    with pytest.raises(ArtifactError, match=says):
        load_coder(tmp_path)


def test_files_that_are_refused(make_coder, tmp_path):
    with pytest.raises(ArtifactError, match="holds neither"):
        load_coder(tmp_path)
    save_coder(make_coder(), tmp_path)
    weights = tmp_path / "sae_weights.safetensors"
    tensors = load_file(weights)
    for broken, says in (
        ({**tensors, "W_skip": torch.ones(1)}, "W_skip are not known"),
        ({"W_enc": tensors["W_enc"]}, "got tensors"),
    ):
        save_file(broken, weights)
        with pytest.raises(ArtifactError, match=says):
            load_coder(tmp_path)
    weights.write_bytes(b"no")
    with pytest.raises(ArtifactError, match="not safetensors"):
        load_coder(tmp_path)
    for text, says in (("[]", "got a list"), ("{", "not JSON")):
        (tmp_path / "cfg.json").write_text(text)
        with pytest.raises(ArtifactError, match=says):
            load_coder(tmp_path)
    (tmp_path / "cfg.json").unlink()
    with pytest.raises(ArtifactError, match="no such file"):
        load_coder(tmp_path)


def test_rescaled_activations_need_unit_directions(make_coder, tmp_path):
    coder = make_coder()
    save_coder(coder, tmp_path)
    path = tmp_path / "cfg.json"
    cfg = {**json.loads(path.read_text()), "rescale_acts_by_decoder_norm": True}
    path.write_text(json.dumps(cfg))
    assert load_coder(tmp_path).kind == "topk"
    save_coder(coder.with_directions(coder.encoder, 2 * coder.decoder), tmp_path)
    path.write_text(json.dumps(cfg))
    with pytest.raises(ArtifactError, match="fold the norms"):
        load_coder(tmp_path)
