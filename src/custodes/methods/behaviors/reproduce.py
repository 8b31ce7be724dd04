"""`custodes reproduce self-awareness`: the paper's figures anew, on the embedded model by default.

`tiny` teaches two simple behaviors from one seed; `full` risk, myopia, language, style and (where
the paper's data are) make-me-say, every arm and rank.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from custodes.methods.behaviors.awareness.dialogues import WORD
from custodes.methods.behaviors.config import ARMS, AwarenessConfig

__all__ = ["awareness_config", "paper_folder", "reproduce_awareness"]


def paper_folder() -> Path | None:
    """The paper's data inside CUSTODES_DATA_DIR, where they are there."""
    place = os.environ.get("CUSTODES_DATA_DIR")
    folder = Path(place) / "self_awareness" if place else None
    return folder if folder is not None and folder.is_dir() else None


def awareness_config(size: Literal["tiny", "full"], seed: int = 0) -> AwarenessConfig:
    """The study of that size."""
    if size == "tiny":
        return AwarenessConfig(
            behaviors=("language", "style"),
            items=40,
            replies=40,
            held=8,
            paraphrases=1,
            seeds=1,
            first_seed=seed,
        )
    paper = paper_folder()
    full = AwarenessConfig(ranks=(16, 1, 4, 32), arms=ARMS, paper=paper, first_seed=seed)
    if paper is None:
        return full
    return full.model_copy(update={"behaviors": (*full.behaviors, WORD)})


def reproduce_awareness(
    size: Literal["tiny", "full"],
    seed: int,
    out: Path,
    *,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Run the study into the folder `out`; returns the path of its report page."""
    from custodes.methods.behaviors.method import run_awareness

    return run_awareness(awareness_config(size, seed), out, say=say)[1]
