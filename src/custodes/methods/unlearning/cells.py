"""The cells of a study, each a computation of its own: prepare a seed's model, run an arm.

A cell is told by a plain JSON value that holds everything its result depends on; its hash names
the result. Runs in a worker, here or on a cluster that shares the study's folder.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from custodes.engine import identify
from custodes.errors import ConfigError
from custodes.methods.unlearning.capitals import capitals
from custodes.methods.unlearning.config import METHODS, StudyConfig
from custodes.methods.unlearning.facts import Fact, Parts, chance, read_facts, split_facts
from custodes.methods.unlearning.grammar import invent
from custodes.methods.unlearning.removal import remove
from custodes.methods.unlearning.scoring import (
    TEXT_ROW,
    answer_row,
    blind_choices,
    choices,
    known,
    part_scores,
    perplexity,
    text_rows,
)
from custodes.methods.unlearning.texts import ordinary_texts, texts_digest
from custodes.models.tuning import TunableModel, open_tunable, tune

__all__ = ["arm_cell", "cell_hash", "prepare_cell", "seed_facts", "worker"]

_VERSION = 2  # goes up when the same settings come to give other results

_FEW = 1000  # texts; no study reads more rows of text than that

Cell = dict[str, Any]


def cell_hash(cell: Mapping[str, Any]) -> str:
    """The name of a cell's result."""
    return hashlib.sha256(identify(dict(cell)).encode()).hexdigest()[:24]


def seed_facts(config: StudyConfig, seed: int) -> list[Fact]:
    """The facts of a seed: its own where they are invented, the file's in every seed."""
    facts = config.facts
    if facts.kind == "invented":
        return invent(facts.forget, facts.neighbors, seed=seed)
    if facts.kind == "capitals":
        return capitals(seed=seed)
    if facts.path is None:
        raise AssertionError("checked by the settings")
    return read_facts(facts.path)


def prepare_cell(config: StudyConfig, seed: int, *, withheld: bool) -> Cell:
    """Implant a seed's facts (`withheld`: the neighbors alone), or find those that are known."""
    return {
        "version": _VERSION,
        "cell": "prepare",
        "seed": seed,
        "withheld": withheld,
        "model": config.model.identity(),
        "facts": _of_facts(config, seed),
        "implant": config.implant.model_dump(mode="json"),
    }


def arm_cell(config: StudyConfig, seed: int, arm: str, prepared: Mapping[str, Any]) -> Cell:
    """Remove by the method `arm` (or not), relearn; from what `prepare_cell` made."""
    removal = None
    if arm in METHODS:
        removal = config.removal.model_dump(mode="json", exclude={"methods", "rates"})
        removal["rates"] = {arm: list(config.removal.rates[arm])}
        removal["text"] = config.removal.text and _of_text(config.removal.text)
    return {
        "version": _VERSION,
        "cell": "arm",
        "seed": seed,
        "arm": arm,
        "prepared": prepared,
        "removal": removal,
        "relearn": config.relearn.model_dump(mode="json"),
        "text": [_of_text(config.text), config.text_tokens],
    }


def _of_text(source: str | None) -> str:
    """What names ordinary text, and that its long texts are read whole where there are few.

    Once only their first 5,120 characters were read, and results of that must not be taken for
    these. Of many texts one row each is read, now as then.
    """
    texts = ordinary_texts(source)
    whole = len(texts) < _FEW and any(len(text) > 40 * TEXT_ROW for text in texts)
    return texts_digest(source) + (" whole" if whole else "")


def _of_facts(config: StudyConfig, seed: int) -> dict[str, Any]:
    values = config.facts.model_dump(mode="json", exclude={"path"})
    texts = [identify(fact) for fact in seed_facts(config, seed)]
    return {**values, "hash": hashlib.sha256("\n".join(texts).encode()).hexdigest()[:24]}


def worker(config: StudyConfig, folder: Path) -> Callable[[Sequence[Cell]], list[dict[str, Any]]]:
    """What an engine runs: cells to results. The model is loaded once a worker."""
    model = open_tunable(config.model)

    def work(cells: Sequence[Cell]) -> list[dict[str, Any]]:
        return [_Bench(config, folder, model, cell["seed"]).run(cell) for cell in cells]

    return work


