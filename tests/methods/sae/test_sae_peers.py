"""sae-lens and eai-sparsify read what we write, and we what they write; each in its environment."""

import os
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from custodes.methods.sae.formats import load_coder, save_coder

PEERS = Path(__file__).parents[3] / "benchmarks" / "sae" / "peers.py"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "kind"),
    [
        *(("saelens", kind) for kind in ("topk", "batchtopk", "jumprelu", "gated", "relu")),
        ("sparsify", "topk"),
    ],
)
def test_round_trip_through_the_peer(form, kind, make_coder, tmp_path):
    python = os.environ.get(f"CUSTODES_PEER_{form.upper()}")
    if not python:
        pytest.skip(f"CUSTODES_PEER_{form.upper()} names no Python with the peer (see peers.py)")
    coder = make_coder(kind)
    save_coder(coder, tmp_path / "ours", form=form, metadata={"hook_name": "residual.3"})
    x = torch.randn(50, 16)
    save_file({"x": x}, tmp_path / "ours/inputs.safetensors")
    subprocess.run(
        [python, str(PEERS), "trip", form, str(tmp_path / "ours"), str(tmp_path / "theirs")],
        check=True, env={**os.environ, "PYTHONPATH": "", "WANDB_MODE": "disabled"},
    )  # fmt: skip
    outputs = load_file(tmp_path / "theirs/outputs.safetensors")
    assert torch.allclose(outputs["acts"], coder.encode(x), atol=1e-5)
    assert torch.allclose(outputs["y"], coder(x), atol=1e-5)
    again = load_coder(tmp_path / "theirs")
    for name, tensor in coder.tensors.items():
        assert torch.equal(tensor, again.tensors[name])
