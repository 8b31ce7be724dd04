"""Latents read from a store: what an autoencoder says at activations that were collected before.

No forward pass is made, so that a control's noise is the noise that was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from custodes.methods.sae.coder import Coder
from custodes.methods.sae.store import ActivationStore

__all__ = ["stored_activations", "stored_alive"]

_ROWS = 2048  # in a batch: all latents of these are in memory at once


def stored_activations(
    store: ActivationStore,
    hook: str,
    coder: Coder,
    latents: Sequence[int],
    contexts: NDArray[np.int64],
) -> tuple[Tensor, Tensor]:
    """Activations [n, T, L] of latents in n contexts of a store, and their token ids [n, T].

    Positions that were not collected have activation 0.
    """
    chosen = torch.tensor(list(latents))
    length, order = store.facts.context, np.argsort(contexts)
    found = torch.zeros(len(contexts), length, len(chosen))
    for x, places in store.rows_of(hook, contexts, _ROWS):
        of, position = np.divmod(places, length)
        at = order[np.searchsorted(contexts, of, sorter=order)]
        with torch.inference_mode():
            found[at, position] = coder.encode(x)[:, chosen].float()
    return found, torch.from_numpy(store.tokens()[contexts].astype(np.int64))


@torch.inference_mode()
def stored_alive(
    store: ActivationStore, hook: str, coder: Coder, contexts: NDArray[np.int64]
) -> Tensor:
    """Which latents [F] are active anywhere in some contexts of a store."""
    found = torch.zeros(coder.latents, dtype=torch.bool)
    for x, _ in store.rows_of(hook, contexts, _ROWS):
        found |= (coder.encode(x) > 0).any(0)
    return found
