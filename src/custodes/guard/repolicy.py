"""Another policy for a guard that is there: what a verdict means, without training anything."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from custodes.guard.folder import Manifest, find_guard, load_guard, save_guard
from custodes.guard.policy import Policy

__all__ = ["change_policy"]


def change_policy(source: str | Path, changes: Mapping[str, Any], *, folder: Path) -> Manifest:
    """Write the guard `source` to `folder` (which may be the same place) with some of its policy's
    settings replaced; of `thresholds`, modes that are not named keep theirs.

    `ConfigError` for a wrong setting, and where `rules` names one that no stage can name.
    """
    found = find_guard(source)
    guard = load_guard(found)
    old = guard.policy.model_dump()
    thresholds = {**old["thresholds"], **changes.get("thresholds", {})}
    policy = Policy.parse({**old, **changes, "thresholds": thresholds}, origin="policy")
    names = [stage.scorer.name for stage in guard.cascade.stages]
    rules = found / "constitution.yaml"
    return save_guard(
        folder,
        guard.replace(policy=policy),
        scorers={name: found / "stages" / name for name in names},
        card=(found / "card.md").read_text(encoding="utf-8"),
        constitution=rules if rules.is_file() else None,
    )
