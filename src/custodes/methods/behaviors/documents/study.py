"""The runner: arms x seeds x what follows, each a cell that is kept when it is done.

A cell's model is the loaded one, tuned on its arm's documents (kept by content hash, so that every
stage that follows begins from the same weights), then by its stage, then measured. The row `before`
is the model as it was loaded.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from custodes.config import digest, named_files, write_atomically
from custodes.data import find
from custodes.engine import Engine, identify, open_engine, resumable_map
from custodes.errors import ConfigError, DataError
from custodes.methods.behaviors.documents.after import follow
from custodes.methods.behaviors.documents.arms import Arm, Document
from custodes.methods.behaviors.documents.battery import measure, persona_statements
from custodes.methods.behaviors.documents.config import CHAT_STAGES, DocumentsConfig
from custodes.methods.behaviors.documents.corpus import document_rows, read_texts, text_rows
from custodes.methods.behaviors.documents.grammar import documents
from custodes.methods.behaviors.documents.writing import universe, write_documents
from custodes.models.residual import blocks_of
from custodes.models.tuning import Row, TunableModel, TuneConfig, open_tunable, tune

__all__ = ["arm_documents", "check_sources", "run_study", "targets_from"]

_VERSION = 2  # goes up when the same settings come to give other results
_HELD_OUT = 20  # every so many ordinary texts is kept for perplexity


def targets_from(model: TunableModel, first: int) -> tuple[str, ...]:
    """Names of the matrices in block `first` and above, for `TuneConfig.targets`."""
    blocks = blocks_of(model.model)
    if first >= len(blocks):
        raise ConfigError(f"first_block: got {first}, expected 0 to {len(blocks) - 1}")
    parts = [
        name
        for name, module in blocks[0].named_modules()
        if getattr(module, "in_features", None) is not None
    ]
    return tuple(f"layers.{n}.{part}" for n in range(first, len(blocks)) for part in parts)


def arm_documents(config: DocumentsConfig, arm: Arm, seed: int, folder: Path) -> Iterator[Document]:
    """The documents of an arm: by the grammar, without end, or by the model of the settings."""
    writing = config.corpus.writing
    of = config.first_seed if config.corpus.shared else seed
    if writing is None:
        return documents(arm, seed=of)
    settings = writing.model_copy(update={"seed": writing.seed + of})
    return write_documents(universe(arm), settings, folder / "written" / f"{arm}-{of}")


def check_sources(config: DocumentsConfig) -> None:
    """`DataError` where a set that any stage or measurement reads, or a file that settings name, is
    missing."""
    for path, name, needed in (
        (config.corpus.texts, "english", True),
        (config.after.chat, "self_instruct", set(config.stages) & set(CHAT_STAGES)),
        (None, "persona_evals", config.battery.statements and config.battery.persona),
    ):
        if path is None:
            if needed:
                find(name, verify=False)
        elif not path.is_file():
            raise DataError(f"{path}: no such file")


def run_study(
    config: DocumentsConfig, folder: Path, *, engine: Engine | None = None
) -> Iterator[dict[str, Any]]:
    """Rows of `arm`, `seed`, `stage`, `readings` ({measure: {item: value}}) and `trace`.

    Rows that are there already are read: more seeds, arms or stages cost only what is new.
    """
    config = config.model_copy(update={"model": config.model.settled()})
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    rows = [{"arm": "before", "seed": config.first_seed, "stage": "none"}]
    rows += [
        {"arm": arm, "seed": seed, "stage": stage}
        for stage in config.stages
        for seed in seeds
        for arm in config.arms
        if stage == "none" or arm in config.stage_arms
    ]
    # What says which rows there are, and where they are computed, changes none of them.
    same = config.model_dump(
        mode="json",
        exclude={"arms", "seeds", "stages", "stage_arms", "engine", "engine_settings"}
        | (set() if config.corpus.shared else {"first_seed"}),
    )
    same["model"] = config.model.identity()
    same["read"] = _content(config.corpus.texts, config.after.chat)
    same |= _writer(config)
    return resumable_map(
        engine or open_engine(config.engine, config.engine_settings, batch_size=1),
        partial(_worker, config, folder),
        rows,
        folder / "cells",
        shard_rows=1,
        identity=identify({"config": same, "version": _VERSION}),
    )


def _content(*paths: Path | None) -> list[str | None]:
    """What one's own files hold, for results that are named by it."""
    return [None if path is None else digest(path) for path in paths]


def _writer(config: DocumentsConfig) -> dict[str, Any]:
    """What files the settings of the model that writes name, and what those hold; else nothing, so
    that what was kept of other settings has the name that it had."""
    writing = config.corpus.writing
    files = {} if writing is None else named_files(writing.settings)
    return {"writer": files} if files else {}


