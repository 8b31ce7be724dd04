"""Attribution-based parameter decomposition (arXiv 2501.14926), in its top-k form.

The parameters are a sum of components, each with a matrix A_c B_c in every layer. On each row the
components with the greatest attributions are active: together they must give the target's outputs
(minimality), and each must be simple. Attributions of all components come from one batched product
of the network's linearization; the network of active components is run on the chosen (row,
component) pairs only. Shapes: I instances, N rows, C components, m rank.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from custodes.errors import ConfigError
from custodes.methods.decomposition.config import APDConfig
from custodes.methods.decomposition.losses import (
    divergence,
    faithfulness,
    parameter_count,
    schatten,
)
from custodes.methods.decomposition.targets.base import Batch, Target, plain_linear
from custodes.methods.decomposition.targets.tms import TMS
from custodes.methods.decomposition.vectors import Linear, Vectors

__all__ = ["APD", "Pairs", "attributions", "choose_pairs", "forward_attributions"]

_GROUP = "components"
_MOST = 24_000_000  # numbers of a batch of tangents; more components than fit come in turns


@dataclass(frozen=True, slots=True)
class Pairs:
    """The chosen (row, component) pairs, by component.

    `rows` [I, C, P]: row numbers, N where a component has fewer than P. `counts` [I, C].
    """

    rows: Tensor
    counts: Tensor

    def mask(self, rows: int) -> Tensor:
        """1 where a component is active on a row, [I, N, C]."""
        instances, components, _ = self.rows.shape
        found = torch.zeros(instances, components, rows + 1, device=self.rows.device)
        return found.scatter_(2, self.rows, 1.0)[..., :rows].mT


def attributions(
    target: Target,
    weights: Mapping[str, Tensor],
    components: Mapping[str, Tensor],
    inputs: Tensor,
) -> Tensor:
    """A_c(x) = sum_o (sum_l <dy_o / d post_l, x_l P_c^l>)^2, [I, N, C] (eq. 6).

    `components`: P [I, C, d_in, d_out] by matrix; gradients are those of the network with
    `weights`.
    """
    if isinstance(target, TMS):
        return target.attributions(weights, components, inputs)
    return forward_attributions(target, weights, components, inputs)


def forward_attributions(
    target: Target,
    weights: Mapping[str, Tensor],
    components: Mapping[str, Tensor],
    inputs: Tensor,
) -> Tensor:
    """The same by forward differentiation, for any target.

    That sum over layers is what output o changes by, to first order, when all matrices move in the
    direction of the component: a derivative along P_c, of all outputs at once.
    """

    def network(at: dict[str, Tensor]) -> Tensor:
        return target.forward(inputs, plain_linear(at))

    start = {name: weights[name].contiguous() for name in components}

    def change(along: dict[str, Tensor]) -> Tensor:
        changes: Tensor = torch.func.jvp(network, (start,), (along,))[1]
        return changes.square().sum(dim=-1)

    # A component's share of the work: the rows of all matrices' products.
    width = inputs.shape[0] * inputs.shape[1] * sum(min(w.shape[1:]) for w in start.values())
    with warnings.catch_warnings():
        # torch's own forward derivatives still go through its deprecated script compiler.
        warnings.filterwarnings("ignore", message="`torch.jit.script", category=Warning)
        turns = torch.func.vmap(change, in_dims=1, chunk_size=max(1, _MOST // width))
        found: Tensor = turns(dict(components)).permute(1, 2, 0)
    return found


def choose_pairs(found: Tensor, number: int) -> Pairs:
    """The `number` greatest attributions of each instance's batch [I, N, C], as pairs."""
    instances, rows, components = found.shape
    number = min(number, rows * components)
    places = torch.topk(found.reshape(instances, -1), number, dim=1, sorted=False).indices
    owner, order = torch.sort(places % components, dim=1, stable=True)
    row = torch.gather(places // components, 1, order)
    counts = torch.zeros(instances, components, dtype=torch.long, device=found.device)
    counts.scatter_add_(1, owner, torch.ones_like(owner))
    starts = counts.cumsum(dim=1) - counts
    position = torch.arange(number, device=found.device) - torch.gather(starts, 1, owner)
    table = torch.full(
        (instances, components, int(counts.max())), rows, dtype=torch.long, device=found.device
    )
    instance = torch.arange(instances, device=found.device)[:, None]
    table[instance, owner, position] = row
    return Pairs(table, counts)


class APD:
    """Components that span all matrices of a target."""

    def __init__(self, target: Target, config: APDConfig, draw: Sequence[torch.Generator]) -> None:
        self.target, self.config = target, config
        self.parameters: dict[str, Tensor] = {}
        for name, weight in target.weights.items():
            if name in target.facts.tied:
                continue
            _, d_in, d_out = weight.shape
            rank = config.rank or min(d_in, d_out)
            for part, shape in (("A", (d_in, rank)), ("B", (rank, d_out))):
                # Near zero, so that components grow along the target and none keeps a random part
                # that nothing would penalize: the authors draw [instances, C, d, d] by Xavier,
                # which takes C d d for the fan in and instances d d for the fan out.
                fans = (config.drawn_at_once + config.components) * math.prod(shape)
                scale = (2 / fans) ** 0.5
                drawn = [
                    torch.randn((config.components, *shape), generator=g, device=g.device)
                    for g in draw
                ]
                self.parameters[f"{name}.{part}"] = torch.stack(drawn) * scale
        self.after_step()

    def factors(self, name: str) -> tuple[Tensor, Tensor]:
        """A [I, C, d_in, m] and B [I, C, m, d_out]; of a tied matrix the other's, turned round."""
        if name in self.target.facts.tied:
            a, b = self.factors(self.target.facts.tied[name])
            return b.mT, a.mT
        return self.parameters[f"{name}.A"], self.parameters[f"{name}.B"]

    def sums(self) -> dict[str, Tensor]:
        """The sum over components, by matrix."""
        found = {}
        for name in self.target.weights:
            a, b = self.factors(name)
            found[name] = a.transpose(1, 2).flatten(2) @ b.flatten(1, 2)
        return found

    def group_of(self, name: str) -> str:
        """All matrices share their components."""
        return _GROUP

    def matrices(self, name: str, instance: int) -> Tensor:
        """[C, d_in, d_out]."""
        a, b = self.factors(name)
        return a[instance] @ b[instance]

    def prepare(self) -> None:
        """Nothing."""

    def before_step(self) -> None:
        """With `unit_norm`, take out of A's gradients what would change its columns' length."""
        for a in self._unit_columns():
            if a.grad is not None:
                along = (a.grad * a.detach()).sum(dim=2, keepdim=True)
                a.grad -= along * a.detach()

    def after_step(self) -> None:
        """With `unit_norm`, bring the columns of A back to unit length."""
        for a in self._unit_columns():
            with torch.no_grad():
                a.div_(a.norm(dim=2, keepdim=True))

    def _unit_columns(self) -> list[Tensor]:
        if not self.config.unit_norm:
            return []
        return [tensor for name, tensor in self.parameters.items() if name.endswith(".A")]

    def choose(
        self, batch: Batch, components: Mapping[str, Tensor], top_k: float | None = None
    ) -> Pairs:
        """The pairs with the greatest attributions in the batch, `top_k` a row on average."""
        top_k = self.config.top_k if top_k is None else top_k
        with torch.no_grad():
            own = self.config.attributions == "components"
            weights = self.sums() if own else self.target.weights
            found = attributions(self.target, weights, components, batch.inputs)
        return choose_pairs(found, int(top_k * batch.size))

    def losses(self, batch: Batch, done: float) -> dict[str, Tensor]:
        """Faithfulness, minimality, simplicity, activations and their weighted sum `total`."""
        config, target = self.config, self.target
        factors = {name: self.factors(name) for name in target.weights}
        components = {name: a @ b for name, (a, b) in factors.items()}
        pairs = self.choose(batch, {name: p.detach() for name, p in components.items()})
        sums = {name: p.sum(dim=1) for name, p in components.items()}
        found = {"faithfulness": faithfulness(target.weights, sums)}
        plain, active = plain_linear(target.weights), _active_linear(components, pairs)
        with torch.no_grad():
            wanted = target.forward(batch.inputs, plain)
        outputs = target.forward(batch.inputs, active)
        found["minimality"] = divergence(outputs, wanted, batch.weight, target.loss)
        found["simplicity"] = schatten(
            list(factors.values()),
            pairs.counts / batch.size,
            p=config.p,
            parameters=parameter_count(target.weights),
        )
        if config.activations:
            with torch.no_grad():
                kept = target.hidden(batch.inputs, plain)
            if not kept:
                raise ConfigError(
                    f"activations: got {config.activations:g}, and this target has no hidden "
                    "activations; expected 0"
                )
            terms = [
                divergence(got, want, batch.weight, "mse")
                for got, want in zip(target.hidden(batch.inputs, active), kept, strict=True)
            ]
            found["activations"] = torch.stack(terms).sum(dim=0)
        total = torch.stack([getattr(config, name) * value for name, value in found.items()])
        return {"total": total.sum(dim=0), **found}

    def importances(self, batch: Batch) -> dict[str, Tensor]:
        """1 for the components that are active on a row, 0 for the others."""
        return self._active(batch, self.config.top_k)

    def floors(self, batch: Batch) -> dict[str, Tensor]:
        """The same: nothing else can be masked."""
        return self.importances(batch)

    def probed(self, batch: Batch) -> dict[str, Tensor]:
        """The same with one component a row on average: `top_k` counts empty rows too."""
        return self._active(batch, 1.0)

    def _active(self, batch: Batch, top_k: float) -> dict[str, Tensor]:
        components = {}
        for name in self.target.weights:
            a, b = self.factors(name)
            components[name] = (a @ b).detach()
        pairs = self.choose(batch, components, top_k)
        return {_GROUP: pairs.mask(batch.weight.shape[1])}

    def outputs(self, batch: Batch, masks: Mapping[str, Tensor] | None) -> Tensor:
        """Outputs under masks, every component on every row."""
        mask = None if masks is None else masks[_GROUP]

        def linear(name: str, rows: Vectors) -> Vectors:
            a, b = self.factors(name)
            inner = _products(rows, a)  # [I, C, N, m]
            if mask is not None:
                inner = inner * mask.mT[..., None]
            return Vectors.of(inner.transpose(1, 2).flatten(2) @ b.flatten(1, 2))

        return self.target.forward(batch.inputs, linear)


def _products(rows: Vectors, matrices: Tensor) -> Tensor:
    """Every row times every component's matrix [I, C, d, e]: [I, C, N, e]."""
    terms = []
    for a, basis in rows.parts:
        folded = matrices if basis is None else basis[:, None] @ matrices
        # One product of [N, d] with [d, C e] instead of C products.
        instances, components, d, e = folded.shape
        flat = folded.permute(0, 2, 1, 3).reshape(instances, d, components * e)
        terms.append((a @ flat).reshape(instances, -1, components, e).transpose(1, 2))
    return terms[0] if len(terms) == 1 else torch.stack(terms).sum(dim=0)


def _active_linear(components: Mapping[str, Tensor], pairs: Pairs) -> Linear:
    """The sum of the active components' products: the chosen rows of each, and no others."""
    instances = len(pairs.rows)

    def linear(name: str, rows: Vectors) -> Vectors:
        matrices = components[name]
        total: Tensor | None = None
        for a, basis in rows.parts:
            folded = matrices if basis is None else basis[:, None] @ matrices
            length = a.shape[1] + 1  # with a row of zeros, for places that are not taken
            padded = torch.nn.functional.pad(a, (0, 0, 0, 1)).reshape(instances * length, -1)
            offset = torch.arange(instances, device=a.device)[:, None, None] * length
            places = (pairs.rows + offset).reshape(-1)
            taken = padded.index_select(0, places).reshape(*pairs.rows.shape, -1)
            products = (taken @ folded).reshape(len(places), -1)
            out = products.new_zeros(instances * length, products.shape[1])
            out = out.index_add(0, places, products).reshape(instances, length, -1)[:, :-1]
            total = out if total is None else total + out
        assert total is not None, "vectors have at least one part"
        return Vectors.of(total)

    return linear
