"""The study runner on SIMULATED raters: it finds what was put in. Says nothing about people."""

from __future__ import annotations

import argparse

from custodes.review.reliance import reliance, switches
from custodes.review.study.analysis import contrast, mixed_logit, power
from custodes.review.study.protocol import Contrast
from custodes.review.study.simulated import SimulatedConfig, simulate


def figures(options: argparse.Namespace) -> list[dict]:
    sizes = {"tiny": (12, 40, 10), "full": (40, 300, 100)}
    raters, items, studies = sizes[options.size]
    config = SimulatedConfig(raters=raters, items=items, raters_an_item=6, blind=True,
                             seed=options.seed)  # fmt: skip
    trials = simulate(config)
    relied = {each.arm: each for each in reliance(trials, seed=options.seed)}
    switched = {each.arm: each for each in switches(trials, seed=options.seed)}
    wrong = Contrast(arm="judgment", where="ai_wrong", expects="lower")
    found = contrast(trials, wrong, level=0.95, seed=options.seed)
    fit = mixed_logit(trials)
    names = "SIMULATED raters"

    def row(name: str, value, target: str = "") -> dict:
        return {"figure": f"{names}: {name}", "value": value, "target": target,
                "seeds": [options.seed]}  # fmt: skip

    rows = [
        row("accuracy, judgment against none where the AI is wrong (put in: lower)",
            found.difference, "< 0"),
        row("accuracy, judgment against none where the AI is right (put in: higher)",
            relied["judgment"].when_right, "> 0"),
        row("accuracy, evidence against none where the AI is wrong (put in: no pull)",
            relied["evidence"].when_wrong),
        row("mixed logit, judgment x AI wrong (put in: below 0)",
            fit.terms["judgment_ai_wrong"], "< 0"),
        row("RAIR, judgment", switched["judgment"].rair),
        row("RSR, judgment", switched["judgment"].rsr),
    ]  # fmt: skip
    small = config.model_copy(update={"raters": 10, "items": 60, "raters_an_item": 4})
    rows.append(row(f"power to see over-reliance, 10 raters, 60 items, {studies} studies",
                    power(wrong, small, studies=studies)))  # fmt: skip
    none = small.model_copy(update={"anchoring": {}, "insight": {}})
    rows.append(row(f"the same where nothing was put in (level 0.05), {studies} studies",
                    power(wrong, none, studies=studies)))  # fmt: skip
    return rows
