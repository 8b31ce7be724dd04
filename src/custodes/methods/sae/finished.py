"""Autoencoders that a training has finished, kept where it puts them: none is trained again.

    cfg.json      its metadata holds the key of its own training (`training_key`)
    losses.npy    of each step

An autoencoder depends on its own settings and on the store alone, so its key is of those, whatever
was trained beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from custodes.data.atomic import replacing
from custodes.errors import ConfigError
from custodes.methods.sae.config import CoderConfig, TrainConfig
from custodes.methods.sae.formats import load_coder, save_coder
from custodes.methods.sae.metrics import judge
from custodes.methods.sae.store import ActivationStore
from custodes.methods.sae.training import Trained, coder_name, only_hook, training_key

__all__ = ["load_finished", "save_finished"]

_KEY = "training"


def save_finished(one: Trained, store: ActivationStore, config: TrainConfig, folder: Path) -> None:
    """Keep one autoencoder of a training in folder/NAME."""
    place = folder / one.name
    with replacing(place / "losses.npy") as temporary, temporary.open("wb") as file:
        np.save(file, np.array(one.losses))
    hook = only_hook(store, config.hook)
    metadata: Mapping[str, Any] = {
        "model_name": store.facts.model, "hook_name": hook, "context_size": store.facts.context,
        "seed": one.config.seed, _KEY: _key(store, config, one.config),
    }  # fmt: skip
    save_coder(one.coder, place, metadata=metadata)


def load_finished(store: ActivationStore, config: TrainConfig, folder: Path) -> list[Trained]:
    """Every configured autoencoder as `train` gave it, judged anew; none unless all are there.

    `ConfigError` where one of them is of another training.
    """
    config = config.settled()
    places = {one: folder / coder_name(one) for one in config.coders()}
    there = {one: load_coder(at) for one, at in places.items() if (at / "cfg.json").exists()}
    for one, coder in there.items():
        if coder.origin.get("metadata", {}).get(_KEY) != _key(store, config, one):
            raise ConfigError(
                f"{places[one]}: an autoencoder of other settings, of another store or version; "
                "give the same ones, remove it, or take another folder"
            )
    if len(there) < len(places):
        return []
    hook, start = only_hook(store, config.hook), store.split(config.held_out)
    return [
        Trained(
            config=one,
            coder=coder,
            quality=judge(coder.to(config.device), store.batches(hook, config.batch, start=start)),
            losses=tuple(np.load(places[one] / "losses.npy").tolist()),
        )
        for one, coder in there.items()
    ]


def _key(store: ActivationStore, config: TrainConfig, one: CoderConfig) -> str:
    alone = {"coder": one, "kinds": (one.kind,), "latents": (one.latents,), "k": (one.k,),
             "seeds": (one.seed,)}  # fmt: skip
    return training_key(store, config.model_copy(update=alone))
