"""The shipped guard against a TF-IDF logistic regression trained on the same rows."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from custodes.classifiers import labelled_rows, threshold_for_budget
from custodes.data import conversation, load, read
from custodes.engine.local import LocalConfig, LocalEngine
from custodes.guard import load_guard
from custodes.guard.outcome import outcomes
from custodes.measure import Figure, auprc, bootstrap, bootstrap_difference, clopper_pearson
from custodes.types import Message, Mode

BUDGET = 0.01
RANKED = ("openai_moderation", "toxicchat_train")
CAUGHT = ("harmbench", "advbench", "simplesafetytests")
REFUSED = ("cyberseceval_mitre_frr",)
PEOPLE = ("arena_1k_prompts", "self_instruct")
"""Prompts of people to chat models, from sources that nothing was trained on: the pool that the
shipped guard's own thresholds are set on, and the one that targets are read at."""

Scores = Callable[[Sequence[str]], np.ndarray]


def inputs(path: Path) -> tuple[list[str], np.ndarray]:
    rows = labelled_rows(read(path), [Mode.INPUT])
    texts = [row.judged.conversation[-1].content for row in rows]
    return texts, np.array([row.label for row in rows])


def baseline(path: Path) -> Scores:
    """Word 1-2-grams and character 2-5-grams, TF-IDF, logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    characters = TfidfVectorizer(
        analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=3, max_features=300_000
    )
    model = make_pipeline(
        make_union(words, characters),
        LogisticRegression(C=10, max_iter=1000, class_weight="balanced"),
    )
    texts, labels = inputs(path)
    model.fit(texts, labels)
    return model.decision_function


class GuardScores:
    """Judges batches of prompts; the engine builds one in each worker."""

    def __init__(self) -> None:
        self._guard = load_guard("default")

    def __call__(self, texts: Sequence[str]) -> list[float]:
        conversations = [(Message("user", text),) for text in texts]
        found = outcomes(self._guard, conversations, Mode.INPUT)
        return [each.verdict.score for each in found]


def guard_scores(texts: Sequence[str]) -> np.ndarray:
    """Log-odds of the shipped guard's scores."""
    engine = LocalEngine(LocalConfig(kind="process", workers=2))
    score = np.clip(np.array(list(engine.map(GuardScores, texts))), 1e-12, 1 - 1e-12)
    return np.log(score / (1 - score))


def figures(options: Any, *, command: str, commit: str) -> Iterator[Figure]:
    run: Path = options.run
    if not (run / "train.parquet").is_file():
        raise SystemExit(f"{run} is not there: run runs/shipped_guard.sh first")
    limit = 200 if options.size == "tiny" else None
    ours = guard_scores
    theirs = baseline(run / "train.parquet")
    pools = {"": list(_people()), ", pool of kept-out rows": _kept_out(run)}
    thresholds = {
        pool: {
            "guard": threshold_for_budget(ours(benign), BUDGET),
            "tf-idf": threshold_for_budget(theirs(benign), BUDGET),
        }
        for pool, benign in pools.items()
    }
    common = {"seeds": [options.seed], "command": command, "commit": commit}
    for name in (*RANKED, *CAUGHT, *REFUSED):
        rows = [row for row in load(name) if row.label is not None][:limit]
        y = np.array([row.label for row in rows])
        texts = [conversation(row)[-1].content for row in rows]
        scores = {"guard": ours(texts), "tf-idf": theirs(texts)}
        groups = [row.group or row.id for row in rows]
        if name in RANKED:
            yield from _ranked(name, y, scores, groups, options.seed, common)
        else:
            for pool, of_pool in thresholds.items():
                yield from _rates(name + pool, scores, of_pool, common)


def _people() -> Iterator[str]:
    for name in PEOPLE:
        for row in load(name):
            turns = conversation(row)
            yield next(turn.content for turn in turns if turn.role == "user")


def _kept_out(run: Path) -> list[str]:
    """The benign prompts of the training sources that were kept out of training, by group."""
    texts, labels = inputs(run / "calibration.parquet")
    return [text for text, label in zip(texts, labels, strict=True) if label == 0]


def _ranked(
    name: str, y: Any, scores: Any, groups: Any, seed: int, common: Any
) -> Iterator[Figure]:
    floor = auprc(y, scores["tf-idf"])
    for who, values in scores.items():
        interval = bootstrap(auprc, y, values, groups=groups, seed=seed)
        target = f"> {floor:.4f} (TF-IDF)" if who == "guard" else ""
        yield Figure.of(f"{name}: AUPRC, {who}", interval, unit="", target=target, **common)
    gain = bootstrap_difference(
        auprc, (y, scores["guard"]), (y, scores["tf-idf"]), groups=groups, seed=seed
    )
    yield Figure.of(f"{name}: AUPRC, guard - tf-idf", gain, unit="", target="", **common)


def _rates(name: str, scores: Any, thresholds: Any, common: Any) -> Iterator[Figure]:
    what = "false refusals" if name.startswith(REFUSED) else "recall"
    stopped = {who: values >= thresholds[who].logit for who, values in scores.items()}
    floor = float(stopped["tf-idf"].mean())
    sign = "<" if what == "false refusals" else ">"
    for who, flags in stopped.items():
        rate = clopper_pearson(int(flags.sum()), len(flags))
        target = f"{sign} {floor:.4f} (TF-IDF)" if who == "guard" else ""
        yield Figure.of(
            f"{name}: {what} at 1 % false refusals, {who}", rate, unit="", target=target, **common
        )
