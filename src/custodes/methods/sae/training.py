"""Train many autoencoders side by side, from one pass over one store.

Inputs are scaled so that their mean norm is sqrt(d), and the scale is folded back into the finished
weights. Encoders start as the decoders; directions are of unit norm after every step. The
order of rows is the store's, the same for every seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from custodes.errors import DataError
from custodes.methods.sae.coder import Coder
from custodes.methods.sae.config import CoderConfig, TrainConfig
from custodes.methods.sae.metrics import Quality, judge
from custodes.methods.sae.objective import objective
from custodes.methods.sae.progress import load_progress, progress_key, save_progress
from custodes.methods.sae.store import ActivationStore
from custodes.models.arithmetic import resolved
from custodes.models.devices import open_device

__all__ = ["Trained", "Trainer", "check_width", "only_hook", "run_trainers", "train",
           "trained_rows", "training_key", "untrained"]  # fmt: skip

_SCALE_ROWS = 8192
_THRESHOLD_MEMORY = 0.99  # of batchtopk's running threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """One finished autoencoder, with figures on the held-out rows."""

    config: CoderConfig
    coder: Coder
    quality: Quality
    losses: tuple[float, ...] = ()
    """Of each step: mean ||x - x^||^2 in units of the scaled inputs."""

    @property
    def name(self) -> str:
        """Unique in a run; also the name of its folder."""
        return coder_name(self.config)


def coder_name(config: CoderConfig) -> str:
    """kind-F-k-seed; what has no k has its sparsity weight there."""
    fixed = config.kind in ("topk", "batchtopk")
    middle = f"k{config.k}" if fixed else f"s{config.sparsity:g}"
    return f"{config.kind}-{config.latents}-{middle}-seed{config.seed}"


class Trainer:
    """One autoencoder in training. `mean` [d] and `scale` are of the raw inputs."""

    def __init__(
        self, config: CoderConfig, mean: Tensor, scale: float, *, dead_after: int = 500_000
    ) -> None:
        self.config = config
        self._scale = scale
        self._dead_after = dead_after
        draw = torch.Generator().manual_seed(config.seed)
        directions = torch.randn(config.latents, len(mean), generator=draw)
        decoder = normalize(directions, dim=1).to(mean.device)
        zeros = torch.zeros(config.latents, device=mean.device)
        part = {"encoder": decoder.clone(), "decoder": decoder, "decoder_bias": mean * scale}
        if config.kind == "gated":
            names = ("gate_bias", "magnitude_bias", "magnitude_log_scale")
            part |= {name: zeros.clone() for name in names}
        else:
            part["encoder_bias"] = zeros.clone()
        if config.kind == "jumprelu":
            part["log_threshold"] = zeros + torch.tensor(config.threshold).log()
        self.part = {name: tensor.requires_grad_() for name, tensor in part.items()}
        rate = config.learning_rate or 2e-4 / (config.latents / 2**14) ** 0.5
        self._rate = rate
        self._adam = torch.optim.Adam(list(self.part.values()), lr=rate, fused=True)
        self._rough = resolved(config.precision, mean.device) == "bfloat16"
        self._idle = torch.zeros(config.latents, dtype=torch.long, device=mean.device)
        self._threshold: float | None = None

    def step(self, x: Tensor, share: float = 1.0) -> float:
        """One step on scaled inputs [B, d] at `share` of the learning rate; the squared error."""
        self._adam.param_groups[0]["lr"] = self._rate * share
        self._adam.zero_grad(set_to_none=True)
        dead = self._idle >= self._dead_after
        found = objective(x, self.part, self.config, rough=self._rough, dead=dead)
        self._remember(found.least)
        found.loss.backward()  # type: ignore[no-untyped-call]
        decoder = self.part["decoder"]
        with torch.no_grad():
            if decoder.grad is not None:  # what would only lengthen a direction
                along = (decoder.grad * decoder).sum(1, keepdim=True)
                decoder.grad -= along * decoder
            self._adam.step()
            decoder /= decoder.norm(dim=1, keepdim=True).clamp(min=1e-12)
            self._idle += len(x)
            self._idle[found.alive] = 0
        return float(found.error)

    @torch.no_grad()
    def settle(self, x: Tensor) -> None:
        """Find batchtopk's threshold on scaled inputs without training; others need nothing."""
        if self.config.kind == "batchtopk":
            none = torch.zeros_like(self._idle, dtype=torch.bool)
            found = objective(x, self.part, self.config, rough=self._rough, dead=none)
            self._remember(found.least)

    def _remember(self, least: float | None) -> None:
        """Of batchtopk: the least active value, over time."""
        if least is not None:
            before = least if self._threshold is None else self._threshold
            self._threshold = _THRESHOLD_MEMORY * before + (1 - _THRESHOLD_MEMORY) * least

    def state(self) -> dict[str, Tensor]:
        """Everything that a step depends on and changes, by name."""
        found = {f"part.{name}": tensor.detach() for name, tensor in self.part.items()}
        for name, tensor in self.part.items():
            found |= {f"adam.{name}.{key}": one for key, one in self._adam.state[tensor].items()}
        least = float("nan") if self._threshold is None else self._threshold
        return {**found, "idle": self._idle, "threshold": torch.tensor(least, dtype=torch.float64)}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        for name, tensor in self.part.items():
            tensor.copy_(state[f"part.{name}"])
            head = f"adam.{name}."
            of_one = {key.removeprefix(head): one for key, one in state.items()
                      if key.startswith(head)}  # fmt: skip
            self._adam.state[tensor] = {
                key: one.to(tensor.device, copy=True) for key, one in of_one.items()
            }
        self._idle.copy_(state["idle"])
        least = float(state["threshold"])
        self._threshold = None if math.isnan(least) else least

    def finish(self) -> Coder:
        """The autoencoder for raw inputs: biases and thresholds divided by the scale. It is the
        processor's, wherever it was trained."""
        found = {name: tensor.detach().to("cpu", copy=True) for name, tensor in self.part.items()}
        if self.config.kind == "jumprelu":
            found["threshold"] = found.pop("log_threshold").exp()
        if self.config.kind == "batchtopk":
            found["threshold"] = torch.full_like(found["encoder_bias"], self._threshold or 0.0)
        for name in ("decoder_bias", "encoder_bias", "threshold", "gate_bias", "magnitude_bias"):
            if name in found:
                found[name] /= self._scale
        k = self.config.k if self.config.kind in ("topk", "batchtopk") else None
        return Coder(kind=self.config.kind, tensors=found, k=k)


