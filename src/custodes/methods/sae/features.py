"""What is described: latents of an autoencoder, neurons of an MLP, or any directions.

All three are a way to read activations at a hook, a direction to push there, and a direction that
speaks to the unembedding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from custodes.errors import ConfigError
from custodes.methods.sae.coder import Coder
from custodes.methods.sae.hooks import read_hooks
from custodes.methods.sae.language import LanguageModel

__all__ = ["Features", "coder_features", "direction_features", "neuron_features",
           "read_features"]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """L features at a hook of width d.

    `encode`: [..., d] -> activations [..., L]. `directions` [L, d]: what one unit of activation
    adds at the hook. `outward` [L, width of the model]: the same in the residual stream.
    """

    hook: str
    encode: Callable[[Tensor], Tensor]
    directions: Tensor
    outward: Tensor
    names: tuple[str, ...]

    def clamp(self, index: int | Tensor, amounts: Tensor) -> Callable[[Tensor], Tensor]:
        """A change for `hooks.replaced`: row b of a batch gets activation amounts[b] everywhere.

        `index`: one feature, or that of each row.
        """
        which = torch.as_tensor(index, device=self.directions.device).expand(len(amounts))

        def change(x: Tensor) -> Tensor:
            of_row = which[:, None, None].expand(-1, x.shape[1], 1)
            now = self.encode(x.float()).gather(-1, of_row)
            push = (amounts[:, None, None].to(now) - now) * self.directions[which][:, None]
            return (x.float() + push).to(x.dtype)

        return change


def coder_features(coder: Coder, hook: str, latents: Sequence[int]) -> Features:
    """Latents of an autoencoder of the residual stream or of what is added to it."""
    chosen = torch.tensor(list(latents), device=coder.device)
    if not len(chosen) or int(chosen.min()) < 0 or int(chosen.max()) >= coder.latents:
        raise ConfigError(f"latents: got {list(latents)[:8]}, expected 0 to {coder.latents - 1}")
    directions = coder.decoder[chosen].float()
    return Features(
        hook=hook,
        encode=lambda x: coder.encode(x)[..., chosen].float(),
        directions=directions,
        outward=directions,
        names=tuple(f"latent {latent}" for latent in latents),
    )


def neuron_features(language: LanguageModel, module: str, neurons: Sequence[int]) -> Features:
    """Neurons of an MLP, `module` being its last linear map (model.layers.6.mlp.down_proj)."""
    last: Any = dict(language.model.named_modules()).get(module)
    if not isinstance(last, torch.nn.Linear):
        raise ConfigError(f"module: got {module!r}, expected the path of a linear map")
    chosen = torch.tensor(list(neurons), device=last.weight.device)
    return Features(
        hook=f"{module}:input",
        encode=lambda x: x[..., chosen],
        directions=torch.eye(last.in_features, device=chosen.device)[chosen],
        outward=last.weight.detach().T[chosen].float(),
        names=tuple(f"neuron {neuron}" for neuron in neurons),
    )


def direction_features(hook: str, directions: Tensor) -> Features:
    """Any directions [L, d]; a feature's activation is the projection on its unit direction."""
    unit = torch.nn.functional.normalize(directions.detach().float(), dim=1)
    return Features(
        hook=hook,
        encode=lambda x: x @ unit.T,
        directions=unit,
        outward=unit,
        names=tuple(f"direction {index}" for index in range(len(unit))),
    )


def read_features(
    language: LanguageModel, features: Features, ids: Tensor, *, skip: int = 1, batch: int = 16
) -> Tensor:
    """Activations [contexts, T, L] on ids [contexts, T], the processor's; the first `skip`
    positions are 0."""
    parts = []
    for some in torch.split(ids, batch):
        given = some.to(language.device)
        found = read_hooks(language.model, [features.hook], input_ids=given)[features.hook]
        activations = features.encode(found.float()).cpu()
        activations[:, :skip] = 0
        parts.append(activations)
    return torch.cat(parts)
