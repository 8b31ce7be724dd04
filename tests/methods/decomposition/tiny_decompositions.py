"""Settings of runs that take no time."""

from custodes.methods.decomposition import APDConfig, SPDConfig

__all__ = ["TINY", "apd", "spd"]

TINY = {
    "target": {"tms": {"features": 6, "hidden": 2, "steps": 20, "probability": 0.3}},
    "seeds": 2, "nulls": 1, "components": 7, "steps": 12, "batch": 32, "points": 4,
    "judged_rows": 32, "attack_steps": 2,
}  # fmt: skip


def spd(**changes):
    return SPDConfig.parse({**TINY, **changes})


def apd(**changes):
    return APDConfig.parse({**TINY, "rank": 2, **changes})
