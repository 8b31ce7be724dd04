"""A probe on the guarded model: what it adds to a reply's cost, and what it costs to train with one
smoothing and to serve with another.

Cost: replies of the embedded model with no guard, with a probe on all of its layers, and with the
shipped guard's stage that reads a language model of its own.

Mismatch: Constitutional Classifiers++ trains with a sliding-window mean (SWiM) and serves an
exponential moving average (EMA). Probes are trained with either and served with either, on
GPTFuzz's labelled replies, parted by question. Delay: refusals that go on into a harmful reply to
the same question, so that it is known where harm begins. The embedded model (in 8 bits) reads these
replies; it did not write them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sets import Item, people, replies

from custodes.classifiers import (
    CachedFeatures,
    Head,
    Judged,
    StageConfig,
    Tokens,
    TokenScorer,
    Windows,
)
from custodes.classifiers.features.guarded import GuardedConfig, GuardedFeatures
from custodes.classifiers.fitting import HeadFit, Targets, TrainingSet
from custodes.classifiers.smoothing import ema, sliding_mean
from custodes.guard import Cascade, Edition, Guard, Policy, Stage, load_guard, watched_reply
from custodes.measure import (
    Figure,
    Interval,
    auprc,
    bootstrap,
    bootstrap_difference,
    clopper_pearson,
    read_results,
    write_results,
)
from custodes.models import Sampling
from custodes.types import Message, Mode

WINDOW = 16
"""M of CC++."""
BUDGET = 0.05
"""Share of the test's harmless replies that may be stopped, where delays are measured."""
PROMPT_TOKENS = 16
RULES = 12
"""Outputs of the head beside harm, as the shipped guard has them or thereabouts."""
LAYERS = {"all": (), "4, 8, 12": (4, 8, 12), "12": (12,), "30": (30,)}
SERVED = {"EMA": ema, "SWiM": sliding_mean}
TRAINED = {"SWiM": "swim_softmax", "EMA": "ema_softmax"}


@dataclass(frozen=True, slots=True)
class Size:
    """How much is read (replies to train on, to test on, spliced; tokens of each) and written."""

    train: int
    test: int
    spliced: int
    train_tokens: int
    test_tokens: int
    epochs: int
    written: int
    reply_tokens: int
    repeats: int


SIZES = {
    "tiny": Size(16, 16, 4, 32, 48, 2, 1, 8, 1),
    "full": Size(160, 160, 40, 80, 112, 5, 2, 32, 3),
}


def figures(options: Any, **common: Any) -> Iterator[Figure]:
    """Of the embedded model. What was measured is kept below --work, half by half, and what was
    read text by text: an interrupted run goes on."""
    size = SIZES[options.size]
    halves = {
        "cost": lambda: _cost(_features("float32"), size, **common),
        "mismatch": lambda: _mismatch(_features("int8"), size, options, **common),
    }
    for name, half in halves.items():
        kept = options.work / f"probe/{name}-{options.size}-{options.seed}.json"
        if not kept.is_file():
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_results(kept, list(half()))
        yield from read_results(kept)


def _features(dtype: str) -> GuardedFeatures:
    """All layers of the embedded model; in 8 bits it reads faster."""
    settings = {"threads": 1, "dtype": dtype}
    return GuardedFeatures(GuardedConfig(prompt_tokens=PROMPT_TOKENS, settings=settings))


# Cost


def _cost(features: GuardedFeatures, size: Size, **common: Any) -> Iterator[Figure]:
    """CPU seconds of a reply's token, greedy replies to people's prompts, runs in turn."""
    prompts = [item.conversation for item in people() if len(item.conversation[-1].content) < 200]
    sampling = Sampling(max_tokens=size.reply_tokens)
    arms = _arms(features, sampling)
    asked = prompts[: size.written]
    tokens = sum(
        len(features.model.encode("".join(features.model.stream(turns, sampling)))[0])
        for turns in asked
    )
    spent: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(size.repeats + 1):
        for name, run in arms.items():
            begun = time.process_time()
            for turns in asked:
                run(turns)
            if turn:  # the first loads and warms up
                spent[name].append((time.process_time() - begun) / tokens * 1000)
    bare = np.array(spent["no guard"])
    for name, values in spent.items():
        found = np.array(values)
        yield Figure.of(f"reply, {name}: CPU time of a token", _middle(found), unit="ms", **common)
        if name != "no guard":
            added = 100 * (found - bare) / np.median(bare)
            yield Figure.of(f"reply, {name}: added to it", _middle(added), unit="%", **common)
    yield Figure.of("reply tokens timed", float(tokens * size.repeats), **common)


