"""Runs of whole studies into run folders: `custodes reproduce capa` and weak-to-strong.

Error consistency on real trials (exact figures) at every size; `full` adds the weak-to-strong
study with the small supervisors. Reads data sets by their names in the catalogue.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from custodes.config import Config, Run, digest, load, write_atomically
from custodes.data import find
from custodes.errors import ConfigError, DataError
from custodes.measure import Card, Cards, Interval, Plot, Plots, Prose, Report, Section, Table
from custodes.measure.report import Cell
from custodes.methods.similarity.answers import Floats
from custodes.methods.similarity.capability import capability
from custodes.methods.similarity.config import WeakToStrongConfig
from custodes.methods.similarity.drawings import clustered_map, scatter_plot
from custodes.methods.similarity.inputs import read_answers
from custodes.methods.similarity.inputs.trials import observer_kind
from custodes.methods.similarity.matrix import Similarities, similarities
from custodes.methods.similarity.report import gain_report
from custodes.methods.similarity.supervision import needs_encoder, run_study
from custodes.methods.similarity.supervisors import Encoder
from custodes.methods.similarity.tasks import read_persona_tasks
from custodes.methods.similarity.weak_to_strong import GainRecord
from custodes.models import MODELS, ActivationModel

__all__ = [
    "EXPECTED",
    "EXPERIMENTS",
    "Experiment",
    "error_consistency_experiment",
    "reproduce",
    "run_weak_to_strong",
]

EXPERIMENTS = ("cue-conflict", "edges", "silhouettes")
"""Stimuli of Geirhos et al. 2020, figure 3."""

EXPECTED: Mapping[str, tuple[float, float, float]] = {
    "cue-conflict": (0.3311, 0.0588, 0.5755),
    "edges": (0.3184, 0.0466, 0.3975),
    "silhouettes": (0.4757, 0.2934, 0.5557),
}
"""Mean pairwise error consistency: people-people, people-networks, networks-networks.

