"""Build the supervisors and students that a `WeakToStrongConfig` names, and run the study.

Language models are read once a text at every depth needed, task by task, and cached on disk, so a
killed run goes on where it was. Knows the names; the learners live in `supervisors` and `lora`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from custodes.errors import ConfigError
from custodes.methods.similarity.config import FEWEST, WeakToStrongConfig
from custodes.methods.similarity.lora import LoraSupervisor
from custodes.methods.similarity.supervisors import (
    Encoder,
    FeatureCache,
    FeatureSupervisor,
    Supervisor,
    TextSupervisor,
    layer_features,
)
from custodes.methods.similarity.tasks import BinaryTask, split_task
from custodes.methods.similarity.weak_to_strong import GainRecord, Student, run_pairs
from custodes.models import ActivationModel

__all__ = ["Crew", "needs_encoder", "run_study"]

_NAMES = "words, characters, minilm, smollm2@DEPTH, lora:minilm (students only)"


class Crew:
    """The supervisors of one configuration, with the caches that their features come from."""

    def __init__(
        self, config: WeakToStrongConfig, cache: Path, model: Callable[[], ActivationModel]
    ) -> None:
        names = [*config.weak, *config.strong]
        self._config = config
        self._model = model
        self._loaded: ActivationModel | None = None
        self.depths = sorted({_depth(name) for name in names if name.startswith("smollm2")})
        self._encoder = Encoder(config.minilm) if needs_encoder(config) else None
        depths = ",".join(map(str, self.depths))
        self._layers = FeatureCache(cache / "smollm2", f"smollm2-135m-instruct-q4_1 {depths}")
        weights = "" if self._encoder is None else self._encoder.identity
        self._embeddings = FeatureCache(cache / "minilm", f"minilm {weights}")
        self.weak = [self._supervisor(name) for name in config.weak]
        self.strong = [self._student(name) for name in config.strong]

    def prepare(self, texts: Sequence[str]) -> None:
        """Compute or load the features of these texts."""
        if self.depths:
            for _ in self._layers.fill(texts, self._activations):
                pass
        if self._encoder is not None:
            for _ in self._embeddings.fill(texts, self._encoder.features):
                pass

    def _activations(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self._loaded is None:
            self._loaded = self._model()
        return layer_features(self._loaded, texts, self.depths)

    def _supervisor(self, name: str) -> Supervisor:
        if name == "words":
            return TextSupervisor(name, analyzer="word", ngrams=(1, 1))
        if name == "characters":
            return TextSupervisor(name, analyzer="char_wb", ngrams=(2, 4))
        if name == "minilm":
            return FeatureSupervisor(name, self._embeddings.layer(0))
        if name.startswith("smollm2@"):
            return FeatureSupervisor(name, self._layers.layer(self.depths.index(_depth(name))))
        raise ConfigError(f"got the supervisor {name!r}; expected one of {_NAMES}")

    def _student(self, name: str) -> Student:
        if name == "lora:minilm" and self._encoder is not None:
            learner = LoraSupervisor(
                name,
                self._encoder,
                epochs=self._config.epochs,
                learning_rate=self._config.learning_rate,
            )
            return Student(name, self._supervisor("minilm"), learner)
        supervisor = self._supervisor(name)
        return Student(name, supervisor, supervisor)


def needs_encoder(config: WeakToStrongConfig) -> bool:
    """Whether a supervisor or student rests on MiniLM."""
    return any("minilm" in name for name in (*config.weak, *config.strong))


def _depth(name: str) -> int:
    head, _, depth = name.partition("@")
    if head != "smollm2" or not depth.isdecimal():
        raise ConfigError(f"got the supervisor {name!r}; expected one of {_NAMES}")
    return int(depth)


def run_study(
    config: WeakToStrongConfig,
    tasks: Sequence[BinaryTask],
    folder: Path,
    model: Callable[[], ActivationModel],
    *,
    say: Callable[[str], object] | None = None,
) -> Iterator[GainRecord]:
    """Every pair on every task, appended to `folder/gains.jsonl` as they come; resumable.

    Tasks with too few statements for the three parts, and those whose first part holds one answer
    only, are left out; `say` hears the latter's names. `ConfigError` where fewer than five remain,
    before anything is trained.
    """
    crew = Crew(config, folder / "features", model)
    sizes = (config.train, config.train, config.test)
    large: list[BinaryTask] = []
    for task in tasks:
        if len(task.texts) < sum(sizes) or len(large) == config.tasks:
            continue
        taught = task.labels[split_task(task, sizes, seed=config.seed).weak_train]
        if len(np.unique(taught)) > 1:
            large.append(task)
        elif say is not None:
            say(f"{task.name}: left out: its training part has one answer only, {taught[0]}")
    if len(large) < FEWEST:
        raise ConfigError(
            f"got {len(large)} tasks of {sum(sizes)} statements or more, and of both answers in "
            f"training, of {len(tasks)} in all; "
            f"expected at least {FEWEST}: ask for smaller parts or give more tasks"
        )
    run = partial(run_pairs, sizes=sizes, seed=config.seed, log=folder / "gains.jsonl")
    for task in large:
        split = split_task(task, sizes, seed=config.seed)
        rows = np.concatenate([split.weak_train, split.strong_train, split.test])
        crew.prepare([task.texts[row] for row in rows])
        yield from run([task], crew.weak, crew.strong)
