"""Where commands find examples, and where they keep what can be made again."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from custodes.config import environment
from custodes.constitution import Constitution
from custodes.data import catalogue, load, read
from custodes.errors import DataError
from custodes.guard.build import GuardConfig
from custodes.types import Example

__all__ = ["cache_folder", "card", "read_examples"]


def cache_folder() -> Path:
    """CUSTODES_CACHE_DIR, else custodes under XDG_CACHE_HOME or ~/.cache."""
    own = os.environ.get("CUSTODES_CACHE_DIR")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "custodes"


def read_examples(sources: Sequence[str], *, unreleasable: bool) -> list[Example]:
    """The rows of tables and catalogue sets, in order.

    A set of the role `dev` is for measuring only and is refused, as is one whose licence forbids
    the release of weights trained on it, unless `unreleasable`.
    """
    known = catalogue()
    rows: list[Example] = []
    for source in sources:
        if source not in known:
            rows += read(Path(source))
            continue
        dataset = known[source]
        if dataset.role == "dev":
            raise DataError(f"{source}: is a dev set, for measuring only; train on something else")
        if not dataset.releasable and not unreleasable:
            raise DataError(
                f"{source}: its licence ({dataset.licence}) does not permit weights trained on it "
                "to be released; pass --allow-unreleasable for a guard that stays in your house"
            )
        rows += load(source)
    return rows


def card(
    sources: Sequence[str],
    rows: Sequence[Example],
    constitution: Constitution,
    config: GuardConfig,
) -> str:
    """The card of a freshly trained guard: what it was made from, and what nobody measured yet."""
    counts = Counter((row.source, row.licence or "not stated") for row in rows)
    labels = Counter(row.label for row in rows)
    lines = [
        f"# Guard from {constitution.id}@{constitution.version}",
        "",
        f"Trained on {len(rows)} examples ({labels[1]} harmful, {labels[0]} benign) from "
        f"{', '.join(sources)}, seed {config.seed}, commit {environment()['commit']}.",
        "",
        "| source | licence | rows |",
        "|---|---|---|",
        *(f"| {source} | {licence} | {n} |" for (source, licence), n in sorted(counts.items())),
        "",
        "Stages: "
        + ", ".join(f"{s.name} ({s.features}, {s.head})" for s in config.resolved().stages),
        "",
        "## Limits",
        "",
        "It knows what its rows show. Measure it on your own traffic (`custodes evaluate`) before "
        "you rely on it, and set its threshold there (`custodes calibrate`).",
        "",
    ]
    return "\n".join(lines)
