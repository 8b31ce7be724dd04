"""`custodes reproduce sae-seeds | sae-random | sae-descriptions`: three papers' checks, run anew.

On the embedded model and the English texts of the catalogue, with what the papers published for
their own models beside it: signs and orders may be compared, numbers not. `tiny` takes a few
minutes of a laptop and proves that everything runs; `full` takes hours and is far smaller than the
papers' runs. Killed, it goes on: what was collected, trained and described is kept; matchings,
scores and the toy model are made again. A folder is of one configuration, and refuses another.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from custodes.config import Config, Run, load
from custodes.data import find
from custodes.errors import ConfigError
from custodes.measure import Prose, Report, Section, Table
from custodes.measure.report import Cell
from custodes.methods.sae.config import (
    CoderConfig,
    CollectConfig,
    DescribeConfig,
    NullConfig,
    ToyConfig,
    TrainConfig,
)
from custodes.methods.sae.describing import run_describe
from custodes.methods.sae.formats import load_coder
from custodes.methods.sae.method import run_collect, run_null, run_toy, run_train
from custodes.methods.sae.report import pairs_interval, seeds_interval
from custodes.methods.sae.seeds import Overlap, compare, permuted, random_directions
from custodes.methods.sae.store import ActivationStore
from custodes.methods.sae.texts import read_texts

__all__ = [
    "ReproduceConfig",
    "reproduce_descriptions",
    "reproduce_random",
    "reproduce_seeds",
    "settings",
]

_Size = Literal["tiny", "full"]

_PUBLISHED = {
    "seeds": (
        "Published (arXiv 2501.16615): Llama 3 8B, 131,072 latents: 30 % shared. The authors' "
        "released index for SmolLM-135M, 20,736 latents, k = 32, 8 B tokens: index agreement "
        ".870 (MLP), .815 (residual). Shared features fall with size and with k, rise with tokens."
    ),
    "random": (
        "Published (arXiv 2501.17727v2): Pythia-6.9B, fuzzing AUROC by a model's judgment: "
        "trained .79, random variants .87 to .88, control at chance. Token entropy rises with "
        "depth in the trained network only."
    ),
    "descriptions": (
        "Published (arXiv 2501.08319), GPT-2, by models that explain and judge: input score "
        "max-act 42.5 %, vocab-proj 16.4 %, token-change 17.9 %, best ensemble 56.7 %; output "
        "score 40.6 %, 42.4 %, 40.1 %, 45.3 %."
    ),
}


class ReproduceConfig(Config):
    """What `custodes reproduce sae-...` runs."""

    collect: CollectConfig
    """Which activations."""
    train: TrainConfig
    """Which autoencoders."""
    more_k: tuple[int, ...] = ()
    """Other k of the middle size (seeds)."""
    null: NullConfig | None = None
    """Random networks (random)."""
    toy: ToyConfig | None = None
    """The toy model (random)."""
    describe: DescribeConfig | None = None
    """Descriptions."""


def settings(
    part: Literal["seeds", "random", "descriptions"], size: _Size, seed: int
) -> ReproduceConfig:
    """The settings of one part at one size."""
    small = size == "tiny"
    collect = CollectConfig(
        hooks=("model.layers.2.mlp",) if small else ("model.layers.7.mlp",),
        tokens=12_000 if small else 1_000_000, context=128 if small else 256,
    )  # fmt: skip
    train = TrainConfig(
        latents=(144, 288) if small else (576, 2304, 9216), k=(16,) if small else (32,),
        seeds=tuple(seed + n for n in range((2 if small else 4) if part == "seeds" else 1)),
        batch=256 if small else 2048, held_out=2048 if small else 16_384,
        warm_up=5 if small else 20, checkpoint=50,
        coder=CoderConfig(k=16, learning_rate=3e-3),
    )  # fmt: skip
    one = train.model_copy(update={"latents": train.latents[1:2]})
    if part == "seeds":
        return ReproduceConfig(
            collect=collect, train=train, more_k=(4, 32) if small else (16, 64)
        )  # fmt: skip
    if part == "random":
        hooks = ("residual.1", "residual.3") if small else ("residual.4", "residual.8")
        null = NullConfig(
            collect=collect.model_copy(update={"hooks": hooks}), train=one, seed=seed,
            latents=20 if small else 100, contexts=16 if small else 256,
        )  # fmt: skip
        toy = ToyConfig(
            features=32, width=24, points=500, epochs=10, batch=100, active=2.0,
            penalties=(0.01, 1.0, 30.0), seeds=(seed,),
        ) if small else ToyConfig()  # fmt: skip
        return ReproduceConfig(collect=null.collect, train=one, null=null, toy=toy)
    describe = DescribeConfig(
        latents=4 if small else 300, contexts=16 if small else 256, prompts=2 if small else 8,
        steer_tokens=5 if small else 25, seed=seed,
    )  # fmt: skip
    return ReproduceConfig(collect=collect, train=one, describe=describe)


def reproduce_seeds(size: _Size, seed: int, out: Path) -> Path:
    """Shared features over pairs of seeds, by size and by k; returns the path of the report."""
    return run_seeds(settings("seeds", size, seed), [find("english")], out)


def reproduce_random(size: _Size, seed: int, out: Path) -> Path:
    """The same autoencoder on random networks, and the toy model; the path of the report."""
    return run_random(settings("random", size, seed), [find("english")], out)


def reproduce_descriptions(size: _Size, seed: int, out: Path) -> Path:
    """Descriptions from both ends, judge-free; returns the path of the report."""
    return run_descriptions(settings("descriptions", size, seed), [find("english")], out)


def run_seeds(config: ReproduceConfig, texts: Sequence[Path], out: Path) -> Path:
    """As `reproduce_seeds`, with these settings, on these texts."""
    run = _run(out, config, config.train.seeds[0])
    store = run_collect(config.collect, texts, run.artifacts / "store")
    middle = config.train.latents[len(config.train.latents) // 2]
    parts = {"sizes": config.train}
    if config.more_k:
        parts["k"] = config.train.model_copy(update={"latents": (middle,), "k": config.more_k})
    rows: list[list[Cell]] = []
    nulls: list[list[Cell]] = []
    for name, part in parts.items():
        folder = out / name
        run_train(store, part, folder)
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        quality = {row["autoencoder"]: row for row in map(json.loads, lines)}
        for latents in part.latents:
            for k in part.k:
                names = [f"topk-{latents}-k{k}-seed{seed}" for seed in part.seeds]
                coders = [load_coder(folder / "artifacts" / one) for one in names]
                pairs = [compare(one, two) for one, two in combinations(coders, 2)]
                run.log(latents=latents, k=k, pairs=[pair.values() for pair in pairs])
                rows.append(_seeds_row(f"F {latents:,}, k {k}", pairs,
                                       [quality[one] for one in names]))  # fmt: skip
                if not nulls:
                    first = coders[0]
                    for label, other in (("random directions", random_directions(first, 0)),
                                         ("itself permuted", permuted(first, 0))):  # fmt: skip
                        found = [compare(first, other)]
                        nulls.append(_seeds_row(f"null: {names[0]} and {label}", found, []))
    columns = ["setting", "shared (strict)", "index agreement", "mean-max cosine", "L0",
               "explained variance", "optimum proven"]  # fmt: skip
    note = (
        "95 % intervals: of shares, those that leave one seed out at a time, with all its pairs; "
        "of L0 and explained variance, Student's t over seeds."
    )
    return _report(
        run, "seeds", "Sparse autoencoders: do seeds agree?",
        [Section("Shared features", [Table(columns, [*rows, *nulls], note)])], store.facts.model,
    )  # fmt: skip


def _seeds_row(
    name: str, pairs: Sequence[Overlap], quality: Sequence[Mapping[str, Any]]
) -> list[Cell]:
    return [
        name,
        *(pairs_interval([getattr(pair, one) for pair in pairs])
          for one in ("shared", "agreement", "mean_max")),
        *(seeds_interval([row[one] for row in quality]) for one in ("l0", "explained")),
        all(pair.certified for pair in pairs),
    ]  # fmt: skip


def run_random(config: ReproduceConfig, texts: Sequence[Path], out: Path) -> Path:
    """As `reproduce_random`, with these settings, on these texts."""
    if config.null is None or config.toy is None:
        raise ValueError("run_random: needs the settings null and toy")
    run = _run(out, config, config.null.seed)
    pages = {
        "networks": run_null(config.null, lambda: read_texts(texts), out / "networks"),
        "toy": run_toy(config.toy, out / "toy"),
    }
    return _linked(run, "random", "Sparse autoencoders: would a random network do?", pages)


def run_descriptions(config: ReproduceConfig, texts: Sequence[Path], out: Path) -> Path:
    """As `reproduce_descriptions`, with these settings, on these texts."""
    if config.describe is None:
        raise ValueError("run_descriptions: needs the setting describe")
    run = _run(out, config, config.describe.seed)
    store = run_collect(config.collect, texts, run.artifacts / "store")
    folder = out / "train"
    run_train(store, config.train, folder)
    coder = next(path for path in sorted((folder / "artifacts").iterdir()) if path.is_dir())
    describe = config.describe.model_copy(update={"model": config.collect.model})
    page = run_describe(ActivationStore(store.folder), coder, describe, out / "words")
    pages = {"training": folder / "report.html", "descriptions": page,
             "features": out / "words" / "features.html"}  # fmt: skip
    return _linked(run, "descriptions", "Sparse autoencoders: descriptions from both ends", pages)


def _run(out: Path, config: ReproduceConfig, seed: int) -> Run:
    """The run's folder; `ConfigError` where it is another configuration's."""
    path = out / "config.yaml"
    if path.exists() and load(ReproduceConfig, path) != config:
        raise ConfigError(
            f"{path}: left by a run of another configuration (size or seed); give the same one, or "
            "take another folder"
        )
    return Run(out, config, seed=seed)


def _linked(run: Run, part: str, title: str, pages: Mapping[str, Path]) -> Path:
    links = "\n\n".join(f"{name}: {page.relative_to(run.folder)}" for name, page in pages.items())
    return _report(run, part, title, [Section("Each has its own page", [Prose(links)])], None)


def _report(run: Run, part: str, title: str, sections: list[Section], model: str | None) -> Path:
    published = Section("What was published", [Prose(_PUBLISHED[part])])
    facts: dict[str, Cell] = {"model": model} if model else {}
    report = Report(title, "Other models, other sizes: compare signs.", [*sections, published],
                    facts)  # fmt: skip
    return run.report(report.values(), report.html())