def only_hook(store: ActivationStore, hook: str) -> str:
    """`hook`, or the store's only one; `DataError` where it has several."""
    if hook:
        store.width(hook)
        return hook
    if len(store.facts.widths) > 1:
        raise DataError(f"hook: the store has {', '.join(store.facts.widths)}; name one")
    return next(iter(store.facts.widths))


def check_width(store: ActivationStore, hook: str, coder: Coder, name: str) -> None:
    """`DataError` where the autoencoder `name` is of other activations than the hook's."""
    if coder.width != store.width(hook):
        raise DataError(
            f"{name}: takes activations of {coder.width} numbers, and {hook} in {store.folder} has "
            f"{store.width(hook)}; give the store and hook that it is of"
        )


def training_key(store: ActivationStore, config: TrainConfig) -> str:
    """Tells this training from any other (`progress_key`)."""
    return progress_key(store, only_hook(store, config.hook), config, trained_rows(store, config))


def _moments(
    store: ActivationStore, hook: str, rows: int, device: torch.device
) -> tuple[Tensor, float]:
    x = next(store.batches(hook, min(rows, _SCALE_ROWS), stop=rows))
    norm = float(x.norm(dim=1).mean())
    if not norm:
        raise DataError(f"{hook}: the first {len(x)} activations are all 0; nothing to learn")
    if not math.isfinite(norm):
        raise DataError(f"{hook}: among the first {len(x)} activations are NaN or infinite ones")
    return x.mean(0).to(device), x.shape[1] ** 0.5 / norm


def _share(step: int, steps: int, config: TrainConfig) -> float:
    """Of the learning rate: a linear rise, a plateau, a linear fall to 0."""
    rising = (step + 1) / (config.warm_up + 1) if config.warm_up else 1.0
    fall = max(config.decay * steps, 1e-9)
    return min(1.0, rising, (steps - step) / fall)