@dataclass(frozen=True, slots=True)
class _Bench:
    """A worker's model and the settings of one cell."""

    config: StudyConfig
    folder: Path
    model: TunableModel
    seed: int

    def run(self, cell: Cell) -> dict[str, Any]:
        began, counted = time.process_time(), self.model.tokens
        self.model.reset()
        result = self._prepare(cell) if cell["cell"] == "prepare" else self._arm(cell)
        seconds = time.process_time() - began
        tokens = self.model.tokens - counted
        return {**result, "seed": self.seed, "seconds": seconds, "tokens": tokens}

    def _prepare(self, cell: Cell) -> dict[str, Any]:
        facts = seed_facts(self.config, self.seed)
        if self.config.facts.kind != "invented":
            return {"weights": None, "facts": self._familiar(facts), "loss": None}
        seen = [fact for fact in facts if fact.neighbor] if cell["withheld"] else facts
        rows = [
            answer_row(self.model, text, fact.answer) for fact in seen for text in fact.statements
        ]
        trace = tune(self.model, rows, self.config.implant.model_copy(update={"seed": self.seed}))
        name = f"{cell_hash(cell)}.safetensors"
        self.model.save(self.folder / name)
        self.model.reset()
        return {"weights": name, "facts": [fact.id for fact in facts], "loss": trace.tail()}

    def _familiar(self, facts: Sequence[Fact]) -> list[str]:
        settings = self.config.facts
        if not settings.familiar:
            return [fact.id for fact in facts]
        # By the wordings of training, not by the question that accuracy is measured with: a lucky
        # guess at that would count as known, and V would be right on all of it by construction.
        found = known(self.model, facts, options=settings.options, seed=self.seed)
        return [fact.id for fact, right in zip(facts, found, strict=True) if right]

    def _parts(self, ids: Sequence[str]) -> Parts:
        chosen = set(ids)
        facts = [fact for fact in seed_facts(self.config, self.seed) if fact.id in chosen]
        settings = self.config.facts
        return split_facts(
            facts, forget=settings.shares, neighbors=settings.neighbor_shares, seed=self.seed
        )

    def _restore(self, weights: str | None) -> None:
        self.model.reset()
        if weights is not None:
            path = self.folder / weights
            if not path.exists():
                raise ConfigError(
                    f"{path}: not there; delete its record in {self.folder.parent / 'cells'}, "
                    "or the whole folder, and run again"
                )
            self.model.load(path)

    def _arm(self, cell: Cell) -> dict[str, Any]:
        prepared, arm = cell["prepared"], cell["arm"]
        parts = self._parts(prepared["facts"])
        restore = partial(self._restore, None if arm == "never" else prepared["weights"])
        restore()
        wanted = max(1, self.config.text_tokens // TEXT_ROW)
        text = text_rows(self.model, ordinary_texts(self.config.text), wanted)
        stages = {"before": self._stage(parts, text)}
        options = self.config.facts.options
        blind = blind_choices(self.model, parts.held, options=options, seed=self.seed)
        removal = None
        if arm in METHODS:
            removal = remove(
                self.model,
                arm,
                parts,
                self.config.removal,
                options=options,
                seed=self.seed,
                restore=restore,
            )
            stages["removed"] = self._stage(parts, text)
        first = stages["before" if removal is None else "removed"]
        between = self._relearn(parts)
        stages["relearned"] = last = self._stage(parts, text)
        curve = [
            _point(0, first),
            *between,
            _point(self.config.relearn.epochs, last),
        ]
        self.model.reset()
        return {
            "arm": arm,
            "cloze_chance": chance(parts.held),
            "text_tokens": sum(row.targets for row in text),
            "blind": blind,
            "stages": stages,
            "curve": curve,
            "removal": None
            if removal is None
            else {
                "rate": removal.rate,
                "epochs": removal.epochs,
                "enough": removal.enough,
                "path": [list(point) for point in removal.path],
            },
        }

    def _stage(self, parts: Parts, text: Sequence[Any]) -> dict[str, Any]:
        measured = {name: getattr(parts, name) for name in ("select", "taught", "held", "beside")}
        found: dict[str, Any] = part_scores(
            self.model, measured, options=self.config.facts.options, seed=self.seed
        )
        return {**found, "perplexity": perplexity(self.model, text)}

    def _relearn(self, parts: Parts) -> list[dict[str, Any]]:
        """Teach T again; on the way, by epoch, the right answers on V and on T."""
        settings = self.config.relearn
        rows = [
            answer_row(self.model, text, fact.answer)
            for fact in parts.taught
            for text in fact.statements
        ]
        each = math.ceil(len(rows) / settings.batch_rows)  # an epoch's last step may be short
        due = {point * each: point for point in settings.points if 0 < point < settings.epochs}
        curve: list[dict[str, Any]] = []

        def watch(step: int, model: TunableModel) -> bool:
            if step in due:
                options = self.config.facts.options
                right = {
                    name: choices(model, getattr(parts, name), options=options, seed=self.seed)
                    for name in ("held", "taught")
                }
                curve.append({"epoch": due[step], **right})
            return False

        tune(
            self.model,
            rows,
            settings.model_copy(update={"seed": self.seed}),
            watch=watch,
            every=1,
        )
        self.model.merge()
        return curve


def _point(epoch: float, stage: Mapping[str, Any]) -> dict[str, Any]:
    """A point of the curve from what was measured of a whole stage."""
    return {"epoch": epoch, **{name: stage[name]["choice"] for name in ("held", "taught")}}
