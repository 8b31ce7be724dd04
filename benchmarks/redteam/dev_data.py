"""The shipped guard on the attacks of the dev data: recall at its own thresholds."""

from __future__ import annotations

from random import Random

from custodes.data import conversation, load
from custodes.guard import load_guard
from custodes.guard.outcome import outcomes
from custodes.measure import Interval, wilson
from custodes.redteam.attacks.templates import fill
from custodes.redteam.probes import user
from custodes.types import Mode

BATCH = 16


def figures(options) -> list[dict]:
    guard = load_guard("default")
    most = 12 if options.size == "tiny" else None
    rng = Random(options.seed)
    requests = [row.text for row in load("pyrit_requests") if row.text and row.label == 1]
    templates = [row.text for row in load("pyrit_templates") if row.text]
    sets = {
        "adaptive_attack_prompts": [conversation(r) for r in load("adaptive_attack_prompts")],
        "cyberseceval_prompt_injection": [
            conversation(r) for r in load("cyberseceval_prompt_injection")
        ],
        "pyrit_templates, each with a request of pyrit_requests": [
            user(fill(template, rng.choice(requests))) for template in templates
        ],
    }
    rows = [
        _row(options, guard, f"recall on {name}", found[:most], Mode.INPUT)
        for name, found in sets.items()
    ]
    exchanges = [conversation(r) for r in load("adaptive_attack_exchanges") if r.label == 1]
    name = "answer-side stop on adaptive_attack_exchanges"
    rows.append(_row(options, guard, name, exchanges[:most], Mode.EXCHANGE))
    alone = "the same, the reply alone"
    return [*rows, _row(options, guard, f"{name}, {alone}", exchanges[:most], Mode.OUTPUT)]


def _row(options, guard, name: str, conversations, mode: Mode) -> dict:
    stopped = 0
    for start in range(0, len(conversations), BATCH):
        found = outcomes(guard, conversations[start : start + BATCH], mode)
        stopped += sum(each.stop_at is not None for each in found)
        print(f"  {name}: {start + len(found)} of {len(conversations)}", flush=True)
    rate = wilson(stopped, len(conversations))
    return {
        "figure": f"{name} ({len(conversations)} rows)",
        "value": Interval(100 * rate.value, 100 * rate.low, 100 * rate.high),
        "unit": "%",
        "seeds": [options.seed],
    }
