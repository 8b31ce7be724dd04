"""Put the freshly made guard in its place, its card completed with calibration and figures.

    python runs/shipped_card.py out/shipped/guard      # `default`: the shipped one again

Figures come from benchmarks/guard/results.json: run the parts `quality` and `transforms`, then this
again.
"""

import re
import sys
from pathlib import Path
from typing import Any

from custodes.guard import find_guard, load_guard, save_guard
from custodes.measure import read_results

ROOT = Path(__file__).parents[1]
PLACE = ROOT / "src" / "custodes" / "guard" / "shipped" / "default"
RESULTS = ROOT / "benchmarks" / "guard" / "results.json"
LABEL = "shipped guard: "
LIMITS = """
## What it is for, and its limits

A place to start: it shows the whole loop on a laptop, and screens plain requests. It is no match
for what guards a frontier model.

- It reads through SmolLM2-135M-Instruct with 4-bit weights (Q4_1), layers 12, 16 and 20 of 30,
  computed in 8 bits; a tuned MiniLM looks for attacks, and may stop a prompt by itself.
- It misses most of what is subtle, contextual or long; it was trained on simple sentences and on
  public request sets, most of them in English.
- Its thresholds hold for prompts like those of the benign pool. Set them again on your own traffic.
- Replies: trained on grammar-written ones, some of the embedded model itself, and on GPTFuzz
  exchanges; measured on few.
- Seventeen languages other than English were seen, in breadth only: harmless text in them passes
  (measured), what is harmful in them was hardly measured.
"""


def _stages(guard: Any) -> str:
    """Its stages, and what each judges; a fresh card knows those alone that were trained last."""
    found = []
    for stage in guard.cascade.stages:
        judged = ", ".join(mode.value for mode in stage.scorer.serves)
        found.append(f"{stage.scorer.name} ({judged}{'; may stop alone' * bool(stage.alone)})")
    return f"Stages: {', '.join(found)}."


def main() -> None:
    """Write the shipped guard's folder."""
    source = find_guard(sys.argv[1])
    guard = load_guard(source)
    made = (source / "card.md").read_text(encoding="utf-8")
    for end in ("\n## Limits", "\n## Thresholds"):  # of a fresh card, and of one completed before
        made = made.partition(end)[0]
    made = re.sub(r"(?m)^Stages: .*$", lambda _: _stages(guard), made)
    thresholds = "\n".join(
        f"| {mode} | {value:.4f} |" for mode, value in sorted(guard.policy.thresholds.items())
    )
    figures = "\n".join(
        f"| {row.figure.removeprefix(LABEL)} | {row.value:.3g} [{row.low:.3g}, {row.high:.3g}]"
        f"{row.unit and ' ' + row.unit} |"
        for row in read_results(RESULTS)
        if row.figure.startswith(LABEL) and row.value is not None and row.low is not None
    )
    card = (
        f"{made.rstrip()}\n\n## Thresholds\n\n"
        "For 0.5 % false refusals: of prompts on the other half of "
        "arena_1k_prompts and on self_instruct, which no stage was trained on; of harmless replies "
        "(exchange: with their question; output: alone) on self_instruct and on what training kept "
        f"out (runs/replies_pool.py).\n\n| mode | probability |\n|---|---|\n{thresholds}\n\n"
        "## Figures on sets that were only measured on\n\n"
        "Rates are at 0.5 % false refusals on the same prompts.\n\n"
        "| figure | value, 95 % interval |\n|---|---|\n"
        f"{figures}\n\nHow to read them, and how the settings were chosen: "
        f"benchmarks/guard/README.md.\n{LIMITS}"
    )
    stages = {stage.scorer.name for stage in guard.cascade.stages}
    save_guard(PLACE, guard, scorers={n: source / "stages" / n for n in stages}, card=card)
    print(f"{PLACE.relative_to(ROOT)}: {load_guard(PLACE).artifact}")


if __name__ == "__main__":
    main()