def _middle(values: NDArray[np.float64]) -> Interval:
    """The median of the runs, with the least and the greatest."""
    return Interval(float(np.median(values)), float(values.min()), float(values.max()))


def _arms(features: GuardedFeatures, sampling: Sampling) -> dict[str, Callable[[Any], None]]:
    model = features.model
    first = np.zeros((features.dim, 1 + RULES), np.float32)
    probe = TokenScorer(
        name="probe",
        version="",
        rules=tuple(f"rule{i}" for i in range(RULES)),  # type: ignore[misc]
        features=features,
        head=Head(first, np.zeros(1 + RULES, np.float32)),
        windows=Windows(exchange=WINDOW),
    )
    shipped = load_guard("default")
    reads = [s for s in shipped.cascade.stages if s.scorer.name == "activations"]
    watching, reading = _guard([Stage(scorer=probe)]), _guard(reads)

    def bare(turns: Any) -> None:
        for _ in model.stream(turns, sampling):
            pass

    def probed(turns: Any) -> None:
        for _ in watched_reply(watching, model, turns, sampling):
            pass

    def second(turns: Any) -> None:
        session = reading.open(turns, Mode.EXCHANGE)
        for text in model.stream(turns, sampling):
            session.feed(text)
        session.finish()

    return {
        "no guard": bare,
        "probe on all layers": probed,
        "the shipped stage that reads a second model": second,
    }


def _guard(stages: Sequence[Stage]) -> Guard:
    """Never stops, so that every arm writes the same."""
    return Guard(
        Cascade(stages),
        Policy(action="log"),  # type: ignore[arg-type]
        edition=Edition(id="benchmark", version="1"),
        artifact="",
        clock=time.monotonic,
    )


# Mismatch


def _mismatch(
    features: GuardedFeatures, size: Size, options: Any, **common: Any
) -> Iterator[Figure]:
    cached = CachedFeatures(features, options.work / "probe")
    train, test = _parted(replies("gptfuzz_labelled_train"), size, seed=options.seed)
    spliced, starts = _spliced(test, size.spliced, seed=options.seed)
    read = _read(cached, train, size.train_tokens)
    tested = _read(cached, test, size.test_tokens)
    joined = _read(cached, spliced, size.test_tokens)
    labels = np.array([item.label for item in test])
    groups = [item.group for item in test]
    yield Figure.of("replies trained on", float(len(train)), **common)
    scores: dict[str, NDArray[np.float64]] = {}
    for trained, loss in TRAINED.items():
        head = _fit(read, train, loss, features.dim, size, options.seed)
        logits = [_harm(head, tokens) for tokens in tested]
        later = [_harm(head, tokens) for tokens in joined]
        for served, smooth in SERVED.items():
            name = f"{trained}-trained, {served}-served"
            scores[name] = np.array([_worst(each, smooth) for each in logits])
            area = bootstrap(auprc, labels, scores[name], groups=groups, seed=options.seed)
            yield Figure.of(f"gptfuzz replies, {name}: AUPRC", area, **common)
            at = np.quantile(scores[name][labels == 0], 1 - BUDGET)
            found = [_stop(each, smooth, float(at)) for each in later]
            yield from _delays(f"spliced replies, {name}", found, joined, starts, **common)
            found = [
                _stop(each, smooth, float(at))
                for each, label in zip(logits, labels, strict=True)
                if label == 1
            ]
            plain = [tokens for tokens, label in zip(tested, labels, strict=True) if label == 1]
            yield from _delays(f"harmful replies, {name}", found, plain, [0] * len(plain), **common)
    both = [(labels, scores[f"SWiM-trained, {served}-served"]) for served in ("EMA", "SWiM")]
    gap = bootstrap_difference(auprc, *both, groups=groups, seed=options.seed)
    yield Figure.of("gptfuzz replies, SWiM-trained: AUPRC of EMA above SWiM served", gap, **common)
    base = scores["EMA-trained, EMA-served"]
    for name, other in scores.items():
        if other is not base:
            gap = bootstrap_difference(
                auprc, (labels, other), (labels, base), groups=groups, seed=options.seed
            )
            yield Figure.of(f"gptfuzz replies, {name}: AUPRC above EMA, EMA", gap, **common)
    yield from _layers(read, tested, train, labels, groups, features, size, options, **common)


def _read(cached: CachedFeatures, items: Sequence[Item], limit: int) -> list[Tokens]:
    """A few at a time, so that what is read is kept soon."""
    rows = [Judged(item.conversation, Mode.EXCHANGE) for item in items]
    return [
        tokens
        for start in range(0, len(rows), 20)
        for tokens in cached.extract(rows[start : start + 20], limit=limit)
    ]


