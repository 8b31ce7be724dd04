"""The training loop of both methods: Adam, a schedule, checkpoints; it goes on where it was.

A checkpoint holds parameters, the optimizer's moments and every generator's state, so that a run
that was killed ends as one that was not, to the last bit. Knows losses by their names only.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from custodes.config import Run, named_files, write_atomically
from custodes.engine import identify
from custodes.errors import ArtifactError, ConfigError
from custodes.methods.decomposition.base import Decomposition
from custodes.methods.decomposition.config import RunConfig
from custodes.methods.decomposition.schedule import rate_at
from custodes.methods.decomposition.targets.base import content_of_target
from custodes.methods.decomposition.tensors import read_tensors, write_tensors

__all__ = ["TRAINING", "Training", "check_folder", "read_curve", "train"]

_CHECKPOINT = "checkpoint.safetensors"
TRAINING = 3
"""Goes up when the same settings come to give other results."""
_AFTER = {"points", "checkpoint_seconds", "judged_rows", "attack_steps", "attack_rate"}
"""Settings that leave training as it is."""


class Training:
    """A decomposition, its optimizer and its generators, at some step."""

    def __init__(
        self, decomposition: Decomposition, config: RunConfig, draw: Sequence[torch.Generator]
    ) -> None:
        self.decomposition, self.config, self.draw = decomposition, config, draw
        self.step_number = 0
        self.seconds = 0.0
        for tensor in decomposition.parameters.values():
            tensor.requires_grad_(True)
        self.optimizer = torch.optim.Adam(
            list(decomposition.parameters.values()), lr=config.rate, fused=True
        )

    def step(self) -> dict[str, Tensor]:
        """One step; returns the losses before it, [I] each."""
        config, target = self.config, self.decomposition.target
        if self.step_number == 0:
            self.decomposition.prepare()
        rate = config.rate * rate_at(
            self.step_number, config.steps, config.schedule, warmup=config.warmup
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        batch = target.sample(self.draw, config.batch)
        losses = self.decomposition.losses(batch, self.step_number / config.steps)
        losses["total"].sum().backward()  # type: ignore[no-untyped-call]
        self.decomposition.before_step()
        if config.clip is not None:
            _clip(self.decomposition.parameters.values(), config.clip)
        self.optimizer.step()
        self.decomposition.after_step()
        self.step_number += 1
        return {name: value.detach() for name, value in losses.items()}

    def save(self, path: Path, identity: str) -> None:
        """Write the whole state."""
        tensors = {f"parameter {n}": t for n, t in self.decomposition.parameters.items()}
        for name, tensor in self.decomposition.parameters.items():
            for part, value in self.optimizer.state[tensor].items():
                tensors[f"optimizer {part} {name}"] = value
        for index, generator in enumerate(self.draw):
            tensors[f"generator {index}"] = generator.get_state()
        facts = {"identity": identity, "step": self.step_number, "seconds": self.seconds}
        write_tensors(path, tensors, facts)

    def load(self, path: Path, identity: str) -> None:
        """Take up a saved state; `ConfigError` where it is that of other settings."""
        tensors, facts = read_tensors(path, self.config.device)
        _check(path, facts, identity)
        for name, tensor in self.decomposition.parameters.items():
            tensor.data.copy_(tensors[f"parameter {name}"])
            self.optimizer.state[tensor] = {
                key.split()[1]: value
                for key, value in tensors.items()
                if key.startswith("optimizer ") and key.split(maxsplit=2)[2] == name
            }
        for index, generator in enumerate(self.draw):
            generator.set_state(tensors[f"generator {index}"].cpu())
        self.step_number = int(str(facts["step"]))
        self.seconds = float(str(facts["seconds"]))


def train(training: Training, run: Run, say: Callable[[str], None] | None = None) -> None:
    """Train to the last step, with a line of `metrics.jsonl` at every point of the curve.

    Every line holds `step`, `rate` and the losses, a list over instances each.
    """
    config = training.config
    path, identity = run.artifacts / _CHECKPOINT, _identity(config, training.decomposition)
    if path.exists():
        training.load(path, identity)
    _keep_lines(run.folder / "metrics.jsonl", training.step_number)
    every = max(1, config.steps // config.points)
    saved = time.monotonic()
    while training.step_number < config.steps:
        step, began = training.step_number, time.process_time()
        losses = training.step()
        training.seconds += time.process_time() - began
        last = training.step_number == config.steps
        if step % every == 0 or last:
            values = {name: _rounded(value) for name, value in losses.items()}
            run.log(step=step, seconds=round(training.seconds, 2), **values)
            if say is not None:
                say(f"step {step + 1} of {config.steps}: {_brief(values)}")
        if last or time.monotonic() - saved > config.checkpoint_seconds:
            training.save(path, identity)
            saved = time.monotonic()


def check_folder(folder: Path, config: RunConfig, decomposition: Decomposition) -> None:
    """`ConfigError` where the folder holds a run with other settings or of another target."""
    path = folder / "artifacts" / _CHECKPOINT
    if path.exists():
        facts = read_tensors(path, "cpu")[1]
        _check(path, facts, _identity(config, decomposition))
        done = int(str(facts["step"]))
        if done > config.steps:
            raise ConfigError(
                f"{folder}: holds a run that is at step {done:,}; got steps={config.steps:,}, "
                "expected at least as many, or another folder"
            )


def _check(path: Path, facts: Mapping[str, object], identity: str) -> None:
    if facts.get("identity") != identity:
        raise ConfigError(
            f"{path.parent.parent}: holds a run with other settings or of another target; choose "
            "another folder, or delete this one"
        )


def _identity(config: RunConfig, decomposition: Decomposition) -> str:
    """Equal for equal settings and equal targets."""
    target = content_of_target(decomposition.target)
    left_out = _AFTER if config.timed() else _AFTER | {"steps"}
    settings = config.model_dump(mode="json", exclude=left_out)
    held: dict[str, object] = {"config": settings, "target": target, "version": TRAINING}
    embedded = config.target.embedded
    if config.target.kind == "embedded" and embedded.text is not None:
        held["text"] = named_files(str(embedded.text))  # no number of the network is of the text
    return identify(held)


def read_curve(folder: Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl` in order; what is null there, as JSON knows no NaN, is NaN.

    `ArtifactError` where there are none.
    """
    path = folder / "metrics.jsonl"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = [json.loads(line) for line in text.splitlines()]
    if not lines:
        raise ArtifactError(
            f"{path}: holds no losses, expected a line for every point of the training; delete "
            f"{folder} or choose another folder, and train anew"
        )
    return [{name: _numbers(value) for name, value in line.items()} for line in lines]


def _numbers(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return [math.nan if one is None else one for one in value]


def _keep_lines(path: Path, steps: int) -> None:
    """Drop what was logged after the checkpoint: those steps are done again."""
    if path.exists():
        lines = []
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                line = json.loads(text)
            except ValueError:  # the run was killed while it wrote the last one
                break
            if line["step"] < steps:
                lines.append(line)
        write_atomically(path, "".join(json.dumps(line) + "\n" for line in lines))


def _clip(parameters: Any, most: float) -> None:
    """Scale each instance's gradient down to the norm `most`, over all of its parameters."""
    grads = [p.grad for p in parameters if p.grad is not None]
    squares = torch.stack([g.square().flatten(1).sum(dim=1) for g in grads]).sum(dim=0)
    factor = (most / (squares.sqrt() + 1e-6)).clamp(max=1.0)
    for grad in grads:
        grad.mul_(factor.reshape(-1, *[1] * (grad.dim() - 1)))


def _rounded(values: Tensor) -> list[float]:
    return [float(f"{value:.6g}") for value in values.tolist()]


def _brief(values: dict[str, list[float]]) -> str:
    return ", ".join(f"{name} {sum(v) / len(v):.3g}" for name, v in values.items())
