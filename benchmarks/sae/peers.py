"""What runs in a peer's own environment: python peers.py TASK ... (no custodes there).

    trip  saelens|sparsify  IN OUT     load the autoencoder in IN, run it on IN/inputs.safetensors,
                                       save it in OUT with the peer's own code, and its outputs
    speed saelens|sparsify  LATENTS K BATCH STEPS WIDTH     rows a CPU-second of its training step

The environment is one of its own: CUSTODES_PEER_SAELENS and CUSTODES_PEER_SPARSIFY name the Python
of `pip install sae-lens==6.54.12` and of `pip install eai-sparsify==1.3.3`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def trip(peer: str, source: Path, target: Path) -> None:
    x = load_file(source / "inputs.safetensors")["x"]
    if peer == "saelens":
        from sae_lens import SAE

        coder = SAE.load_from_disk(source, device="cpu")
        with torch.no_grad():
            outputs = {"acts": coder.encode(x), "y": coder(x)}
        coder.save_model(target)
    else:
        from sparsify import SparseCoder

        coder = SparseCoder.load_from_disk(source)
        with torch.no_grad():
            values, latents, _ = coder.encode(x)
            acts = torch.zeros(len(x), coder.num_latents).scatter_(1, latents, values)
            outputs = {"acts": acts, "y": coder.decode(values, latents)}
        coder.save_to_disk(target)
    save_file({name: one.contiguous() for name, one in outputs.items()},
              target / "outputs.safetensors")  # fmt: skip


def speed(peer: str, latents: int, k: int, batch: int, steps: int, width: int) -> float:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = torch.randn(batch, width)
    if peer == "saelens":
        from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
        from sae_lens.saes.sae import TrainStepInput

        coder = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=width, d_sae=latents, k=k))
        given = TrainStepInput(sae_in=x, coefficients={}, dead_neuron_mask=None,
                               n_training_steps=0, is_logging_step=False)  # fmt: skip

        def loss() -> torch.Tensor:
            return coder.training_forward_pass(given).loss
    else:
        from sparsify import SparseCoder
        from sparsify.config import SparseCoderConfig

        coder = SparseCoder(width, SparseCoderConfig(num_latents=latents, k=k))

        def loss() -> torch.Tensor:
            coder.set_decoder_norm_to_unit_norm()
            return coder(x).fvu

    adam = torch.optim.Adam(coder.parameters(), lr=2e-4)
    for step in range(steps + 1):
        if step == 1:  # the first one warms up
            began = time.process_time()
        adam.zero_grad()
        loss().backward()
        adam.step()
    return batch * steps / (time.process_time() - began)


def main() -> None:
    task, peer, *rest = sys.argv[1:]
    if task == "trip":
        trip(peer, Path(rest[0]), Path(rest[1]))
    else:
        print(f"rows a CPU-second: {speed(peer, *map(int, rest))}")


if __name__ == "__main__":
    main()
