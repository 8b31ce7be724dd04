"""Stochastic parameter decomposition (arXiv 2506.20790): W is a sum of rank-1 subcomponents.

W ~ V U with V [d_in, C] (read) and U [C, d_out] (write). Each subcomponent has a causal-importance
function of its inner activation. Trained so that the output survives masks drawn between the
importance and 1, while importances are small. The later recipe (a delta component, adversarial
masks, annealing, a price of frequency) follows arXiv's VPD successor as the authors' code has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from custodes.methods.decomposition.attack import attack
from custodes.methods.decomposition.base import Products
from custodes.methods.decomposition.config import SPDConfig
from custodes.methods.decomposition.gates import (
    Gates,
    importance_logits,
    lower_leaky,
    upper_leaky,
)
from custodes.methods.decomposition.losses import divergence, faithfulness, importance_minimality
from custodes.methods.decomposition.schedule import annealed
from custodes.methods.decomposition.targets.base import Batch, Target
from custodes.methods.decomposition.vectors import Linear, Vectors

__all__ = ["SPD"]

_REST = " rest"
"""The key of the delta component's mask behind its matrix' name."""


class SPD:
    """Subcomponents and causal-importance functions of every matrix of a target."""

    def __init__(self, target: Target, config: SPDConfig, draw: Sequence[torch.Generator]) -> None:
        self.target, self.config, self.draw = target, config, draw
        self.parameters: dict[str, Tensor] = {}
        for name, weight in target.weights.items():
            if name not in target.facts.tied:
                v, u = _initial_factors(weight, config.components, draw)
                self.parameters |= {f"{name}.V": v, f"{name}.U": u}
            self.parameters |= _initial_gates(name, config, draw)
        # Of `tied_steps` 2: each side has a copy with moments of its own, alike before each step.
        self._copies: dict[str, str] = {}
        if config.tied_steps == 2:
            for name, source in target.facts.tied.items():
                self._copies |= {f"{name}.V": f"{source}.U", f"{name}.U": f"{source}.V"}
        for name, source in self._copies.items():
            self.parameters[name] = self.parameters[source].mT.contiguous()
        self._before: dict[str, Tensor] = {}

    def factors(self, name: str) -> tuple[Tensor, Tensor]:
        """V [I, d_in, C] and U [I, C, d_out]; of a tied matrix the other's, turned round."""
        if f"{name}.V" in self.parameters:
            return self.parameters[f"{name}.V"], self.parameters[f"{name}.U"]
        v, u = self.factors(self.target.facts.tied[name])
        return u.mT, v.mT

    def gates(self, name: str) -> Gates:
        """The causal-importance functions of a matrix."""
        return Gates(*(self.parameters[f"{name}.{part}"] for part in _GATE_PARTS))

    def sums(self) -> dict[str, Tensor]:
        """V U by matrix."""
        found = {}
        for name in self.target.weights:
            v, u = self.factors(name)
            found[name] = v @ u
        return found

    def group_of(self, name: str) -> str:
        """Subcomponents belong to their matrix."""
        return name

    def matrices(self, name: str, instance: int) -> Tensor:
        """[C, d_in, d_out], each of rank 1."""
        v, u = self.factors(name)
        return v[instance].T[:, :, None] * u[instance][:, None, :]

    def prepare(self) -> None:
        """The faithfulness warm-up: AdamW on the factors alone."""
        if not self.config.warmup_steps:
            return
        factors = [t for name, t in self.parameters.items() if name.endswith((".V", ".U"))]
        optimizer = torch.optim.AdamW(factors, lr=self.config.warmup_rate, weight_decay=0.1)
        for _ in range(self.config.warmup_steps):
            optimizer.zero_grad(set_to_none=True)
            faithfulness(self.target.weights, self.sums()).sum().backward()  # type: ignore[no-untyped-call]
            self.before_step()
            optimizer.step()
            self.after_step()

    def before_step(self) -> None:
        """Note where the copies are."""
        self._before = {name: self.parameters[name].detach().clone() for name in self._copies}

    def after_step(self) -> None:
        """Move tied factors by both sides' steps."""
        with torch.no_grad():
            for name, source in self._copies.items():
                self.parameters[source] += (self.parameters[name] - self._before[name]).mT
                self.parameters[name].copy_(self.parameters[source].mT)

    def losses(self, batch: Batch, done: float) -> dict[str, Tensor]:
        """Faithfulness, stochastic, layerwise, importance, adversarial and their `total`."""
        config, pass_ = self.config, _Pass(self, batch)
        rows = (batch.weight > 0).sum(dim=1).tolist()
        logits = pass_.logits()
        lower = {name: lower_leaky(value) for name, value in logits.items()}
        found = {"faithfulness": faithfulness(self.target.weights, self.sums())}
        found["importance"] = importance_minimality(
            [upper_leaky(value) for value in logits.values()],
            batch.weight,
            p=annealed(done, config.p, config.p_final, start=config.p_from),
            frequency=config.frequency,
        )
        if config.stochastic:
            terms = [pass_.distance(self._random_masks(lower, rows)) for _ in range(config.samples)]
            found["stochastic"] = torch.stack(terms).mean(dim=0)
        if config.layerwise:
            terms = []
            for _ in range(config.samples):
                masks = self._random_masks(lower, rows)
                terms += [pass_.distance(_of_one(masks, name)) for name in lower]
            found["layerwise"] = torch.stack(terms).mean(dim=0)
        if config.adversarial:
            found["adversarial"] = self._adversarial(pass_, lower)
        weights = {name: getattr(config, name) for name in found}
        total = torch.stack([weights[name] * value for name, value in found.items()]).sum(dim=0)
        return {"total": total, **found}

    def importances(self, batch: Batch) -> dict[str, Tensor]:
        """Hard-sigmoid importances in [0, 1]."""
        logits = _Pass(self, batch).logits()
        return {name: value.clamp(0, 1) for name, value in logits.items()}

    def floors(self, batch: Batch) -> dict[str, Tensor]:
        """The same, and 0 for the delta components."""
        return self._with_rests(self.importances(batch))

    def probed(self, batch: Batch) -> dict[str, Tensor]:
        """The same: an importance does not depend on the other rows."""
        return self.importances(batch)

    def outputs(self, batch: Batch, masks: Mapping[str, Tensor] | None) -> Tensor:
        """Outputs under masks; a delta component that has none is left out."""
        weights = self.target.weights
        every = {name: torch.ones(1, 1, 1, device=w.device) for name, w in weights.items()}
        return _Pass(self, batch).outputs(every if masks is None else masks)

    def _random_masks(self, lower: Mapping[str, Tensor], rows: list[int]) -> dict[str, Tensor]:
        """g + (1 - g) r, r uniform; the delta component's importance is 0.

        `rows`: how many of an instance count. Only those are drawn for, so that a seed's numbers
        do not depend on how many rows the others have; on padding masks are 1.
        """
        masks = {}
        for name, g in lower.items():
            r = self._uniform(rows, g.shape[1], g.shape[2])
            masks[name] = torch.addcmul(r, g, 1 - r)
            if self.config.delta:
                masks[name + _REST] = self._uniform(rows, g.shape[1], 1)
        return masks

    def _with_rests(self, importances: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = dict(importances)
        if self.config.delta:
            for name, g in importances.items():
                found[name + _REST] = torch.zeros_like(g[..., :1])
        return found

    def _uniform(self, rows: list[int], length: int, width: int) -> Tensor:
        """[I, length, width]: each instance's own numbers for its rows, 1 behind them."""
        r = torch.ones(len(self.draw), length, width, device=self.draw[0].device)
        for own, number, generator in zip(r, rows, self.draw, strict=True):
            torch.rand((number, width), generator=generator, out=own[:number])
        return r

    def _adversarial(self, pass_: _Pass, lower: Mapping[str, Tensor]) -> Tensor:
        """The loss under masks that an attack chose for the whole batch (PGD, from random ones)."""
        floors = self._with_rests(lower)
        one = [1] * len(self.draw)
        start = {name: self._uniform(one, 1, g.shape[2]) for name, g in floors.items()}
        masks = attack(
            pass_.distance,
            floors,
            start,
            steps=self.config.adversarial_steps,
            rate=self.config.adversarial_rate,
        )
        return pass_.distance(masks)


class _Pass:
    """One batch: the target's run, kept, and runs with masks beside it."""

    def __init__(self, spd: SPD, batch: Batch) -> None:
        self._spd, self._batch, self._target = spd, batch, spd.target
        self._factors = {name: spd.factors(name) for name in spd.target.weights}
        readers = {name: v for name, (v, _) in self._factors.items()}
        self._products = Products(spd.target.weights, readers)
        self._seen: dict[str, Vectors] = {}
        self._delta: dict[str, Tensor] = {}

        def linear(name: str, rows: Vectors) -> Vectors:
            self._seen[name] = rows
            return self._products.plain(name, rows)

        with torch.no_grad():
            self.wanted = self._target.forward(batch.inputs, linear)

    def logits(self) -> dict[str, Tensor]:
        """Importance logits on the target's own activations, in the order of the matrices."""
        return {
            name: importance_logits(
                self._products.inner(name, self._seen[name]), self._spd.gates(name)
            )
            for name in self._target.weights
        }

    def outputs(self, masks: Mapping[str, Tensor]) -> Tensor:
        """Outputs with masked components where there is a mask, the matrix itself elsewhere."""
        return self._target.forward(self._batch.inputs, self._masked(masks))

    def distance(self, masks: Mapping[str, Tensor]) -> Tensor:
        """Their divergence from the target's outputs, [I]."""
        outputs = self.outputs(masks)
        return divergence(outputs, self.wanted, self._batch.weight, self._target.loss)

    def _masked(self, masks: Mapping[str, Tensor]) -> Linear:
        def linear(name: str, rows: Vectors) -> Vectors:
            if name not in masks:
                return self._products.plain(name, rows)
            _, u = self._factors[name]
            found = Vectors.of(self._products.inner(name, rows) * masks[name]).times(u)
            if name + _REST in masks:
                found = found + rows.scaled(masks[name + _REST]).times(self._rest(name))
            return found

        return linear

    def _rest(self, name: str) -> Tensor:
        """What the subcomponents leave of the matrix."""
        if name not in self._delta:
            v, u = self._factors[name]
            self._delta[name] = self._target.weights[name] - v @ u
        return self._delta[name]


_GATE_PARTS = ("gate_in", "gate_bias", "gate_out", "gate_offset")


def _of_one(masks: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The masks of one matrix."""
    return {key: value for key, value in masks.items() if key in (name, name + _REST)}


def _initial_factors(
    weight: Tensor, components: int, draw: Sequence[torch.Generator]
) -> tuple[Tensor, Tensor]:
    """Random directions of unit length; each one's U is scaled by its overlap with W.

    As in the authors' code: the subcomponents start where they already say something of W.
    """
    _, d_in, d_out = weight.shape
    v = _normal(draw, d_in, components)
    u = _normal(draw, components, d_out)
    v = v / v.norm(dim=1, keepdim=True)
    u = u / u.norm(dim=2, keepdim=True)
    overlap = ((weight.mT @ v).mT * u).sum(dim=2, keepdim=True)
    return v, u * overlap


def _initial_gates(
    name: str, config: SPDConfig, draw: Sequence[torch.Generator]
) -> dict[str, Tensor]:
    """Kaiming: fan 1 and a ReLU's gain into the neurons, fan K out of them; no biases."""
    shape = (config.components, config.gate_neurons)
    into = _normal(draw, *shape) * 2**0.5
    out = _normal(draw, *shape) / config.gate_neurons**0.5
    zeros = torch.zeros_like(into)
    parts = (into, zeros, out, torch.zeros_like(into[..., 0]))
    return {f"{name}.{part}": value for part, value in zip(_GATE_PARTS, parts, strict=True)}


def _normal(draw: Sequence[torch.Generator], *shape: int) -> Tensor:
    return torch.stack([torch.randn(shape, generator=g, device=g.device) for g in draw])
