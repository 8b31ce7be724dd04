"""What training on the active pairs alone saves, of the kinds that have no k."""

from __future__ import annotations

import argparse
import time
from statistics import median
from unittest.mock import patch

import torch
from kept import full

from custodes.methods.sae import CoderConfig
from custodes.methods.sae.training import Trainer

__all__ = ["active_pairs"]


def active_pairs(options: argparse.Namespace) -> list[dict]:
    """A step on all pairs over one on the active ones, at given active shares; medians."""
    latents, width, batch, times = (2304, 576, 2048, 5) if full(options) else (64, 16, 128, 3)
    rows = []
    for kind in ("relu", "gated"):
        for share in (0.01, 0.03, 0.1):
            seconds = {
                few: step_seconds(kind, latents, width, batch, share, few=few, times=times)
                for few in (0.0, 1.0)
            }
            rows.append({
                "figure": f"{kind}, {share:.0%} active: a step on all pairs over one on those",
                "value": seconds[0.0] / seconds[1.0],
                "seeds": [0],
            })  # fmt: skip
    return rows


def step_seconds(
    kind: str, latents: int, width: int, batch: int, share: float, *, few: float, times: int
) -> float:
    """Processor time of a step; latents of random rows are made active so often by their bias."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = CoderConfig.parse({"kind": kind, "latents": latents, "k": 1, "learning_rate": 1e-6})
    trainer = Trainer(config, torch.zeros(width), 1.0)
    bias = trainer.part["gate_bias" if kind == "gated" else "encoder_bias"]
    bias.data -= torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(1 - share))
    x = torch.randn(batch, width)
    spent = []
    with patch("custodes.methods.sae.objective._FEW", few):
        for _ in range(times):
            began = time.process_time()
            trainer.step(x)
            spent.append(time.process_time() - began)
    return median(spent)
