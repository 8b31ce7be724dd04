"""What is left of the target's function: all components, the important ones, the worst masks.

Judge by the worst masks, the same for the whole batch: importances as masks are one way among many
to leave out what is not needed, and the kindest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from custodes.methods.decomposition.attack import attack
from custodes.methods.decomposition.base import Decomposition
from custodes.methods.decomposition.losses import divergence
from custodes.methods.decomposition.targets.base import Batch, plain_linear

__all__ = ["reconstruction"]


def reconstruction(
    decomposition: Decomposition,
    batch: Batch,
    draw: Sequence[torch.Generator],
    *,
    steps: int,
    rate: float,
) -> dict[str, Tensor]:
    """Divergence from the target, [I] each: `all`, `important`, `worst`, `none` of them.

    `none` is what an empty network costs: the scale of the others. `worst` is the greatest that
    was found, by the attack or at either end of what masks may be; a greater one may exist.
    """
    target = decomposition.target
    with torch.no_grad():
        wanted = target.forward(batch.inputs, plain_linear(target.weights))

    def distance(masks: Mapping[str, Tensor] | None) -> Tensor:
        return divergence(decomposition.outputs(batch, masks), wanted, batch.weight, target.loss)

    with torch.no_grad():
        floors = decomposition.floors(batch)
    start = {}
    for name, g in floors.items():
        rows = [torch.rand((1, g.shape[2]), generator=one, device=one.device) for one in draw]
        start[name] = torch.stack(rows)
    with torch.no_grad():
        nothing = {name: torch.zeros_like(g[:, :1]) for name, g in floors.items()}
        found = {
            "all": distance(None),
            "important": distance(floors),
            "none": distance(nothing),
        }
    worst = attack(distance, floors, start, steps=steps, rate=rate)
    with torch.no_grad():
        ends = torch.maximum(found["all"], found["important"])
        found["worst"] = torch.maximum(distance(worst), ends)
    return found
