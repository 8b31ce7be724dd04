"""Any torch module as a target, by naming its linear modules.

The module is never changed: it is called with its parameters detached, and each named module's
multiplication is redirected for the time of a call. Every named module must see one row for every
row of the outputs (a token each, say).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from custodes.errors import ConfigError
from custodes.methods.decomposition.targets.base import Batch, Facts, check_names
from custodes.methods.decomposition.vectors import Linear, Vectors

__all__ = ["Draw", "ModuleTarget"]

Draw = Callable[[torch.Generator, int], Tensor]
"""Takes a generator and a number of samples; returns inputs [samples, ...]."""


class ModuleTarget:
    """Named matrices of a module; instances share the rest of it."""

    def __init__(
        self,
        module: nn.Module,
        names: Sequence[str],
        draw_inputs: Draw,
        *,
        loss: Literal["mse", "kl"] = "mse",
        origin: str = "",
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        linears = {name: m for name, m in module.named_modules() if isinstance(m, nn.Linear)}
        check_names(list(linears), names)
        if module.training:
            raise ConfigError("module: got a module that is training; call its eval() first")
        self.module, self.names, self.loss = module, tuple(names), loss
        self.draw_inputs = draw_inputs
        self._linears = {name: linears[name] for name in names}
        self._state = {name: p.detach() for name, p in module.named_parameters()}
        self.weights = dict(
            weights or {n: m.weight.detach().mT[None] for n, m in self._linears.items()}
        )
        self.facts = Facts(origin=origin or f"{type(module).__name__}: {', '.join(names)}")

    @property
    def rest(self) -> Mapping[str, Tensor]:
        """The module's other parameters, and its buffers."""
        named = {f"{name}.weight" for name in self.names}
        parameters = {name: t for name, t in self._state.items() if name not in named}
        return {**parameters, **dict(self.module.named_buffers())}

    def forward(self, inputs: Tensor, linear: Linear) -> Tensor:
        """Outputs [I, N, d_out]; inputs [I, samples, ...]. Logits where the output has them."""
        instances = inputs.shape[0]
        with self._redirected(linear, instances):
            found: Any = torch.func.functional_call(
                self.module, self._state, (inputs.flatten(0, 1),)
            )
        outputs: Tensor = getattr(found, "logits", found)
        return outputs.reshape(instances, -1, outputs.shape[-1])

    def hidden(self, inputs: Tensor, linear: Linear) -> list[Tensor]:
        """None are known."""
        return []

    def sample(self, draw: Sequence[torch.Generator], size: int) -> Batch:
        """Samples from each instance's generator; every row of the outputs counts once."""
        inputs = torch.stack([self.draw_inputs(generator, size) for generator in draw])
        rows = size * self._rows_each(inputs)
        weight = torch.ones(len(draw), rows, device=next(iter(self.weights.values())).device)
        return Batch(inputs, weight, rows)

    def _rows_each(self, inputs: Tensor) -> int:
        """Rows of the outputs a sample; checked once against what the named modules see."""
        if not hasattr(self, "_rows"):
            seen: dict[str, int] = {}
            again: set[str] = set()

            def linear(name: str, rows: Vectors) -> Vectors:
                if name in seen:
                    again.add(name)
                seen[name] = rows.parts[0][0].shape[1]
                return rows.times(self.weights[name][:1])

            with torch.no_grad():
                rows = self.forward(inputs[:1, :1], linear).shape[1]
            odd = {name: number for name, number in seen.items() if number != rows}
            unused = set(self.names) - set(seen)
            if odd or unused:
                raise ConfigError(
                    f"module: outputs have {rows} rows a sample, but "
                    + "; ".join(
                        [f"{name} sees {number}" for name, number in odd.items()]
                        + [f"{name} is not used" for name in sorted(unused)]
                    )
                    + "; name modules that see one row for every row of the outputs"
                )
            if again:  # importances are of one call's activations, and would mask the other's
                raise ConfigError(
                    f"module: {', '.join(sorted(again))}: called more than once in a forward pass; "
                    "name modules that are called once"
                )
            self._rows = rows
        return self._rows

    def probes(self) -> None:
        """A module's inputs have no features that could be present alone."""
        return

    def replaced(self, weights: Mapping[str, Tensor]) -> ModuleTarget:
        """The same module with other matrices in the named places."""
        return ModuleTarget(
            self.module,
            self.names,
            self.draw_inputs,
            loss=self.loss,
            origin=self.facts.origin,
            weights=weights,
        )

    @contextmanager
    def _redirected(self, linear: Linear, instances: int) -> Iterator[None]:
        """Each named module asks `linear`; its bias is added after."""

        def stand_in(name: str, module: nn.Linear) -> Callable[[Tensor], Tensor]:
            def multiply(rows: Tensor) -> Tensor:
                flat = rows.reshape(instances, -1, rows.shape[-1])
                found = linear(name, Vectors.of(flat)).dense()
                found = found.reshape(*rows.shape[:-1], found.shape[-1])
                return found if module.bias is None else found + module.bias

            return multiply

        own = {name: vars(module).get("forward") for name, module in self._linears.items()}
        try:
            for name, module in self._linears.items():
                module.forward = stand_in(name, module)  # type: ignore[assignment]
            yield
        finally:
            for name, module in self._linears.items():
                vars(module).pop("forward", None)
                if own[name] is not None:
                    vars(module)["forward"] = own[name]
