"""From settings to a target with all its instances: trained or loaded, cached, with nulls.

Instances are the seeds of a run, and after them the random networks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from custodes.config import Registry, cache_folder
from custodes.engine import identify
from custodes.errors import ConfigError
from custodes.methods.decomposition.config import TargetConfig
from custodes.methods.decomposition.targets.base import Target, generators, randomized
from custodes.methods.decomposition.targets.gated import code_gated
from custodes.methods.decomposition.targets.module import ModuleTarget
from custodes.methods.decomposition.targets.residual import build_residual, train_residual
from custodes.methods.decomposition.targets.tms import build_tms, train_tms
from custodes.methods.decomposition.tensors import read_tensors, write_tensors

__all__ = ["make_target", "with_nulls"]

_VERSION = 1  # goes up when the same settings come to train other targets
_TRAIN, _NULL = 1, 2  # purposes of generators


def make_target(
    config: TargetConfig,
    seeds: Sequence[int],
    nulls: int,
    *,
    device: str,
    cache: Path | None = None,
) -> Target:
    """The target of `len(seeds)` instances and `nulls` random networks.

    Without `own`, one network serves all seeds. Trained networks are kept in the cache folder.
    """
    own = config.own and config.kind in ("tms", "residual-mlp")
    trained = [config.seed + seed for seed in seeds] if own else [config.seed]
    target = _one(config, trained, device, cache)
    return with_nulls(target, len(seeds), nulls, seed=config.seed, device=device)


def with_nulls(target: Target, instances: int, nulls: int, *, seed: int, device: str) -> Target:
    """The target with so many instances, and after them so many with its first matrices redrawn."""
    weights = {
        name: w.expand(instances, -1, -1) if w.shape[0] == 1 else w
        for name, w in target.weights.items()
    }
    if nulls:
        first = {name: w[0] for name, w in target.weights.items()}
        drawn = [
            randomized(first, target.facts, draw)
            for draw in generators(range(seed, seed + nulls), device, purpose=_NULL)
        ]
        weights = {
            name: torch.cat([w, *(one[name][None] for one in drawn)]) for name, w in weights.items()
        }
    return target.replaced(weights)


def _one(config: TargetConfig, trained: list[int], device: str, cache: Path | None) -> Target:
    """The network itself, an instance for each trained seed."""
    if config.kind == "gated":
        return code_gated(config.gated, generators(trained, device, purpose=_TRAIN)[0])
    if config.kind == "module":
        return _from_factory(config, device)
    if config.kind == "embedded":
        from custodes.methods.decomposition.targets.embedded import load_embedded

        return load_embedded(config.embedded, device)
    if config.kind == "tms":
        found = _cached(config.tms, train_tms, trained, device, cache)
        return build_tms(config.tms, found)
    found = _cached(config.residual, train_residual, trained, device, cache)
    return build_residual(config.residual, found)


def _cached(
    section: Any, train: Any, trained: list[int], device: str, cache: Path | None
) -> Mapping[str, Tensor]:
    """Train, or read what was trained with the same settings and seeds."""
    who = identify({"settings": section, "seeds": trained, "version": _VERSION, "device": device})
    name = hashlib.sha256(who.encode()).hexdigest()[:24]
    folder = (cache or cache_folder() / "decomposition") / "targets"
    path = folder / f"{name}.safetensors"
    if not path.exists():
        tensors = train(section, generators(trained, device, purpose=_TRAIN))
        write_tensors(path, tensors, {"settings": who})
    return read_tensors(path, device)[0]


def _from_factory(config: TargetConfig, device: str) -> Target:
    if ":" not in config.module.factory:
        raise ConfigError(
            f"target.module.factory: got {config.module.factory!r}, expected "
            "package.module:function"
        )
    make = Registry("target", {}).load(config.module.factory)
    module, draw_inputs = make(torch.Generator().manual_seed(config.seed))
    origin = config.module.factory
    return ModuleTarget(
        module.to(device),
        config.module.weights,
        draw_inputs,
        loss=config.module.loss,
        origin=origin,
    )
