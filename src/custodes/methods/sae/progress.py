"""Checkpoints of a training run: one safetensors file, replaced whole, of all its autoencoders.

How a step is made is not known here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from custodes.data.atomic import replacing
from custodes.errors import ArtifactError, ConfigError
from custodes.methods.sae.config import TrainConfig
from custodes.methods.sae.store import ActivationStore

__all__ = ["check_progress", "load_progress", "progress_key", "save_progress"]


class _Stateful(Protocol):
    def state(self) -> dict[str, Tensor]: ...

    def restore(self, state: Mapping[str, Tensor]) -> None: ...


def progress_key(store: ActivationStore, hook: str, config: TrainConfig, rows: int) -> str:
    """Tells a run from any other: its settings, and the first `rows` of the store, which it reads.

    What a product is computed in decides the weights, so `auto` counts as what it comes to here;
    and in which order rows are read, so the store's facts count whole, its shards among them.
    Devices differ in rounding alone, as processors do, and are not told apart.
    """
    apart = {"checkpoint", "null", "held_out", "rows", "device"}
    settings = config.settled().model_dump(mode="json", exclude=apart)
    read = [store.facts.values(), rows, hook]
    return hashlib.sha256(json.dumps([settings, read]).encode()).hexdigest()


def save_progress(
    path: Path, key: str, trainers: Sequence[_Stateful], losses: Sequence[Sequence[float]]
) -> None:
    """Write the states of all, and their losses so far; their number is the step."""
    values = {"losses": torch.tensor([list(curve) for curve in losses], dtype=torch.float64)}
    for number, trainer in enumerate(trainers):
        values |= {f"{number}.{name}": one.cpu() for name, one in trainer.state().items()}
    with replacing(path) as temporary:
        save_file(values, temporary, metadata={"key": key})


def check_progress(path: Path, key: str) -> None:
    """`ConfigError` where the file is there and has another key."""
    if not path.exists():
        return
    try:
        with safe_open(path, framework="pt") as file:
            found = (file.metadata() or {}).get("key")
    except SafetensorError as error:
        raise ArtifactError(f"{path}: not a checkpoint: {error}; remove it") from error
    if found != key:
        raise ConfigError(
            f"{path}: a checkpoint of other settings or of another store; "
            "give the same ones, remove it, or take another folder"
        )


def load_progress(
    path: Path, key: str, trainers: Sequence[_Stateful], losses: Sequence[list[float]]
) -> int:
    """Bring all to where the file has them; the number of steps done, 0 without a file."""
    check_progress(path, key)
    if not path.exists():
        return 0
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            for number, trainer in enumerate(trainers):
                head = f"{number}."
                mine = [name for name in names if name.startswith(head)]
                trainer.restore({one.removeprefix(head): file.get_tensor(one) for one in mine})
            curves = file.get_tensor("losses").tolist()
    except SafetensorError as error:
        raise ArtifactError(f"{path}: not a checkpoint: {error}; remove it") from error
    for curve, found in zip(losses, curves, strict=True):
        curve[:] = found
    return len(losses[0]) if losses else 0
