"""Fine-tune a language model or an encoder for one stage: low-rank adapters and a linear head.

Constitutional Classifiers (arXiv 2501.18837), section 5: a language model with a linear head on
every token, next-token prediction as a regularizer (Eq. 1). The model's own weights stay as they
are; what is learned are pairs of thin matrices (LoRA, Hu et al., arXiv 2106.09685), a few megabytes
that are added to them when a stage is loaded. Needs the extra `train` (peft).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from custodes.classifiers.fitting import Fit, Targets, batches, export_head, rate_at
from custodes.classifiers.heads import Head
from custodes.errors import ConfigError, MissingExtraError
from custodes.models.arithmetic import resolved

if TYPE_CHECKING:
    from torch import Tensor

    from custodes.classifiers.features.base import Judged
    from custodes.classifiers.stage import AdapterConfig, StageConfig
    from custodes.models.trunk import Reading, Trunk

__all__ = ["AdapterFit", "Tuned"]

_SAMPLE = 256
"""Texts whose activations give the scale that the head begins with."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """What was learned: `adapter` as `CausalModel.adapt` takes it, and a head on its features."""

    adapter: Mapping[str, NDArray[np.float32]]
    head: Head


class AdapterFit(Fit):
    """AdamW on adapters and head together; deterministic for a seed and a number of threads."""

    def __init__(self, config: StageConfig, **common: Any) -> None:
        if config.adapter is None:
            raise ConfigError(f"stage {config.name}: got no adapter settings, expected some")
        super().__init__(config, **common)
        self.adapter: AdapterConfig = config.adapter

    def run(
        self,
        rows: Sequence[Judged],
        targets: Targets,
        features: Any,
        progress: Callable[[float], None],
    ) -> Tuned:
        """Fit on `rows`; texts without a token are left out. `features` stay as they are."""
        import torch

        if not hasattr(features, "trunk"):
            raise ConfigError(
                f"stage {self.config.name}: got an adapter for {self.config.features} features, "
                "which have no model to tune; expected activations or encoder"
            )
        torch.manual_seed(self.seed)
        torch.set_num_threads(self.config.threads)
        texts = [features.training_ids(row) for row in rows]
        usable = np.array([i for i, (_, ids) in enumerate(texts) if ids])
        trunk = features.trunk().to(self.config.device)
        mean, scale = self._standard(trunk, [texts[i] for i in usable])
        self._adapt(trunk)
        head = torch.nn.Linear(trunk.width, self.outputs).to(self.config.device)
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
        low_rank = [p for p in trunk.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            [
                {"params": low_rank, "lr": self.adapter.learning_rate, "weight_decay": 0.0},
                {"params": head.parameters(), "lr": self.config.learning_rate},
            ],
            weight_decay=self.config.weight_decay,
        )
        peaks = [group["lr"] for group in optimizer.param_groups]
        rounded = resolved(self.adapter.precision, self.config.device) == "bfloat16"
        rng = np.random.default_rng(self.seed)
        lengths = np.array([len(prefix) + len(ids) for prefix, ids in texts])
        steps = [
            rows
            for _ in range(self.config.epochs)
            for rows in batches(lengths, targets.windows, usable, self.config.batch_rows, rng)
        ]
        for number, batch in enumerate(steps):
            share = number / len(steps)
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * rate_at(number, len(steps))
            given = _padded([texts[i] for i in batch], self.config.device)
            with torch.autocast(self.config.device.split(":")[0], torch.bfloat16, enabled=rounded):
                read = trunk(*given)
            logits = head((read.states.float() - mean) / scale)
            loss = self.loss(logits, read.judged, targets.of(batch), share)
            if self.adapter.next_token and read.final is not None:
                told = self._next_token(trunk, read, given[0], rng)
                loss = loss + self.adapter.next_token * told
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch annotates it so
            torch.nn.utils.clip_grad_norm_(low_rank, 1.0)
            optimizer.step()
            if number % 10 == 0 or number + 1 == len(steps):
                progress((number + 1) / len(steps))
        first = {"first": head.weight.T, "first_bias": head.bias}
        standard = mean.cpu().numpy(), scale.cpu().numpy()
        return Tuned(_low_rank(trunk.body), export_head(first, *standard, self.sides))

    def _standard(self, trunk: Any, texts: Sequence[tuple[list[int], list[int]]]) -> Any:
        """Mean and standard deviation [d] of the untuned activations, from a sample of texts."""
        import torch

        rng = np.random.default_rng(self.seed)
        chosen = rng.choice(len(texts), min(len(texts), _SAMPLE), replace=False)
        parts = []
        with torch.no_grad():
            for i in chosen:
                read = trunk(*_padded([texts[i]], self.config.device))
                parts.append(read.states[read.judged])
        values = torch.cat(parts)
        return values.mean(dim=0), values.std(dim=0) + 1e-4

    def _adapt(self, trunk: Any) -> None:
        try:
            from peft import LoraConfig, inject_adapter_in_model
        except ModuleNotFoundError as error:
            raise MissingExtraError("peft", "train") from error
        settings = LoraConfig(
            r=self.adapter.rank,
            lora_alpha=self.adapter.rank,
            lora_dropout=self.adapter.dropout,
            target_modules=list(trunk.matrices),
        )
        trunk.requires_grad_(False)
        inject_adapter_in_model(settings, trunk.body).train()

    def _next_token(
        self, trunk: Trunk, read: Reading, ids: Tensor, rng: np.random.Generator
    ) -> Tensor:
        """Cross-entropy of the next token at a sample of positions: the whole vocabulary at every
        position would cost more than the blocks themselves."""
        import torch

        if read.final is None:
            raise AssertionError("this model tells no next token")
        places = torch.nonzero(read.judged[:, :-1] & read.judged[:, 1:])
        few = rng.choice(len(places), min(len(places), self.adapter.places), replace=False)
        row, at = places[torch.from_numpy(few)].T
        scores = read.final[row, at].float() @ trunk.embeddings.T
        return torch.nn.functional.cross_entropy(scores, ids[row, at + 1])


def _padded(
    texts: Sequence[tuple[list[int], list[int]]], device: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids [B, T] with zeros behind each text, where there is a token, which are judged."""
    from custodes.models.padding import right_padded

    ids, present = right_padded([prefix + own for prefix, own in texts], device)
    judged = present.bool()
    for place, (prefix, _) in enumerate(texts):
        judged[place, : len(prefix)] = False
    return ids, present, judged


def _low_rank(body: Any) -> dict[str, NDArray[np.float32]]:
    """The learned pairs: matrix -> `.down` [r, in], `.up` [out, r], their scale folded in."""
    found = {}
    for name, module in body.named_modules():
        if hasattr(module, "lora_A") and "default" in module.lora_A:
            scale = float(module.scaling["default"])
            found[f"{name}.down"] = module.lora_A["default"].weight.detach().cpu().numpy()
            found[f"{name}.up"] = scale * module.lora_B["default"].weight.detach().cpu().numpy()
    if not found:
        raise ConfigError("the model has none of the matrices that an adapter changes")
    return found
