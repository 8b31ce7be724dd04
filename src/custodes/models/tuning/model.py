"""A causal language model that can be tuned, measured, merged and put back.

One pass over packed rows gives the states that a loss needs; log-probabilities are computed at
targets only. Knows no optimizer and no data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from custodes.config import Config, cache_folder, digest
from custodes.errors import ConfigError
from custodes.models.arithmetic import Precision, resolved
from custodes.models.causal import CausalConfig, CausalModel
from custodes.models.residual import blocks_of
from custodes.models.tuning.head import token_log_probs
from custodes.models.tuning.lowrank import install, tuned
from custodes.models.tuning.packed import Packed, attending, pack_rows
from custodes.models.tuning.rows import Row, RowMaker

__all__ = ["AdapterConfig", "TunableConfig", "TunableModel", "open_tunable"]


_ROWS = 2
"""Goes up when texts come to make other rows; those of the embedded model are still the first."""


class TunableConfig(Config):
    """Which model is tuned, and how it computes."""

    model: str = "embedded"
    """`embedded`, a folder, or a hub id."""
    device: str = "cpu"
    """A torch device: cpu, cuda, cuda:1."""
    precision: Precision = "auto"
    """What matrix products are computed in while tuning; weights, sums and norms stay float32.
    auto: bfloat16 where it is the faster on this machine, else float32."""
    chat_template: str | None = None
    """A Jinja chat template in place of the tokenizer's."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of torch, for the whole process; null leaves them as they are."""

    def settled(self) -> TunableConfig:
        """The same with `auto` as it comes out on this machine: what results are named by, and
        what every worker of a study computes in, must not depend on where each of them is."""
        return self.model_copy(update={"precision": resolved(self.precision, self.device)})

    def identity(self) -> dict[str, Any]:
        """What decides results: the settings but `threads`, how rows are made, and of a folder what
        it holds, since weights may be saved over those that a result was of."""
        values = self.model_dump(mode="json", exclude={"threads"})
        if self.model != "embedded":
            values["rows"] = _ROWS
        folder = Path(self.model)
        if self.model != "embedded" and folder.is_dir():
            values["content"] = digest(folder)
        return values


class AdapterConfig(Config):
    """What is tuned."""

    kind: Literal["lora", "full"] = "lora"
    """lora: pairs of thin matrices beside frozen weights. full: every weight."""
    rank: int = Field(default=16, ge=1)
    """Rank of the pairs."""
    alpha: float | None = None
    """Their scale is alpha / rank; null: twice the rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of inputs dropped before the pairs."""
    targets: tuple[str, ...] = ()
    """Ends of the names of the matrices that get a pair, such as q_proj; empty: all in the body."""


class _DeepEnoughError(Exception):
    """Leaves a pass whose remaining blocks nobody asked for; never seen outside."""


def _check_head(model: Any, name: str) -> None:
    settings = model.config.get_text_config()
    odd = [
        field
        for field in ("final_logit_softcapping", "logits_scaling", "logit_scale")
        if getattr(settings, field, None) not in (None, 1.0)
    ]
    if getattr(model.get_output_embeddings(), "bias", None) is not None:
        odd.append("a bias")
    if odd:
        raise ConfigError(
            f"{name}: its output layer has {', '.join(odd)}; expected a plain matrix, as in Llama"
        )


