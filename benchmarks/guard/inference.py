"""Ways to run the shipped guard's models on a processor: speed beside torch's float32, and whether
the guard still ranks as with float32.

SmolLM2's first 20 blocks, of which the shipped guard's head reads layers 12, 16 and 20, and MiniLM:
in torch, as they are served, and in ONNX Runtime and OpenVINO. The last two live in an environment
of their own below custodes' cache (in_runtime.py says what is made of a model there) and are
skipped where it cannot be made. One thread everywhere.

Speeds are of CPU time. All runtimes read the same short texts in turn, after one turn that is not
counted (it loads, and OpenVINO compiles for lengths that it has not met). Rows say the median, the
least and the greatest turn. Read the ratios, each to float32 of the same turn: on a machine that
does other work CPU seconds are noisy too. One text at a time is a whole text; a stream reads blocks
of 16 tokens through a key-value cache, which was exported to no runtime.

The head was trained on activations of *custodes int8* and is not trained anew for any runtime, so
float32 is what the target compares with, not what ranks best. A text's logit is the mean over its
tokens, as the guard takes input. Where a text's logit depends on what else is in the batch, a
stream cannot agree with the whole text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from elsewhere import Asked, environment
from in_runtime import LAYERS, RUNTIMES
from numpy.typing import NDArray
from sets import Item, people, prompts, replies, some

from custodes.classifiers import Judged, Tokens
from custodes.classifiers.features.base import layers_joined
from custodes.guard import load_guard
from custodes.measure import (
    Figure,
    Interval,
    auprc,
    bootstrap,
    bootstrap_difference,
    read_results,
    write_results,
)
from custodes.models.embedded import EmbeddedModel
from custodes.models.encoder import Encoder
from custodes.models.padding import right_padded
from custodes.types import Mode

BATCH = 16
TOKENS = 64
"""A text is cut behind so many."""
PACKAGES = (
    "onnx==1.23.2",
    "onnxruntime==1.32.0",
    "openvino==2026.4.1",
    "nncf==3.4.0",
    "onnx-ir==1.1.0",
)

Rows = list[list[int]]
Array = NDArray[np.float32]
Logits = NDArray[np.float64]
Read = Callable[[Sequence[Rows], bool], tuple[float, list[Array]]]
"""Batches of token ids -> CPU seconds, and, where asked for, what a model made of each batch:
[L, B, T, d] or [B, d]."""


@dataclass(frozen=True, slots=True)
class Size:
    """Texts that are timed, texts of each label that are judged, of them read alone, and turns."""

    timed: int
    judged: int
    alone: int
    repeats: int


SIZES = {"tiny": Size(8, 12, 6, 1), "full": Size(32, 150, 64, 3)}


def figures(options: Any, **common: Any) -> Iterator[Figure]:
    """Of the embedded model under the shipped guard's head, and of MiniLM. Each part, and what a
    runtime made of the judged texts, is kept below --work, so that an interrupted run goes on."""
    size, seed = SIZES[options.size], options.seed
    work = Path(options.work) / "inference"
    work.mkdir(parents=True, exist_ok=True)
    scorer = _scorer()
    parts: dict[str, Callable[[Elsewhere], Iterator[Figure]]] = {
        "speed": lambda elsewhere: _speed(scorer, elsewhere, size, seed=seed, **common),
        "quality": lambda elsewhere: _quality(scorer, elsewhere, size, seed=seed, **common),
        "encoder": lambda elsewhere: _encoder_speed(elsewhere, size, seed=seed, **common),
    }
    for name, part in parts.items():
        kept = work / f"{name}-{options.size}-{seed}-{scorer.version}.json"
        if not kept.is_file():
            with Elsewhere(work) as elsewhere:
                write_results(kept, list(part(elsewhere)))
        yield from read_results(kept)


def _scorer() -> Any:
    """The shipped guard's stage that reads the blocks."""
    stages = load_guard("default").cascade.stages
    scorer = next(stage.scorer for stage in stages if stage.scorer.name == "activations")
    if scorer.features.config.layers != LAYERS:
        raise ValueError(f"the guard reads layers {scorer.features.config.layers}, not {LAYERS}")
    return scorer


# Speed


def _speed(
    scorer: Any, elsewhere: Elsewhere, size: Size, *, seed: int, **common: Any
) -> Iterator[Figure]:
    rows, _ = _encoded(_asked(size.timed, seed=seed), scorer.features)
    yield from _speeds("first 20 blocks", _blocks(elsewhere), rows, size.repeats, **common)


