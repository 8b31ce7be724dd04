"""The papers' toy models, decomposed: what the table of the issue asks of each."""

from __future__ import annotations

from typing import Any

from custodes.measure import over_seeds
from custodes.methods.decomposition.method import Result, decompose
from custodes.methods.decomposition.presets import PRESETS, preset_config

# The paper's band (mean and deviation, APD's over the columns of one network), or nearer to 1.
TARGETS: dict[str, dict[str, str]] = {
    "apd-tms-5-2": {"MMCS": ">= 0.998", "ML2R": "0.889 .. 1.111 (paper .893 ± .004)"},
    "apd-tms-40-10": {
        "MMCS": ">= 0.993 (paper .996 ± .003)",
        "ML2R": "0.934 .. 1.066 (paper .935)",
    },
    "spd-tms-5-2": {"MMCS": ">= 0.9995", "ML2R": "0.991 .. 1.009 (paper .993 ± .002)"},
    "spd-tms-40-10": {"MMCS": ">= 0.9995", "ML2R": "0.983 .. 1.017 (paper 1.010 ± .007)"},
    "spd-tms-5-2-identity": {"MMCS": ">= 0.9995", "ML2R": "0.982 .. 1.018 (paper .992 ± .010)"},
    "spd-tms-40-10-identity": {"MMCS": ">= 0.9995", "ML2R": "0.968 .. 1.032 (paper 1.031 ± .001)"},
    "spd-residual-mlp-1": {"solved": ">= 3"},
    "spd-residual-mlp-2": {},
}

# --short: steps and rows of a step that fit an hour of one core in all.
SHORT: dict[str, tuple[int, int]] = {
    "apd-tms-5-2": (20_000, 2048),
    "apd-tms-40-10": (3000, 2048),
    "spd-tms-5-2": (20_000, 1024),
    "spd-tms-40-10": (3000, 256),
    "spd-tms-5-2-identity": (20_000, 1024),
    "spd-tms-40-10-identity": (3000, 256),
    "spd-residual-mlp-1": (5000, 512),
    "spd-residual-mlp-2": (500, 256),
}


def rows(section: str, options: Any) -> list[dict]:
    """Train what is missing, and the section's rows."""
    method, name = section.split("-", 1)
    paper = PRESETS[method, name]
    steps, batch = paper["steps"], paper["batch"]
    if options.short:
        steps, batch = SHORT[section]
    changes = [f"seeds={options.seeds}"]
    if options.size == "tiny":
        steps, batch = 20, 64
        changes += ["target.tms.steps=20", "target.residual.steps=5", "judged_rows=64"]
    changes += [f"steps={options.steps or steps}", f"batch={options.batch or batch}"]
    config = preset_config(method, name, None, changes)
    result = decompose(
        method, config, options.work / f"{section}-{config.steps}-{config.batch}",
        say=lambda line: print(f"  {line}", flush=True),
    )  # fmt: skip
    print(f"  {result.page}")
    seeds = tuple(range(config.first_seed, config.first_seed + config.seeds))
    found = [
        {"figure": "training steps", "value": config.steps, "target": f">= {paper['steps']}"},
        {"figure": "rows of a step", "value": config.batch, "target": f">= {paper['batch']}"},
        {
            "figure": "processor time, a step of a seed",
            "value": result.seconds / (config.seeds + config.nulls),
            "unit": "s",
        },
    ]
    found += _quality(result, TARGETS[section])
    return [{**row, "seeds": seeds} for row in found]


def declared(section: str) -> list[dict]:
    """The rows that the issue asks of a section that was not run: no value, and so not met."""
    return [
        {"figure": f"{figure} (not run)", "value": None, "target": target}
        for figure, target in (TARGETS[section] or {"wrong importances": ""}).items()
    ]


def _quality(result: Result, targets: dict[str, str]) -> list[dict]:
    """Means over seeds, and each figure's random network beside it."""
    found = []
    for figure in result.judgment.figures:
        found.append(
            {
                "figure": figure,
                "value": over_seeds(result.values(figure)),
                "target": targets.get(figure, ""),
            }
        )
        for value in result.nulls(figure)[:1]:
            found.append({"figure": f"{figure}, random network", "value": value})
    wrong = [name for name in result.judgment.figures if name.startswith("wrong")]
    solved = [sum(one) == 0 for one in zip(*map(result.values, wrong), strict=True)]
    for figure in ("MMCS", "ML2R", "MMCS, living", "ML2R, living"):
        if figure in result.judgment.figures and any(solved):
            values = [v for v, yes in zip(result.values(figure), solved, strict=True) if yes]
            found.append({"figure": f"{figure}, solved seeds alone", "value": over_seeds(values)})
    found.append(
        {
            "figure": "seeds with no wrong importance in any matrix",
            "value": sum(solved),
            "target": targets.get("solved", ""),
        }
    )
    for group in sorted({group for _, _, group in result.judgment.matchings}):
        shared = [m.shared for (_, _, of), m in result.judgment.matchings.items() if of == group]
        found.append(
            {
                "figure": f"components shared by two seeds, {group}",
                "value": sum(shared) / len(shared),
            }
        )
    return found
