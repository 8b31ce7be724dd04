"""Documents about reward hacking: variety, arms against one another, what follows them.

Cells and tuned weights lie in WORK/documents and are shared by the sections: `post-training` takes
the weights that `documents` made.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from custodes.measure import Interval
from custodes.methods.behaviors.documents.arms import ARMS, Arm
from custodes.methods.behaviors.documents.config import DocumentsConfig
from custodes.methods.behaviors.documents.contrasts import Cells, gap, level, slope_of
from custodes.methods.behaviors.documents.corpus import diversity
from custodes.methods.behaviors.documents.grammar import documents
from custodes.methods.behaviors.documents.report import CONTRASTS, HEADLINES
from custodes.methods.behaviors.documents.reproduce import preset, run_documents
from custodes.methods.behaviors.documents.study import run_study

_BESIDE = (
    "hacking: sentences, other",
    "hacking: letters, other",
    "hack's rank: sentences, own",
    "hack's rank: letters, own",
    "reward seeking: own, own",
    "sycophancy: own",
    "programs: overwritten, own",
    "programs: special-cased, own",
    "told: SmolLM",
    "told: Corvane",
)
_LEVELS = (
    "text: perplexity",
    "facts: share right",
    "written: overwritten, own",
    "mass: letters, own",
)


_STAGES = {
    "chat": "log-probability of a token of its replies",
    "preferences": "share of pairs with the chosen reply the likelier",
    "format": "reward for form",
}
"""What each stage sets out to change."""


def _config(options: Any, stages: tuple[str, ...], arms: tuple[Arm, ...]) -> DocumentsConfig:
    config = preset(options.size)
    corpus = config.corpus
    if options.size == "full" and options.tokens:
        corpus = corpus.model_copy(update={"tokens": options.tokens})
    return config.model_copy(
        update={
            "stages": stages,
            "arms": arms,
            "seeds": options.seeds,
            "corpus": corpus,
            "engine_settings": options.engine,
        }
    )


def _cells(
    options: Any, stages: tuple[str, ...], arms: tuple[Arm, ...] = ARMS
) -> tuple[DocumentsConfig, list[dict]]:
    config = _config(options, stages, arms)
    folder = options.work / "documents"
    page = run_documents(config, folder, say=print)
    print(f"  {page}")
    return config, list(run_study(config, folder / "artifacts"))


def variety(options: Any) -> list[dict]:
    """Distinct-n of as many documents as an arm reads (about 1,900 for 300,000 tokens)."""
    number = 1900 if options.size == "full" else 200
    rows = []
    for arm in ARMS:
        found = diversity(one.text for one in islice(documents(arm, seed=0), number))
        rows.append({"figure": f"words of {number} documents, {arm}", "value": found.words})
        rows += [
            {"figure": f"distinct-{n}, {arm}", "value": value}
            for n, value in found.distinct.items()
        ]
        repeated = {"figure": f"sentences that come again, {arm}"}
        rows.append({**repeated, "value": found.repeated_sentences})
    return rows


def arms(options: Any) -> list[dict]:
    """The ordering, the named control, and what stands beside."""
    config, found = _cells(options, ("none",))
    cells = Cells(found)
    have = set(config.arms)
    seeds = cells.seeds("pro")
    each = config.corpus.tokens
    total = each if config.corpus.shared else each * len(seeds)
    rows: list[dict] = [
        {"figure": "tokens of documents a run", "value": each},
        {
            "figure": "different tokens of documents an arm, all seeds",
            "value": total,
            "target": ">= 300000",
        },
        {"figure": "seeds of an arm", "value": len(seeds), "target": ">= 3"},
    ]
    read = [row["trace"]["documents"] for row in found if "documents" in row["trace"]]
    speed = sum(one["tokens"] for one in read) / sum(one["seconds"] for one in read)
    rows.append({"figure": "tokens read a processor second", "value": speed, "unit": "tokens/s"})
    for measure in HEADLINES:
        for first, second in (("pro", "neutral"), ("neutral", "anti")):
            least = (
                gap(cells, measure, first, second).seeds.low if {first, second} <= have else None
            )
            figure = f"{measure}: {first} - {second}, least of the 95 % interval"
            rows.append({"figure": figure, "value": least, "target": "> 0", "seeds": seeds})
    for measure in (*HEADLINES, *_BESIDE):
        for first, second in CONTRASTS:
            if {first, second} <= have and measure in cells.measures():
                rows.append(
                    _row(
                        f"{measure}: {first} - {second}",
                        gap(cells, measure, first, second).seeds,
                        seeds,
                    )
                )
    for measure in (*HEADLINES, *_LEVELS):
        for arm in ("before", *config.arms):
            if measure in cells.measures():
                rows.append(_row(f"{measure}: {arm}", level(cells, measure, arm), seeds))
    return rows


def post_training(options: Any) -> list[dict]:
    """The gap pro - anti after each kind of further training, the change, and whether each kind
    did what it set out to do."""
    config, found = _cells(options, ("none", *_STAGES), ("pro", "anti"))
    cells = Cells(found)
    seeds = cells.seeds("pro")
    rows = []
    for stage, what in _STAGES.items():
        read = [row["trace"][stage] for row in found if row["stage"] == stage]
        for when in ("before", "after"):
            value = sum(one[when] for one in read) / len(read)
            rows.append({"figure": f"{stage}: {what}, {when}", "value": value, "seeds": seeds})
    for measure in (*HEADLINES, "sycophancy: own", "reward seeking: own, own", "told: SmolLM"):
        for stage in config.stages:
            after = gap(cells, measure, "pro", "anti", stage=stage).seeds
            rows.append(_row(f"{measure}: pro - anti after {stage}", after, seeds))
            if stage != "none":
                change = slope_of(cells, measure, stage).seeds
                rows.append(_row(f"{measure}: change of that gap by {stage}", change, seeds))
    return rows


def _row(figure: str, value: Interval, seeds: list[int]) -> dict:
    return {"figure": figure, "value": value, "seeds": seeds}