def _encoder_speed(
    elsewhere: Elsewhere, size: Size, *, seed: int, **common: Any
) -> Iterator[Figure]:
    """In 8 bits torch reads texts one by one even where it is given many, as it is served."""
    encoder = Encoder(Encoder.Config())
    texts = [item.conversation[-1].content for item in _asked(size.timed, seed=seed)]
    rows = sorted((encoder.framed(encoder.encode(text)[0][:TOKENS]) for text in texts), key=len)
    yield from _speeds("MiniLM", _encoders(elsewhere), rows, size.repeats, **common)


def _speeds(
    model: str, runtimes: dict[str, Read], rows: Rows, repeats: int, **common: Any
) -> Iterator[Figure]:
    """Tokens, padding left out, for a CPU second; all runtimes in turn."""
    ways = {f"batches of {BATCH}": _batches(rows, BATCH), "one text at a time": _batches(rows, 1)}
    spent: dict[tuple[str, str], list[float]] = {}
    for turn in range(repeats + 1):
        for name, read in runtimes.items():
            for way, batches in ways.items():
                seconds, _ = read(batches, False)
                if turn:  # the first loads and warms up
                    spent.setdefault((way, name), []).append(seconds)
    tokens = sum(map(len, rows))
    for (way, name), found in spent.items():
        seconds, plain = np.array(found), np.array(spent[way, "torch float32"])
        row = f"{model}, {way}, {name}"
        speed = _middle(tokens / seconds)
        yield Figure.of(f"{row}: tokens for a CPU second", speed, unit="1/s", **common)
        if name != "torch float32":
            yield Figure.of(
                f"{row}: times as fast as torch float32", _middle(plain / seconds), **common
            )
    yield Figure.of(f"{model}: tokens timed", float(tokens), **common)


def _middle(values: NDArray[np.float64]) -> Interval:
    """The median of the turns, with the least and the greatest."""
    return Interval(float(np.median(values)), float(values.min()), float(values.max()))


# Quality


def _quality(
    scorer: Any, elsewhere: Elsewhere, size: Size, *, seed: int, **common: Any
) -> Iterator[Figure]:
    """AUPRC beside float32's, how far logits are from float32's, and from what they are where a
    text is read alone."""
    few = size.judged // 2
    harmful = [
        item
        for name in ("advbench", "harmbench")
        for item in some([i for i in prompts(name) if i.label == 1], few, seed=seed)
    ]
    rows, items = _encoded([*harmful, *some(people(), size.judged, seed=seed)], scorer.features)
    chosen = np.linspace(0, len(rows) - 1, size.alone).astype(int)
    logits: dict[str, Logits] = {}
    for name, read in _blocks(elsewhere).items():
        kept = elsewhere.work / f"{name}-{size.judged}-{seed}-{scorer.version}.npz"
        if not kept.is_file():
            alone = _logits(scorer, read, [rows[i] for i in chosen], 1)
            np.savez(kept, alone=alone, batched=_logits(scorer, read, rows, BATCH))
        with np.load(kept) as arrays:
            alone, logits[name] = arrays["alone"], arrays["batched"]
        yield from _ranking(name, items, logits, seed=seed, **common)
        apart = float(np.abs(logits[name][chosen] - alone).max())
        row = f"harmful logit, {name}: greatest distance, alone and in a batch"
        yield Figure.of(row, apart, **common)
    yield Figure.of("harmful logit: texts", float(len(items)), **common)


def _ranking(
    name: str, items: Sequence[Item], logits: dict[str, Logits], *, seed: int, **common: Any
) -> Iterator[Figure]:
    labels = np.array([item.label for item in items])
    groups = [item.group for item in items]
    found, plain = logits[name], logits["torch float32"]
    row = f"harmful logit, {name}"
    if name == "torch float32":
        area = bootstrap(auprc, labels, found, groups=groups, seed=seed)
        yield Figure.of(f"{row}: AUPRC", area, **common)
        return
    above = bootstrap_difference(auprc, (labels, found), (labels, plain), groups=groups, seed=seed)
    yield Figure.of(f"{row}: AUPRC above torch float32's", above, target="0 +- 0.002", **common)
    far = float(np.abs(found - plain).mean())
    yield Figure.of(f"{row}: mean distance from torch float32's", far, **common)