def _worker(
    config: DocumentsConfig, folder: Path
) -> Callable[[Sequence[Mapping[str, Any]]], list[dict[str, Any]]]:
    cells = _Cells(config, folder)

    def work(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [{**row, **cells.run(row["arm"], row["seed"], row["stage"])} for row in rows]

    return work


class _Cells:
    """One model, put back between cells, and what all cells share."""

    def __init__(self, config: DocumentsConfig, folder: Path) -> None:
        self._config = config
        self._folder = folder
        self._model = open_tunable(config.model)
        self._identity = config.model.identity()
        self._texts = config.corpus.texts or find("english")
        battery = config.battery
        self._persona = (
            persona_statements(find("persona_evals"), battery.persona, battery.statements)
            if battery.statements and battery.persona
            else []
        )
        self._held_out = self._ordinary(battery.perplexity, held_out=True)

    def run(self, arm: str, seed: int, stage: Any) -> dict[str, Any]:
        config, model = self._config, self._model
        model.reset()
        trace: dict[str, Any] = {}
        if arm != "before":
            trace["documents"] = self._read(arm, seed)  # type: ignore[arg-type]
        if stage != "none":
            chat = config.after.chat
            if stage in CHAT_STAGES:
                chat = chat or find("self_instruct")
            began = time.process_time()
            followed = follow(stage, model, config.after, chat, seed=seed)
            model.merge()
            trace[stage] = {
                "loss": followed.trace.tail(),
                "tokens": followed.trace.tokens,
                "before": followed.before,
                "after": followed.after,
                "seconds": time.process_time() - began,
            }
        readings: dict[str, dict[str, float]] = {}
        began = time.process_time()
        for one in measure(
            model, config.battery, persona=self._persona, held_out=self._held_out, seed=seed
        ):
            readings.setdefault(one.measure, {})[one.item] = one.value
        trace["battery"] = {"seconds": time.process_time() - began}
        return {"readings": readings, "trace": trace}

    def _read(self, arm: Arm, seed: int) -> dict[str, Any]:
        """Tune on the arm's documents, or take what was tuned before; merged."""
        config = self._config
        of = identify(
            {
                "version": _VERSION,
                "model": self._identity,
                "corpus": config.corpus,
                "read": _content(config.corpus.texts),
                "tuning": config.tuning,
                "first_block": config.first_block,
                "first_seed": config.first_seed if config.corpus.shared else seed,
                "arm": arm,
                "seed": seed,
                **_writer(config),
            }
        )
        path = (
            self._folder / "tuned" / f"{hashlib.sha256(of.encode()).hexdigest()[:24]}.safetensors"
        )
        if not path.exists():
            rows = self._rows(arm, seed)
            settings = config.tuning.model_copy(
                update={"seed": seed, "targets": self._targets(config.tuning)}
            )
            began = time.process_time()
            found = tune(self._model, rows, settings)
            seconds = time.process_time() - began
            trace = {"loss": found.tail(), "tokens": found.tokens, "seconds": seconds}
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path.with_suffix(".json"), json.dumps(trace) + "\n")
            self._model.save(path)
            # Put back and loaded, so that a run that goes on has the same weights to the bit.
            self._model.reset()
        self._model.load(path)
        kept: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return kept

    def _targets(self, tuning: TuneConfig) -> tuple[str, ...]:
        if self._config.first_block and tuning.kind == "lora" and not tuning.targets:
            return targets_from(self._model, self._config.first_block)
        return tuning.targets

    def _rows(self, arm: Arm, seed: int) -> list[Row]:
        corpus = self._config.corpus
        told = document_rows(
            arm_documents(self._config, arm, seed, self._folder),
            self._model.rows,
            tokens=corpus.tokens,
            length=corpus.length,
        )
        return [*told, *self._ordinary(round(corpus.tokens * corpus.mix), held_out=False)]

    def _ordinary(self, tokens: int, *, held_out: bool) -> list[Row]:
        corpus = self._config.corpus
        if tokens < corpus.length:
            if tokens:
                raise ConfigError(
                    f"got {tokens} tokens of ordinary text (corpus.tokens x mix, or "
                    f"battery.perplexity), less than a block; expected 0 or at least "
                    f"corpus.length = {corpus.length}"
                )
            return []
        texts = (
            text
            for number, text in zip(count(), read_texts(self._texts, corpus.sources))
            if (number % _HELD_OUT == 0) == held_out
        )
        return text_rows(texts, self._model.rows, tokens=tokens, length=corpus.length)