def trained_rows(store: ActivationStore, config: TrainConfig) -> int:
    """How many first rows of the store are trained on; `DataError` where it has too few."""
    most = store.split(config.held_out)
    rows = most if config.rows is None else config.rows
    if rows > most:
        raise DataError(
            f"rows: got {rows}, but {store.folder} has {most} besides those held out; "
            "collect more, or set rows and held_out"
        )
    if rows < config.batch:
        raise DataError(
            f"{store.folder}: {rows} rows to train on, {store.rows - most} of {store.rows} in "
            f"whole shards held out (held_out = {config.held_out}); expected at least one batch of "
            f"{config.batch}: collect more, or in smaller shards (shard_rows), or set batch and "
            "held_out"
        )
    return rows


def run_trainers(
    store: ActivationStore,
    config: TrainConfig,
    *,
    keep: Path | None = None,
    say: Callable[[str], object] | None = None,
) -> tuple[list[Trainer], list[list[float]]]:
    """All steps of every configured autoencoder, and their losses; `keep` as in `train`."""
    config, device = config.settled(), open_device(config.device)
    torch.set_num_threads(config.threads)
    hook, rows = only_hook(store, config.hook), trained_rows(store, config)
    mean, scale = _moments(store, hook, rows, device)
    trainers = [Trainer(one, mean, scale, dead_after=config.dead_after) for one in config.coders()]
    losses: list[list[float]] = [[] for _ in trainers]
    a_pass = rows // config.batch
    steps = a_pass * config.epochs
    key = training_key(store, config)
    done = load_progress(keep, key, trainers, losses) if keep is not None else 0
    for step in range(done, steps):
        if step % a_pass == 0 or step == done:
            start = step % a_pass * config.batch
            batches = store.batches(hook, config.batch, start=start, stop=rows)
        x = next(batches).to(device) * scale
        for trainer, curve in zip(trainers, losses, strict=True):
            curve.append(trainer.step(x, _share(step, steps, config)))
            if not math.isfinite(curve[-1]):
                raise DataError(
                    f"{coder_name(trainer.config)}: its error is {curve[-1]} at step {step + 1:,}: "
                    "training diverged, or the store holds activations that are not finite; take a "
                    "smaller coder.learning_rate, or look at the store"
                )
        if say is not None and (step + 1) % max(steps // 10, 1) == 0:
            say(f"step {step + 1:,} of {steps:,}")
        if keep is not None and config.checkpoint and (step + 1) % config.checkpoint == 0:
            save_progress(keep, key, trainers, losses)
    return trainers, losses


def train(
    store: ActivationStore,
    config: TrainConfig,
    *,
    keep: Path | None = None,
    say: Callable[[str], object] | None = None,
) -> Iterator[Trained]:
    """Every configured autoencoder; the rows held out (`store.split`) judge them and train none.

    An autoencoder's weights depend on its own settings alone, whatever is trained beside it.
    `keep`: a file for checkpoints, from which a killed run goes on to the same result; it is
    removed at the end. `ConfigError` where it holds one of other settings or another store.
    """
    hook, start = only_hook(store, config.hook), store.split(config.held_out)
    for trainer, curve in zip(*run_trainers(store, config, keep=keep, say=say), strict=True):
        coder = trainer.finish()
        held_out = store.batches(hook, config.batch, start=start)
        quality = judge(coder.to(config.device), held_out)
        yield Trained(config=trainer.config, coder=coder, quality=quality, losses=tuple(curve))
    if keep is not None:
        keep.unlink(missing_ok=True)


def untrained(store: ActivationStore, config: TrainConfig, coder: CoderConfig) -> Trained:
    """The null: the same autoencoder with the random directions it began with."""
    hook, rows = only_hook(store, config.hook), trained_rows(store, config)
    device = open_device(config.device)
    mean, scale = _moments(store, hook, rows, device)
    trainer = Trainer(coder, mean, scale)
    first = next(store.batches(hook, config.batch, stop=rows))
    trainer.settle(first.to(device) * scale)
    found = trainer.finish()
    start = store.split(config.held_out)
    quality = judge(found.to(device), store.batches(hook, config.batch, start=start))
    return Trained(config=coder, coder=found, quality=quality)