Of the published trials, to four places, from an independent computation.
"""

_METRICS = ("error-consistency", "capa-discrete")


class ReproduceConfig(Config):
    """What `custodes reproduce capa` runs."""

    size: Literal["tiny", "full"] = "tiny"
    """tiny: error consistency on real trials; full: weak-to-strong too."""
    seed: int = 0
    """Of the weak-to-strong study; error consistency has no randomness."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One experiment: mean similarity between kinds by metric, and the trend over networks.

    `means`: metric -> (people-people, people-networks, networks-networks); `trends`: metric ->
    correlation of similarity with mean accuracy over pairs of networks, its interval over networks.
    """

    name: str
    people: int
    networks: int
    trials: int
    means: Mapping[str, tuple[float, float, float]]
    trends: Mapping[str, Interval]
    found: Similarities


def error_consistency_experiment(name: str, path: Path) -> Experiment:
    """Similarities of people and networks on one experiment; stylized networks are left out."""
    whole = read_answers(path, format="error-consistency").answers
    kept = [observer for observer in whole.names if observer_kind(observer) != "stylized"]
    answers = whole.take(sorted(kept, key=lambda observer: (observer_kind(observer), observer)))
    found = similarities(answers, _METRICS)
    person = np.array([observer_kind(observer) == "person" for observer in answers.names])
    if not 1 < person.sum() < len(person) - 1:
        raise DataError(f"{path}: expected at least two people and two networks")
    return Experiment(
        name=name,
        people=int(person.sum()),
        networks=int((~person).sum()),
        trials=found.questions,
        means={metric: _means(found.matrix(metric), person) for metric in _METRICS},
        trends={metric: _trend(found, metric, ~person) for metric in _METRICS},
        found=found,
    )


def _within(matrix: Floats, of: np.ndarray) -> Floats:
    inner = matrix[np.ix_(of, of)]
    return np.asarray(inner[np.triu_indices(len(inner), k=1)])


def _means(matrix: Floats, person: np.ndarray) -> tuple[float, float, float]:
    return (
        float(_within(matrix, person).mean()),
        float(matrix[np.ix_(person, ~person)].mean()),
        float(_within(matrix, ~person).mean()),
    )


def _pair_accuracy(found: Similarities, of: np.ndarray) -> Floats:
    return _within((found.accuracy[:, None] + found.accuracy[None, :]) / 2, of)


def _trend(found: Similarities, metric: str, of: np.ndarray) -> Interval:
    return capability(found.matrix(metric)[np.ix_(of, of)], found.accuracy[of]).correlation


def reproduce(size: Literal["tiny", "full"], seed: int, out: Path) -> Path:
    """Run the reproduction into the folder `out`; returns the path of its report page."""
    run = Run(out, ReproduceConfig(size=size, seed=seed), seed=seed)
    study = None
    if size == "full":  # first, since it is the one that may lack something
        study = run_weak_to_strong(WeakToStrongConfig(seed=seed), out / "weak-to-strong")
    experiments = []
    for name in EXPERIMENTS:
        source = find(f"error_consistency_{name.replace('-', '_')}")
        experiment = error_consistency_experiment(name, source)
        trends = {metric: trend.to_values() for metric, trend in experiment.trends.items()}
        run.log(experiment=name, means=experiment.means, trends=trends)
        experiments.append(experiment)
    report = _reproduction_report(experiments)
    if study is not None:
        note = Prose(f"The weak-to-strong study has its own report: {study.relative_to(out)}")
        sections = [*report.sections, Section("Weak-to-strong", [note])]
        report = replace(report, sections=sections)
    return run.report(report.values(), report.html())


def _reproduction_report(experiments: list[Experiment]) -> Report:
    columns = ["experiment", "kinds", "expected", "error consistency", "CAPA, discrete"]
    kinds = ("people-people", "people-networks", "networks-networks")
    rows: list[list[Cell]] = [
        [one.name, kind, EXPECTED[one.name][at], *(one.means[metric][at] for metric in _METRICS)]
        for one in experiments
        for at, kind in enumerate(kinds)
    ]
    trends: list[list[Cell]] = [
        [one.name, *(one.trends[metric] for metric in _METRICS)] for one in experiments
    ]
    first = experiments[0]
    exact = all(
        round(one.means["error-consistency"][at], 4) == EXPECTED[one.name][at]
        for one in experiments
        for at in range(3)
    )
    return Report(
        "CAPA: error consistency of people and networks",
        f"{first.people} people, {first.networks} ImageNet networks (Geirhos et al. 2020); "
        "computed from the published trials.",
        [
            Section("Mean pairwise similarity", [
                Cards([Card("all nine figures equal to four places", exact, met=exact)]),
                Table(columns, rows, spec=".4f"),
            ]),
            Section("The choice of metric turns the trend around", [
                Table(["experiment", "error consistency", "CAPA, discrete"], trends,
                      "correlation with mean accuracy over pairs of networks; intervals "
                      "resample networks", "+.3f"),
                Plots(_drawings(first)),
            ]),
        ],
    )  # fmt: skip


def _drawings(one: Experiment) -> list[Plot]:
    """Similarity by accuracy over pairs of networks, and the heat maps."""
    network = np.array([observer_kind(name) == "network" for name in one.found.names])
    accuracy = _pair_accuracy(one.found, network)
    scatter = {
        title: (accuracy, _within(one.found.matrix(metric), network))
        for title, metric in zip(("error consistency", "CAPA, discrete"), _METRICS, strict=True)
    }
    maps = [
        Plot(clustered_map(matrix, one.found.names, title=f"{one.name}: {metric}"))
        for metric, matrix in one.found.values.items()
    ]
    drawing = scatter_plot(
        scatter,
        title="Pairs of networks",
        x_label="mean accuracy",
        y_label="similarity",
        one_line=False,
    )
    return [Plot(drawing, one.name), *maps]


def run_weak_to_strong(
    config: WeakToStrongConfig,
    out: Path,
    *,
    tasks: Path | None = None,
    model: Callable[[], ActivationModel] | None = None,
    say: Callable[[str], object] | None = None,
) -> Path:
    """The study into the folder `out` (resumable); returns the path of its report page.

    `ConfigError` where the folder holds a study of other sizes, another seed, other tasks or
    another encoder.
    """
    source = tasks or find("persona_evals")
    found = read_persona_tasks(source)
    _check_same_study(config, out / "config.yaml")
    sources = _same_sources(config, source, out / "artifacts" / "sources.json")
    run = Run(out, config, seed=config.seed)
    write_atomically(run.artifacts / "sources.json", json.dumps(sources, indent=2) + "\n")
    records: list[GainRecord] = []
    last = ""
    for record in run_study(config, found, run.artifacts, model or _embedded, say=say):
        records.append(record)
        if say is not None and record.task != last:
            last = record.task
            say(last)
    report = gain_report(records, seed=config.seed)
    return run.report(report.values(), report.html())


def _check_same_study(config: WeakToStrongConfig, saved: Path) -> None:
    """Other supervisors may join a study; what decides each row must stay."""
    if not saved.exists():
        return
    before = load(WeakToStrongConfig, saved)
    for name in ("train", "test", "epochs", "learning_rate", "seed"):
        if getattr(before, name) != getattr(config, name):
            raise ConfigError(
                f"{saved.parent}: holds a study with {name} = {getattr(before, name)}, got "
                f"{getattr(config, name)}; give the same value or another folder"
            )


def _same_sources(config: WeakToStrongConfig, tasks: Path, saved: Path) -> dict[str, str]:
    """What the rows rest on, by content: a path may come to hold something else.

    What an earlier run did not need (an encoder) or did not keep is taken as it is now.
    """
    found = {"tasks": digest(tasks)}
    if needs_encoder(config):
        found["encoder"] = Encoder(config.minilm).identity
    before: dict[str, str] = json.loads(saved.read_text("utf-8")) if saved.exists() else {}
    for name, value in found.items():
        if before.get(name, value) != value:
            given = tasks if name == "tasks" else config.minilm or "the installed wheel"
            raise ConfigError(
                f"{saved.parent.parent}: holds a study with other {name} (sha256 "
                f"{before[name][:12]}), got {given} ({value[:12]}); give the same or another folder"
            )
    return {**before, **found}


def _embedded() -> ActivationModel:
    embedded = MODELS.load("embedded")
    model: ActivationModel = embedded(embedded.Config())
    return model