def _layers(
    read: list[Tokens],
    tested: list[Tokens],
    train: Sequence[Item],
    labels: NDArray[np.int64],
    groups: Sequence[str],
    features: GuardedFeatures,
    size: Size,
    options: Any,
    **common: Any,
) -> Iterator[Figure]:
    """Fewer layers, trained with SWiM and served with EMA."""
    width = features.model.width
    for name, layers in LAYERS.items():
        if not layers:
            continue
        columns = np.concatenate([np.arange((k - 1) * width, k * width) for k in layers])
        few = [Tokens(t.ends, t.values[:, columns]) for t in read]
        head = _fit(few, train, "swim_softmax", len(columns), size, options.seed)
        found = np.array(
            [_worst(_harm(head, Tokens(t.ends, t.values[:, columns])), ema) for t in tested]
        )
        area = bootstrap(auprc, labels, found, groups=groups, seed=options.seed)
        yield Figure.of(f"gptfuzz replies, layers {name}: AUPRC", area, **common)


def _parted(items: list[Item], size: Size, *, seed: int) -> tuple[list[Item], list[Item]]:
    """Items to train and to test on, half harmful each, no question in both."""
    rng = random.Random(seed)
    questions = sorted({item.group for item in items})
    rng.shuffle(questions)
    learned = set(questions[: round(0.6 * len(questions))])
    order = items[:]
    rng.shuffle(order)

    def some(count: int, *, inside: bool) -> list[Item]:
        chosen = [item for item in order if (item.group in learned) is inside]
        return [
            item
            for label in (0, 1)
            for item in [each for each in chosen if each.label == label][: count // 2]
        ]

    return some(size.train, inside=True), some(size.test, inside=False)


def _spliced(items: Sequence[Item], count: int, *, seed: int) -> tuple[list[Item], list[int]]:
    """Harmless replies that go on into a harmful one to the same question, and the character at
    which it begins."""
    rng = random.Random(seed)
    pairs = [
        (one, other)
        for one in items
        if one.label == 0
        for other in items
        if other.label == 1 and other.group == one.group
    ]
    rng.shuffle(pairs)
    found, starts = [], []
    for one, other in pairs[:count]:
        before = one.conversation[-1].content[:300] + "\n\n"
        text = Message("assistant", before + other.conversation[-1].content)
        found.append(Item((*one.conversation[:-1], text), 1, one.group))
        starts.append(len(before))
    return found, starts


def _fit(
    tokens: list[Tokens], items: Sequence[Item], loss: str, dim: int, size: Size, seed: int
) -> Head:
    config = StageConfig(
        name="probe", features="guarded", loss=loss, epochs=size.epochs, batch_rows=16,
        learning_rate=1e-3, rule_weight=0.0,
    )  # fmt: skip
    targets = Targets(
        labels=np.array([item.label for item in items], np.float32),
        rules=np.full(len(items), -1),
        weights=np.ones(len(items), np.float32),
        windows=np.full(len(items), WINDOW),
    )
    fit = HeadFit(config, outputs=1, seed=seed)
    return fit.run(TrainingSet(tokens=tokens, targets=targets, dim=dim), lambda share: None)


def _harm(head: Head, tokens: Tokens) -> NDArray[np.float64]:
    return head.logits(tokens)[:, 0].astype(np.float64)


def _worst(logits: NDArray[np.float64], smooth: Any) -> float:
    served = smooth(logits, WINDOW)
    return float(served[min(WINDOW, len(served)) - 1 :].max())


def _stop(logits: NDArray[np.float64], smooth: Any, at: float) -> int | None:
    """The token of the first point at the threshold."""
    served = smooth(logits, WINDOW)
    first = min(WINDOW, len(served)) - 1
    over = np.flatnonzero(served[first:] >= at)
    return first + int(over[0]) if len(over) else None


def _delays(
    name: str, stops: list[int | None], tokens: list[Tokens], starts: Sequence[int], **common: Any
) -> Iterator[Figure]:
    """Tokens from where harm begins to the stop."""
    delays = [
        stop - int(np.searchsorted(own.ends, start, side="right")) + 1
        for stop, own, start in zip(stops, tokens, starts, strict=True)
        if stop is not None
    ]
    behind = [float(delay) for delay in delays if delay > 0]
    some = Interval(*np.quantile(behind, [0.5, 0.25, 0.75])) if behind else None
    yield Figure.of(
        f"{name}: tokens of harm before the stop, median and quartiles",
        some,
        unit="tokens",
        **common,
    )
    for where, count in (("behind the onset", len(behind)), ("before", len(delays) - len(behind))):
        rate = clopper_pearson(count, len(stops))
        share = Interval(100 * rate.value, 100 * rate.low, 100 * rate.high)
        yield Figure.of(f"{name}: stopped {where}", share, unit="%", **common)
