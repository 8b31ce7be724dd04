"""A step, ours against the formulas as they stand: its losses and its processor time.

The authors' code cannot be installed here (Python 3.13, CUDA wheels); what it took on this kind of
machine was measured once, with its dependencies stubbed: 0.2315 s (APD) and 0.86 to 1.10 s (SPD).
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import plain
import torch

from custodes.methods.decomposition.config import APDConfig
from custodes.methods.decomposition.method import build
from custodes.methods.decomposition.metrics.importance import identity_order
from custodes.methods.decomposition.presets import preset_config
from custodes.methods.decomposition.targets.base import generators
from custodes.methods.decomposition.targets.tms import sparse
from custodes.methods.decomposition.training import Training

REFERENCE = {"apd": 0.2315, "spd": 0.86}  # the lower end of what was measured


def steps(options: Any) -> list[dict]:
    """Both methods at TMS 40-10 with one seed, on one thread."""
    torch.set_num_threads(1)
    rows = []
    for method, target, repeats in (("apd", ">= 8 x", 12), ("spd", ">= 3 x", 5)):
        times = 1 if options.size == "tiny" else repeats
        built = _built(method, options)
        ours = _seconds(built["ours"], times)
        theirs = _seconds(built["plain"], times)
        rows += [
            {"figure": f"{method} step, ours", "value": ours, "unit": "s"},
            {"figure": f"{method} step, plain formulas", "value": theirs, "unit": "s"},
            {
                "figure": f"{method} step, against plain formulas in this run",
                "value": theirs / ours,
                "unit": "x",
            },
            {
                "figure": f"{method} step, against the reference as measured earlier",
                "value": REFERENCE[method] / ours,
                "unit": "x",
                "target": target,
            },
        ]
    return rows


def losses(options: Any) -> list[dict]:
    """How far ours are from the plain formulas' on the same weights, rows and random numbers."""
    torch.set_num_threads(1)
    return [
        {
            "figure": f"{method}, greatest relative difference from plain formulas",
            "value": _difference(method, options),
            "target": "<= 1e-6",
        }
        for method in ("apd", "spd")
    ]


def permutation(options: Any) -> list[dict]:
    """The best order of the components for 1,000 features."""
    draw = np.random.default_rng(0)
    noisy = np.clip(np.eye(1000)[:, draw.permutation(1000)] + draw.random((1000, 1000)), 0, 1)
    trained = 0.02 * draw.random((1000, 1000)) + np.eye(1000)[:, draw.permutation(1000)]
    rows = []
    for name, matrix in (("noise", noisy), ("a solved decomposition", trained)):
        seconds = _seconds(lambda matrix=matrix: identity_order(matrix), 3)
        rows.append(
            {
                "figure": f"order of 1,000 components, {name}",
                "value": seconds,
                "unit": "s",
                "target": "< 1 s (reference: 26 s in pure Python)",
            }
        )
    return rows


def _seconds(run: Any, repeats: int) -> float:
    """Median of repeats after one that warms up."""
    run()
    spent = []
    for _ in range(repeats):
        began = time.process_time()
        run()
        spent.append(time.process_time() - began)
    return float(np.median(spent))


def _beginning(method: str, options: Any) -> tuple[Any, Training]:
    """The settings of TMS 40-10 with one seed, and its untrained decomposition."""
    batch = 64 if options.size == "tiny" else (2048 if method == "apd" else 4096)
    config = preset_config(method, "tms-40-10", None, ["seeds=1", "nulls=0", f"batch={batch}"])
    decomposition, draw = build(method, config)
    return config, Training(decomposition, config, draw)


def _plain(decomposition: Any) -> dict[str, Any]:
    """The seed's parameters, apart from ours."""
    return {
        name: tensor.detach().clone()[0].requires_grad_(True)
        for name, tensor in decomposition.parameters.items()
    }


def _difference(method: str, options: Any) -> float:
    """The greatest over all losses."""
    config, training = _beginning(method, options)
    decomposition, target = training.decomposition, training.decomposition.target
    if method == "apd":  # as large as the matrix: near zero, it is all one which are active
        with torch.no_grad():
            size = target.weights["embed"].norm() / decomposition.sums()["embed"].norm()
            for tensor in decomposition.parameters.values():
                tensor.mul_(size.sqrt())
    decomposition.draw = generators([7], "cpu", purpose=9)
    sample = target.sample(generators([7], "cpu", purpose=8), config.batch)
    ours = decomposition.losses(sample, 0.0)
    kept = sample.weight[0][sample.weight[0] > 0].long()
    x = sample.inputs[0][: len(kept)].repeat_interleave(kept, dim=0)
    noise = generators([7], "cpu", purpose=9)[0]
    drawn = [
        torch.rand(len(kept), config.components, generator=noise).repeat_interleave(kept, dim=0)
        for _ in range(4)
    ]
    theirs = _formulas(config)(
        x, target.weights["embed"][0], target.bias[0], _plain(decomposition), drawn
    )
    return max(abs(ours[name][0].item() / value.item() - 1) for name, value in theirs.items())


def _built(method: str, options: Any) -> dict[str, Any]:
    """One step of ours and of the plain formulas."""
    config, training = _beginning(method, options)
    target, batch = training.decomposition.target, config.batch
    embed, bias = target.weights["embed"][0], target.bias[0]
    parameters = _plain(training.decomposition)
    losses = _formulas(config)
    optimizer = torch.optim.AdamW(list(parameters.values()), lr=config.rate, weight_decay=0.0)

    def step() -> None:
        optimizer.zero_grad()
        fresh = sparse(generators([7], "cpu", purpose=8), (batch, 40), 0.05, low=0.0)[0]
        masks = [torch.rand(batch, config.components) for _ in range(4)] if method == "spd" else []
        losses(fresh, embed, bias, parameters, masks)["total"].backward()
        optimizer.step()

    return {"ours": training.step, "plain": step}


def _formulas(config: Any) -> Any:
    """The losses as the paper of the settings' method writes them."""
    return _apd(config) if isinstance(config, APDConfig) else _spd(config)


def _apd(config: Any) -> Any:
    weights = {n: getattr(config, n) for n in ("faithfulness", "minimality", "simplicity")}

    def losses(x: Any, embed: Any, bias: Any, parameters: Any, _: Any) -> Any:
        return plain.apd_losses(
            x, embed, bias, parameters["embed.A"], parameters["embed.B"],
            top_k=config.top_k, p=config.p, weights=weights,
        )  # fmt: skip

    return losses


def _spd(config: Any) -> Any:
    names = ("faithfulness", "importance", "stochastic", "layerwise")
    weights = {name: getattr(config, name) for name in names}
    parts = ("gate_in", "gate_bias", "gate_out", "gate_offset")

    def losses(x: Any, embed: Any, bias: Any, parameters: Any, masks: Any) -> Any:
        gates = [[parameters[f"{n}.{part}"] for part in parts] for n in ("embed", "unembed")]
        return plain.spd_losses(
            x, embed, bias, parameters["embed.V"], parameters["embed.U"], gates,
            (masks[:2], masks[2:]), p=config.p, weights=weights,
        )  # fmt: skip

    return losses
