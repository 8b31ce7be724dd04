"""What a hardening's folder and its guards are made of, as hashes in made_of.txt, asked before more
is written there."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from custodes.config import named_files, write_atomically
from custodes.errors import ConfigError
from custodes.redteam.campaign import CampaignConfig, terms_of
from custodes.redteam.question_files import read_questions

__all__ = ["check_folder", "hash_of", "made_before", "note", "terms_hash"]

_FILE = "made_of.txt"


def hash_of(values: object) -> str:
    """Of plain values."""
    return hashlib.sha256(json.dumps(values, default=str).encode()).hexdigest()


def terms_hash(config: CampaignConfig) -> str:
    """A hash of what decides what any round's attacks find, but the guard."""
    attacks = [each.model_dump(mode="json") for each in config.chosen_attacks()]
    questions = read_questions(config.questions, only=config.only)
    return hash_of([terms_of(config, questions), attacks, named_files(attacks)])


def check_folder(out: Path, terms: str) -> None:
    """`ConfigError` where the folder was begun on other terms: to go on would mix two campaigns."""
    if any(out.glob("round-*")) and _noted(out) != terms:
        raise ConfigError(
            f"{out}: was begun with other settings of the campaign (target, questions, attacks, "
            "budget, seed, judge...); expected the same to go on with; give another --out, or "
            "remove the folder"
        )


def made_before(guard: Path, made_of: str) -> bool:
    """Whether the guard was made before; `ConfigError` where it was made of something else."""
    if not (guard / "guard.json").is_file():
        return False  # whatever was noted, no guard came of it
    if _noted(guard.parent) != made_of:
        raise ConfigError(
            f"{guard}: was made with other settings, another --run or other rows; expected the "
            "same to go on with; give another --out, or remove the folder of this round and of "
            "those after it"
        )
    return True


def note(folder: Path, made_of: str) -> None:
    """Write it down. Before the guard is made: a kill between the two must not leave a guard of
    which nobody knows what it was made of."""
    write_atomically(folder / _FILE, made_of + "\n")


def _noted(folder: Path) -> str:
    path = folder / _FILE
    return path.read_text(encoding="ascii").strip() if path.is_file() else ""
