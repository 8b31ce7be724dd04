"""What the sections share: the attacks with their budgets, and campaigns by conditions."""

from __future__ import annotations

import json
import time
from pathlib import Path

from custodes.engine import ENGINES
from custodes.redteam import CampaignConfig, conclude

# One look at the embedded model costs about a second of two cores, so that single-turn attacks get
# few draws; strategies of turns and searches get what they need to get anywhere.
BUDGETS = {
    "tiny": {"": 2, "crescendo": 4, "decomposition": 5, "foot_in_the_door": 3, "gcg": 11,
             "random_search": 9, "autodan": 9, "templates": 8, "best_of_n": 4, "pair": 2, "tap": 2},
    "full": {"": 2, "crescendo": 4, "decomposition": 5, "foot_in_the_door": 3, "gcg": 11,
             "random_search": 9, "autodan": 9, "templates": 8, "best_of_n": 4, "pair": 2, "tap": 2},
}  # fmt: skip
TINY_ATTACKS = ("direct", "base64", "role_play", "reconstruction", "obfuscation", "crescendo")
BY_MODEL = ("paraphrase_by_model", "translation")


def attacks(size: str) -> list[dict]:
    """Every attack of the issue's list, with its budget."""
    from custodes.redteam.attack import attack_names

    names = TINY_ATTACKS if size == "tiny" else attack_names()
    budgets = BUDGETS[size]
    return [
        {"kind": name, "budget": budgets.get(name, budgets[""])}
        for name in names
        if name not in BY_MODEL
    ]


def config(options, target: dict, **settings) -> CampaignConfig:
    """A campaign of the benchmark."""
    size = options.size
    return CampaignConfig.parse(
        {
            "target": target,
            "attacks": attacks(size),
            "attacker": {"kind": "embedded"},
            "budget": BUDGETS[size][""],
            "wave": 2,
            "seed": options.seed,
            "neighbors": 12 if size == "tiny" else 40,
            **settings,
        }
    )


def run(options, name: str, settings: CampaignConfig) -> dict:
    """Run or resume; the figures as plain values, with the wall-clock seconds of this call."""
    made = ENGINES.load("local")
    engine = made(made.Config(kind="serial", batch_size=1))
    began = time.monotonic()
    folder = options.work / options.size / name
    conclude(settings, folder, engine=engine, cache=options.work / "replies",
             progress=lambda stage, share: print(f"  {name}: {stage} {share:.0%}", flush=True))  # fmt: skip
    values = json.loads((Path(folder) / "report.json").read_text(encoding="utf-8"))
    figures = values["figures"]
    figures["wall"] = time.monotonic() - began
    return figures


def guarded(options, *modes: str, guard: str = "guard") -> dict:
    """The embedded model behind the proxy guard."""
    return {"kind": "guarded", "guard": str(options.guard / guard), "modes": list(modes)}
