"""One run: a target, decompositions of it side by side, figures, a report, a folder to read again.

    decompose("spd", preset_config("spd", "tms-5-2"), Path("runs/tms"))

A network of one's own comes as `target`, a `ModuleTarget` for instance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from custodes.config import Run, finite
from custodes.errors import ArtifactError, ConfigError
from custodes.methods.decomposition.apd import APD
from custodes.methods.decomposition.base import Decomposition
from custodes.methods.decomposition.config import APDConfig, RunConfig, SPDConfig
from custodes.methods.decomposition.judging import Judgment, judge
from custodes.methods.decomposition.report import run_report
from custodes.methods.decomposition.spd import SPD
from custodes.methods.decomposition.targets.base import Target, content_of_target, generators
from custodes.methods.decomposition.targets.making import make_target, with_nulls
from custodes.methods.decomposition.tensors import content_of, read_tensors, write_tensors
from custodes.methods.decomposition.training import Training, check_folder, read_curve, train
from custodes.models.devices import open_device

__all__ = ["Method", "Result", "build", "decompose", "instance_seeds", "load_decomposition"]

Method = Literal["apd", "spd"]

_FORMAT = 1
_TRAIN = 3  # purpose of generators


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A finished run. `seconds`: processor time of training, a step."""

    method: Method
    config: RunConfig
    decomposition: Decomposition
    judgment: Judgment
    curve: list[dict[str, Any]]
    seconds: float
    page: Path

    def values(self, name: str) -> list[float]:
        """A figure of the seeds, without the random networks."""
        return self.judgment.figures[name][: self.config.seeds]

    def nulls(self, name: str) -> list[float]:
        """A figure of the random networks."""
        return self.judgment.figures[name][self.config.seeds :]


def instance_seeds(config: RunConfig) -> list[int]:
    """The seed of every instance: the run's, and after them those of the random networks."""
    return list(range(config.first_seed, config.first_seed + config.seeds + config.nulls))


def build(
    method: Method, config: RunConfig, *, target: Target | None = None, cache: Path | None = None
) -> tuple[Decomposition, list[torch.Generator]]:
    """An untrained decomposition and its generators; `target` stands for the configured one."""
    torch.set_num_threads(config.threads)
    seeds = instance_seeds(config)
    own = seeds[: config.seeds]
    device = str(open_device(config.device))
    if target is None:
        target = make_target(config.target, own, config.nulls, device=device, cache=cache)
    else:
        target = with_nulls(
            target, config.seeds, config.nulls, seed=config.target.seed, device=device
        )
    _check_precision(target)
    draw = generators(seeds, device, purpose=_TRAIN)
    if isinstance(config, APDConfig) and method == "apd":
        return APD(target, config, draw), draw
    if isinstance(config, SPDConfig) and method == "spd":
        return SPD(target, config, draw), draw
    raise ConfigError(
        f"method: got {method!r} with {type(config).__name__}; expected apd with APDConfig or "
        "spd with SPDConfig"
    )


def _check_precision(target: Target) -> None:
    """`ConfigError` unless the matrices are of float32, as all that is computed here is."""
    for name, weight in target.weights.items():
        if weight.dtype != torch.float32:
            raise ConfigError(
                f"target: its matrix {name} is of {weight.dtype}, expected torch.float32; give the "
                "module as module.float()"
            )


def decompose(
    method: Method,
    config: RunConfig,
    out: Path,
    *,
    target: Target | None = None,
    cache: Path | None = None,
    say: Callable[[str], None] | None = None,
) -> Result:
    """Decompose into the run folder `out`; goes on where a killed run of these settings was.

    With a `target` of one's own the settings that are saved say `module`; they cannot say which.
    """
    if target is not None:
        of_own = config.target.model_copy(update={"kind": "module"})
        config = config.model_copy(update={"target": of_own})
    decomposition, draw = build(method, config, target=target, cache=cache)
    check_folder(out, config, decomposition)
    run = Run(out, config, seed=config.first_seed, keep_metrics=True)
    training = Training(decomposition, config, draw)
    train(training, run, say)
    for tensor in decomposition.parameters.values():
        tensor.requires_grad_(False)
    facts = {
        "format": _FORMAT,
        "method": method,
        "config": config.model_dump(mode="json"),
        "target": content_of_target(decomposition.target),
    }
    path = run.artifacts / "components.safetensors"
    write_tensors(path, decomposition.parameters, facts)
    judgment = judge(decomposition, config, instance_seeds(config))
    curve = read_curve(out)
    report = run_report(method, config, decomposition, judgment, curve)
    values = {**report.values(), "figures": finite(judgment.figures)}
    page = run.report(values, report.html())
    return Result(
        method=method,
        config=config,
        decomposition=decomposition,
        judgment=judgment,
        curve=curve,
        seconds=training.seconds / config.steps,
        page=page,
    )


def load_decomposition(
    out: Path, *, target: Target | None = None, cache: Path | None = None
) -> Decomposition:
    """A finished run's decomposition, on its device where this machine has it, else on the
    processor; give the `target` again where the run was given one.

    `ArtifactError` where the folder holds none of this format, or one of another target.
    """
    path = out / "artifacts" / "components.safetensors"
    tensors, facts = read_tensors(path, "cpu")
    method, values = facts.get("method"), facts.get("config")
    if facts.get("format") != _FORMAT or not isinstance(values, dict):
        raise ArtifactError(f"{path}: got format {facts.get('format')!r}, expected {_FORMAT}")
    if str(values.get("device")).startswith("cuda") and not torch.cuda.is_available():
        values = {**values, "device": "cpu"}
    if method == "apd":
        built, _ = build("apd", APDConfig.parse(values), target=target, cache=cache)
    else:
        built, _ = build("spd", SPDConfig.parse(values), target=target, cache=cache)
    # Files of version 0.1 do not say which target they are of; others said its matrices alone.
    of_matrices = content_of(built.target.weights)
    if facts.get("target", "") not in ("", of_matrices, content_of_target(built.target)):
        raise ArtifactError(
            f"{path}: its components are of another target than "
            f"{'the one given' if target is not None else 'the one that its settings make here'}; "
            "expected the very matrices that were decomposed: give them as `target`"
        )
    for name, tensor in built.parameters.items():
        tensor.data.copy_(tensors[name])
    return built