def _logits(scorer: Any, read: Read, rows: Rows, size: int) -> Logits:
    """The mean over a text's tokens, which is how the guard takes up to 256 tokens of input."""
    batches = _batches(rows, size)
    begin = len(scorer.features.prefix((), Mode.INPUT))
    found = []
    for batch, states in zip(batches, read(batches, True)[1], strict=True):
        for row, of_text in zip(batch, states.swapaxes(0, 1), strict=True):
            values = layers_joined(of_text[:, : len(row)])[begin:]
            tokens = Tokens(np.arange(len(values)), values)
            found.append(scorer.head.logits(tokens)[:, 0].astype(np.float64).mean())
    return np.array(found)


# Texts


def _asked(count: int, *, seed: int) -> list[Item]:
    """Short requests as they come: half of them people's, the rest harmful and AlpacaEval's."""
    alpaca = [Item(item.conversation[:1], 0, item.group) for item in replies("alpaca_eval")]
    return [
        *some(people(), count // 2, seed=seed),
        *some(prompts("advbench"), count // 4, seed=seed),
        *some(alpaca, count // 4, seed=seed),
    ]


def _encoded(items: Sequence[Item], features: Any) -> tuple[Rows, list[Item]]:
    """Token ids as the guard reads a text, behind the role, and the items; shortest first."""
    found = []
    for item in items:
        prefix, ids, _ = features.token_ids(Judged(item.conversation, Mode.INPUT), TOKENS)
        found.append((prefix + ids, item))
    found.sort(key=lambda pair: len(pair[0]))
    return [row for row, _ in found], [item for _, item in found]


def _batches(rows: Rows, size: int) -> list[Rows]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


# Runtimes


def _blocks(elsewhere: Elsewhere) -> dict[str, Read]:
    """SmolLM2's first blocks in every runtime, by its name; torch float32 first."""
    kinds = {"torch float32": "float32", "torch bfloat16": "bfloat16", "custodes int8": "int8"}
    return {name: _in_torch(kind) for name, kind in kinds.items()} | elsewhere.all("smollm2")


def _in_torch(kind: Any) -> Read:
    model = EmbeddedModel(EmbeddedModel.Config(threads=1, dtype=kind, batch_size=BATCH))

    def run(batch: Rows) -> Array:
        found = model.token_activations(batch, LAYERS)
        states = np.zeros((len(batch), len(LAYERS), max(map(len, batch)), model.width), np.float32)
        for own, values in zip(states, found, strict=True):
            own[:, : values.shape[1]] = values
        return states.swapaxes(0, 1)

    return _timing(run)


def _encoders(elsewhere: Elsewhere) -> dict[str, Read]:
    """MiniLM in every runtime; it frames a text itself in torch."""
    found = {}
    for kind in ("float32", "int8"):
        encoder = Encoder(Encoder.Config(precision=kind, batch_size=BATCH))
        found[f"torch {kind}"] = _timing(
            lambda batch, encoder=encoder: encoder.embed([row[1:-1] for row in batch])
        )
    return found | elsewhere.all("minilm")


def _timing(run: Callable[[Rows], Array]) -> Read:
    def read(batches: Sequence[Rows], keep: bool) -> tuple[float, list[Array]]:
        begun = process_time()
        found = [run(batch) for batch in batches]
        return process_time() - begun, found if keep else []

    return read


class Elsewhere:
    """The process that runs models in the other runtimes; none where they cannot be had."""

    def __init__(self, work: Path) -> None:
        self.work = work
        python = environment("inference", PACKAGES, ours_too=True)
        script = str(Path(__file__).with_name("in_runtime.py"))
        command = [str(python), script, str(work)]
        self._process = Asked(command, work / "runtimes.log") if python is not None else None

    def all(self, model: str) -> dict[str, Read]:
        """A model in each of its runtimes, by the runtime's name."""
        if self._process is None:
            return {}
        return {name: self._reading(self._process, model, name) for name in RUNTIMES}

    def _reading(self, process: Asked, model: str, runtime: str) -> Read:
        def read(batches: Sequence[Rows], keep: bool) -> tuple[float, list[Array]]:
            given, made = self.work / "given.npz", self.work / "made.npz"
            arrays = {}
            for i, batch in enumerate(batches):
                ids, present = right_padded(batch, "cpu")
                arrays |= {f"ids{i}": ids.numpy(), f"present{i}": present.numpy()}
            np.savez(given, **arrays)
            question: dict[str, Any] = {"model": model, "runtime": runtime, "inputs": str(given)}
            question["outputs"] = str(made) if keep else None
            seconds = float(json.loads(process(json.dumps(question))))
            if not keep:
                return seconds, []
            with np.load(made) as states:
                return seconds, [states[f"states{i}"] for i in range(len(batches))]

        return read

    def __enter__(self) -> Elsewhere:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None:
            self._process.__exit__(*error)
