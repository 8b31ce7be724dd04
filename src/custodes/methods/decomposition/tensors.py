"""Tensors in files: safetensors, whole or not at all; never a pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from custodes.config import write_atomically
from custodes.errors import ArtifactError

__all__ = ["content_of", "read_tensors", "write_tensors"]


def content_of(tensors: Mapping[str, Tensor]) -> str:
    """A sha256 of names and numbers: equal for equal matrices."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        # As bytes: numpy has no bfloat16.
        whole = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(whole.numpy().tobytes())
    return digest.hexdigest()


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, object]) -> None:
    """Tensors, and facts as JSON beside them in the same file."""
    from safetensors.torch import save

    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # Two names of one memory are refused by safetensors; here each has its own copy.
    ready = {name: tensor.clone() for name, tensor in ready.items()}
    write_atomically(path, save(ready, {"custodes": json.dumps(dict(facts))}))


def read_tensors(path: Path, device: str) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Tensors on a device and the facts; `ArtifactError` where the file cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["custodes"])
            tensors = {name: file.get_tensor(name).to(device) for name in file.keys()}  # noqa: SIM118
            return tensors, facts
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ArtifactError(
            f"{path}: cannot be read ({error}); delete it, and it will be made again"
        ) from error