class TunableModel:
    """A transformers model whose linear maps are `TunedLinear`; one thread uses it at a time.

    `model` and `tokenizer` stay what transformers made them and may be used as such. `tokens`
    counts the tokens that passes have read.
    """

    def __init__(self, model: Any, tokenizer: Any, config: TunableConfig, *, name: str) -> None:
        self.config = config
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.name = name
        self.rows = RowMaker(tokenizer, config.chat_template)
        _check_head(model, name)
        self.tokens = 0
        self._compute = getattr(torch, resolved(config.precision, config.device))
        install(model, self._compute)
        self._body = getattr(model, model.base_model_prefix, model)
        model.requires_grad_(False)
        # References, not copies: whatever changes a weight puts a new tensor in its place.
        self._first = {name: value.data for name, value in model.named_parameters()}
        self._low_table: Tensor | None = None
        self._kind: str | None = None

    # What is tuned

    def start(self, config: AdapterConfig, *, seed: int) -> list[torch.nn.Parameter]:
        """Begin a phase: fresh pairs, or all weights, to be trained; returns the parameters.

        `ConfigError` while another phase is open (`merge` or `drop` ends it).
        """
        if self._kind is not None:
            raise ConfigError("tuning: a phase is open; end it by merge() or drop()")
        torch.manual_seed(seed)
        if config.kind == "lora":
            chosen = [
                (name, module)
                for name, module in tuned(self.model)
                if not config.targets or name.endswith(config.targets)
            ]
            if not chosen:
                names = sorted({name.rpartition(".")[2] for name, _ in tuned(self.model)})
                raise ConfigError(
                    f"targets: got {list(config.targets)}, expected some of {', '.join(names)}"
                )
            alpha = 2.0 * config.rank if config.alpha is None else config.alpha
            for _, module in chosen:
                module.add_pair(config.rank, alpha, config.dropout)
        else:
            for parameter in self.model.parameters():
                parameter.data = parameter.data.float().clone()
            self.model.requires_grad_(True)
        self._kind = config.kind
        self._refresh()
        return [p for p in self.model.parameters() if p.requires_grad]

    def merge(self) -> None:
        """End the phase: what was learned becomes part of the weights."""
        for _, module in tuned(self.model):
            change = module.change()
            if change is not None:
                # A fresh tensor: weights that are mapped from a file are shared.
                module.weight.data = module.weight.data + change.to(module.weight.dtype)
            module.drop_pair()
        self._end()

    def drop(self) -> None:
        """End the phase and forget what it learned (full tuning: see `reset`)."""
        if self._kind == "full":
            raise ConfigError("full tuning cannot be dropped: its weights are changed; reset()")
        for _, module in tuned(self.model):
            module.drop_pair()
        self._end()

    def reset(self) -> None:
        """The model as it was loaded, whatever was tuned or merged since."""
        for _, module in tuned(self.model):
            module.drop_pair()
        for name, parameter in self.model.named_parameters():
            parameter.data = self._first[name]
        self._end()

    def _end(self) -> None:
        self.model.requires_grad_(False)
        self._kind = None
        self._refresh()

    def _refresh(self) -> None:
        self._low_table = None
        for _, module in tuned(self.model):
            module.refresh()

    @contextmanager
    def adapter_off(self) -> Iterator[None]:
        """While inside, the pairs do nothing: the model as it was when the phase began."""
        if self._kind == "full":
            raise ConfigError("adapter_off: full tuning has no adapter; compute references before")
        modules = [module for _, module in tuned(self.model)]
        for module in modules:
            module.on = False
        try:
            yield
        finally:
            for module in modules:
                module.on = True

    # What was learned

    def learned(self) -> dict[str, NDArray[np.float32]]:
        """Of an open phase: pairs as `CausalModel.adapt` takes them, or, full, changed weights."""
        if self._kind == "full":
            return {
                name: parameter.detach().cpu().numpy()
                for name, parameter in self.model.named_parameters()
            }
        found: dict[str, NDArray[np.float32]] = {}
        for name, module in tuned(self.model):
            if module.down is not None and module.up is not None:
                found[f"{name}.down"] = module.down.detach().cpu().numpy()
                found[f"{name}.up"] = (module.scale * module.up.detach()).cpu().numpy()
        return found

    def add(self, learned: Mapping[str, NDArray[np.floating]]) -> None:
        """Put what `learned` gave into the weights (no phase may be open)."""
        if self._kind is not None:
            raise ConfigError("tuning: a phase is open; end it by merge() or drop()")
        if all(name.endswith((".down", ".up")) for name in learned):
            from custodes.models.trunk import add_low_rank

            add_low_rank(self.model, learned)
        else:
            known = dict(self.model.named_parameters())
            for name, value in learned.items():
                if name not in known:
                    raise ConfigError(f"the model has no weight {name}; load the one it was of")
                known[name].data = torch.tensor(value).to(known[name])
        self._refresh()

    def save(self, path: Path) -> None:
        """Write `learned` as one safetensors file, whole or not at all."""
        from safetensors.numpy import save

        from custodes.config import write_atomically

        write_atomically(
            path, save({k: np.ascontiguousarray(v) for k, v in self.learned().items()})
        )

    def load(self, path: Path) -> None:
        """`add` what `save` wrote."""
        from safetensors.numpy import load_file

        self.add(load_file(path))

    # Passes

    def pack(self, rows: Sequence[Row]) -> Packed:
        """The rows side by side, on the model's device."""
        return pack_rows(rows, self.config.device)

    def states(self, packed: Packed, layer: int | None = None) -> Tensor:
        """Hidden states [T, d], differentiable: after the last norm, or the output of block
        `layer` (0: the embeddings), at which the pass then stops."""
        return self.run(packed.ids, packed.positions, packed.plan, layer)

    def run(self, ids: Tensor, positions: Tensor, plan: Any, layer: int | None = None) -> Tensor:
        """As `states`, from token ids [T], positions [T] and a plan of attention."""
        self.tokens += len(ids)
        inputs = {
            "input_ids": ids.unsqueeze(0),
            "position_ids": positions.unsqueeze(0),
            "use_cache": False,
        }
        if layer == 0:
            embedded: Tensor = self.model.get_input_embeddings()(ids)
            return embedded
        with attending(self.model, plan):
            if layer is None:
                final: Tensor = self._body(**inputs).last_hidden_state[0]
                return final
            return self._states_at(layer, inputs)

    def _states_at(self, layer: int, inputs: Mapping[str, Any]) -> Tensor:
        blocks = blocks_of(self.model)
        if not 1 <= layer <= len(blocks):
            raise ConfigError(f"layer: got {layer}, expected 0 to {len(blocks)}")
        found: list[Tensor] = []

        def keep(_module: Any, _args: Any, output: Any) -> None:
            found.append(output[0] if isinstance(output, tuple) else output)
            raise _DeepEnoughError

        hook = blocks[layer - 1].register_forward_hook(keep)
        try:
            self._body(**inputs)
        except _DeepEnoughError:
            pass
        finally:
            hook.remove()
        return found[0][0]

    def token_log_probs(self, packed: Packed) -> Tensor:
        """Log-probability of each target, float32 [N], differentiable."""
        return self.at(self.states(packed).index_select(0, packed.source), packed.target)

    def row_log_probs(self, packed: Packed) -> tuple[Tensor, Tensor]:
        """Each row's sum of its targets' log-probabilities, differentiable, and their number [R].

        Weights are not looked at, but that a target of weight 0 is none.
        """
        logs = self.token_log_probs(packed)
        return packed.sums(logs), packed.sums(torch.ones_like(logs))

    def at(self, states: Tensor, ids: Tensor, *, exact: bool = False) -> Tensor:
        """log p(ids[n] | states[n]) [N]; `exact`: the output matrix in float32 whatever the
        precision (a bfloat16 logit of 20 is rounded to an eighth)."""
        table = self.model.get_output_embeddings().weight
        return token_log_probs(states, table, ids, table.detach() if exact else self._low(table))

    def _low(self, table: Tensor) -> Tensor:
        if table.dtype == self._compute or table.requires_grad:
            return table.detach().to(self._compute)
        if self._low_table is None:
            with torch.inference_mode(False):  # see TunedLinear
                self._low_table = table.detach().to(self._compute)
        return self._low_table

    # The model as others know it

    def causal(self, *, batch_size: int = 32) -> CausalModel:
        """The same weights as a model to generate with; it sees what is tuned later."""
        config = CausalConfig(
            device=self.config.device,
            batch_size=batch_size,
            chat_template=self.config.chat_template,
        )
        return CausalModel(self.model, self.tokenizer, config, name=self.name)


def open_tunable(config: TunableConfig) -> TunableModel:
    """Load a model to be tuned; about a second for the embedded one."""
    from custodes.models.embedded import SMOLLM2, prepare
    from custodes.models.transformers import load_pretrained

    if config.threads is not None:
        torch.set_num_threads(config.threads)
    origin, shown = config.model, config.model
    if config.model == "embedded":
        origin = str(prepare(SMOLLM2, cache_folder() / "models"))
        shown = "SmolLM2-135M-Instruct, 4-bit quantised weights (Q4_1)"
    model, tokenizer = load_pretrained(origin, CausalConfig(device=config.device))
    return TunableModel(model, tokenizer, config, name=shown)
