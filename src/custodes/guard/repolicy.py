"""Another policy for a guard that is there: what a verdict means, without training anything."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from custodes.errors import ConfigError
from custodes.guard.folder import Manifest, constitution_of, find_guard, load_guard, save_guard
from custodes.guard.guard import Guard
from custodes.guard.policy import Policy
from custodes.types import Mode

__all__ = ["change_policy", "changed"]


def change_policy(source: str | Path, changes: Mapping[str, Any], *, folder: Path) -> Manifest:
    """Write the guard `source` to `folder` (which may be the same place) with some of its policy's
    settings replaced; of `thresholds`, modes that are not named keep theirs.

    `ConfigError` for a wrong setting, where `rules` names one that no stage can name, and for a
    `threshold` that no mode would take.
    """
    found = find_guard(source)
    guard = changed(load_guard(found), changes)
    judged = {mode for mode in Mode if any(stage.judges(mode) for stage in guard.cascade.stages)}
    if "threshold" in changes and judged <= set(guard.policy.thresholds):
        own = ", ".join(f"{mode}: {at:.4g}" for mode, at in guard.policy.thresholds.items())
        raise ConfigError(
            f"threshold: got {changes['threshold']}, which would change nothing: it is for modes "
            f"without one of their own, and this guard has thresholds {{{own}}}; name the modes "
            "under `thresholds`"
        )
    names = [stage.scorer.name for stage in guard.cascade.stages]
    return save_guard(
        folder,
        guard,
        scorers={name: found / "stages" / name for name in names},
        card=(found / "card.md").read_text(encoding="utf-8"),
        constitution=constitution_of(found),
    )


def changed(guard: Guard, changes: Mapping[str, Any], *, beside_rows: bool = False) -> Guard:
    """The guard with these settings of its policy replaced; see `change_policy`.

    `beside_rows`: rows are to set its thresholds, so that `ConfigError` where changes name some.
    """
    if beside_rows and (given := sorted({"threshold", "thresholds"} & set(changes))):
        raise ConfigError(
            f"policy: got {' and '.join(given)} and rows, which set the thresholds; leave out one "
            "of them, or change the policy afterwards, without rows"
        )
    old = guard.policy.model_dump()
    thresholds = {**old["thresholds"], **changes.get("thresholds", {})}
    policy = Policy.parse({**old, **changes, "thresholds": thresholds}, origin="policy")
    return guard.replace(policy=policy)
