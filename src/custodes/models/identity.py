"""Which model this is, by its content: what was trained on one model must not be used on another.

Finds mistakes (other weights, another template, another precision); it is no signature.
"""

from __future__ import annotations

import hashlib
from typing import Any

__all__ = ["identity_of"]

_SAMPLE = 512
"""Numbers of each matrix that are looked at: a few milliseconds in all, whatever the size."""


def identity_of(model: Any, tokenizer: Any, *, reads: tuple[str | None, ...]) -> str:
    """16 hexadecimal digits of the weights (a sample of every matrix), the tokenizer (one of the
    tokenizers library) and `reads`: what else its numbers depend on."""
    digest = hashlib.sha256(repr(reads).encode())
    digest.update(tokenizer.to_str().encode())
    for name, weight in sorted(model.named_parameters()):
        flat = weight.detach().flatten()
        some = flat[:: max(1, flat.numel() // _SAMPLE)].float().cpu().numpy()
        digest.update(f"{name} {tuple(weight.shape)}".encode() + some.tobytes())
    return digest.hexdigest()[:16]
