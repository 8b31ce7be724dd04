"""A sparse autoencoder as it is used: x -> few active latents -> x again.

    x' = x - b_dec          pre = E x' + b_enc          x^ = D^T a + b_dec

    relu       a = ReLU(pre)                                      (Bricken et al. 2023)
    topk       a = ReLU(TopK_k(pre))                              (arXiv 2406.04093, eq. 1)
    batchtopk  a = pre [pre > t], t one number after training     (arXiv 2412.06410)
    jumprelu   a = pre [pre > t], t one number a latent           (arXiv 2407.14435, eq. 4)
    gated      a = [E x' + b_gate > 0] ReLU(exp(r) E x' + b_mag)  (arXiv 2404.16014, eq. 5)

Knows nothing of files or of training.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from custodes.errors import DataError
from custodes.methods.sae.config import Kind

__all__ = ["PARTS", "Coder", "sparse_rows"]

PARTS: Mapping[str, tuple[str, ...]] = {
    "relu": ("encoder", "encoder_bias"),
    "topk": ("encoder", "encoder_bias"),
    "batchtopk": ("encoder", "encoder_bias", "threshold"),
    "jumprelu": ("encoder", "encoder_bias", "threshold"),
    "gated": ("encoder", "gate_bias", "magnitude_bias", "magnitude_log_scale"),
}
"""The tensors of each kind's encoder; `decoder` and `decoder_bias` are everyone's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coder:
    """Weights and what to do with them.

    `encoder` and `decoder` are [F, d], `decoder_bias` [d], every other tensor [F]. `centered`:
    b_dec is taken from the input too. `origin` is the cfg.json that it was read from.
    """

    kind: Kind
    tensors: Mapping[str, Tensor]
    k: int | None = None
    centered: bool = True
    origin: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wanted = {*PARTS[self.kind], "decoder", "decoder_bias"}
        if set(self.tensors) != wanted:
            raise DataError(
                f"autoencoder {self.kind}: got tensors {', '.join(sorted(self.tensors))}; "
                f"expected {', '.join(sorted(wanted))}"
            )
        latents, width = self.tensors["encoder"].shape
        shapes = {"encoder": (latents, width), "decoder": (latents, width)}
        shapes["decoder_bias"] = (width,)  # type: ignore[assignment]
        for name, tensor in self.tensors.items():
            expected = shapes.get(name, (latents,))
            if tuple(tensor.shape) != expected:
                raise DataError(f"{name}: got shape {tuple(tensor.shape)}, expected {expected}")
        if self.kind == "topk" and not (self.k and 0 < self.k <= latents):
            raise DataError(f"k: got {self.k}, expected 1 to {latents}")

    @property
    def latents(self) -> int:
        """F."""
        return int(self.tensors["encoder"].shape[0])

    @property
    def width(self) -> int:
        """d."""
        return int(self.tensors["encoder"].shape[1])

    @property
    def decoder(self) -> Tensor:
        """Directions of the latents [F, d]."""
        return self.tensors["decoder"]

    @property
    def encoder(self) -> Tensor:
        """[F, d]."""
        return self.tensors["encoder"]

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return self.encoder.device

    def to(self, device: torch.device | str) -> Coder:
        """The same on another device."""
        moved = {name: tensor.to(device) for name, tensor in self.tensors.items()}
        return replace(self, tensors=moved)

    def checksum(self) -> int:
        """Of every tensor's bytes."""
        found = 0
        for name in sorted(self.tensors):
            whole = self.tensors[name].contiguous().cpu().reshape(-1).view(torch.uint8)
            found = zlib.crc32(whole.numpy().tobytes(), found)
        return found

    def pre_activations(self, x: Tensor) -> Tensor:
        """[..., F] before the nonlinearity; of a gated one, its gate's."""
        part = self.tensors
        x = x.to(self.encoder.dtype)
        inner = x - part["decoder_bias"] if self.centered else x
        bias = part["gate_bias" if self.kind == "gated" else "encoder_bias"]
        return inner @ part["encoder"].T + bias

    def encode(self, x: Tensor) -> Tensor:
        """Activations [..., F] of inputs [..., d]."""
        pre, part = self.pre_activations(x), self.tensors
        if self.kind == "topk":
            values, latents = pre.topk(self.k or 1, dim=-1, sorted=False)
            return torch.zeros_like(pre).scatter_(-1, latents, values.relu())
        if self.kind == "gated":
            scaled = (pre - part["gate_bias"]) * part["magnitude_log_scale"].exp()
            return (pre > 0) * (scaled + part["magnitude_bias"]).relu()
        if "threshold" in part:
            return pre.relu() * (pre > part["threshold"])
        return pre.relu()

    def decode(self, activations: Tensor) -> Tensor:
        """Inputs [..., d] again."""
        return activations @ self.decoder + self.tensors["decoder_bias"]

    def __call__(self, x: Tensor) -> Tensor:
        """Reconstruction [..., d]."""
        return self.decode(self.encode(x))

    def with_directions(self, encoder: Tensor, decoder: Tensor) -> Coder:
        """The same with other weights, for nulls; it is of no file any more."""
        tensors = {**self.tensors, "encoder": encoder, "decoder": decoder}
        return Coder(kind=self.kind, tensors=tensors, k=self.k, centered=self.centered)


def sparse_rows(activations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Row, latent and value of every entry above 0 of [B, F], row by row."""
    rows, latents = activations.nonzero(as_tuple=True)
    return rows, latents, activations[rows, latents]
