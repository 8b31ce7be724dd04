"""The ablations: which arms there are, and which of the papers' statements they test."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from custodes.classifiers import LOSSES, LabelledRow, fit_calibration
from custodes.guard.ablations.bench import Arm, Bench, Floats, Recipe
from custodes.guard.ablations.claims import Claim
from custodes.guard.ablations.material import CALIBRATION, HELD_OUT, Material
from custodes.types import Mode

__all__ = ["EXCHANGES", "STUDIES", "Study"]

V1, V2 = "Constitutional Classifiers (2501.18837)", "CC++ (2601.04603)"
EXCHANGES = "generated exchanges"
FRACTIONS = (0.03, 0.06, 0.12, 0.25, 0.5, 1.0)
WINDOWS = (1, 4, 16, 64, 256)
ESCALATED = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
BASE = "probe"

Rows = Sequence[LabelledRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One ablation. `axis` names what `Arm.x` is; `tables` are those that it is measured on."""

    name: str
    told: str
    arms: Sequence[Arm]
    claims: Sequence[Claim]
    tables: Sequence[str]
    axis: str = ""


class Setting(NamedTuple):
    """What a study has to work with."""

    bench: Bench
    material: Material

    def arm(
        self,
        name: str,
        train: Rows,
        recipe: Recipe | None = None,
        *,
        tables: Mapping[str, Rows] | None = None,
        x: float | None = None,
    ) -> Arm:
        """An arm fitted on `train`, measured on every table of prompts unless others are given."""
        over = self.material.prompts if tables is None else tables
        scores = self.bench.judged(recipe or Recipe(), train, over)
        return Arm(name=name, scores=scores, x=x, facts={"rows": len(train)})


def harmless(on: Setting) -> Study:
    """Without the harmless constitution."""
    own, all_rows = on.material, on.material.training
    without = [*own.restricted, *own.traffic]
    arms = []
    for features in ("probe", "hashed"):
        arms.append(on.arm(features, all_rows, Recipe(features)))
        arms.append(on.arm(f"{features}, harmless removed", without, Recipe(features)))
    said = "Without the harmless constitution robustness at a fixed refusal rate falls by over 40 %"
    return Study(
        name="Harmless constitution removed",
        told="Training without the rows of the permitted rules; ordinary traffic and the "
        "restricted rules stay. Rows weigh so that harmful and benign ones have the same total.",
        arms=arms,
        claims=[
            Claim(statement=said, source=f"{V1}, app. E.5", arm=features,
                  against=f"{features}, harmless removed", table=own.measured)
            for features in ("probe", "hashed")
        ],
        tables=[own.measured, "generated"],
    )  # fmt: skip


def amount(on: Setting) -> Study:
    """Fractions of the training data."""
    groups = sorted({str(_group(row)) for row in on.material.training})
    random.Random(on.bench.config.seed).shuffle(groups)
    arms = []
    for share in FRACTIONS:
        kept = set(groups[: max(1, round(share * len(groups)))])
        rows = [row for row in on.material.training if str(_group(row)) in kept]
        arms.append(on.arm(f"{share:.0%}", rows, x=share))
    first, quarter, last = "3%", "25%", "100%"
    table = on.material.measured
    return Study(
        name="Amount of data",
        told="The probe on a share of the training rows, whole groups at a time; a larger share "
        "holds the smaller.",
        arms=arms,
        claims=[
            Claim(statement="More data, more robust", source=V1, arm=last, against=first,
                  table=table),
            Claim(statement="A quarter of the data is about enough for a probe", source=V2,
                  arm=quarter, against=last, table=table, no_worse=True),
        ],
        tables=[table, "generated"],
        axis="share of the training rows",
    )  # fmt: skip


def depth(on: Setting) -> Study:
    """One layer after another."""
    layers = on.bench.config.layers
    arms = [
        on.arm(f"layer {each}", on.material.training, Recipe(layers=(each,)), x=each)
        for each in layers
    ]
    return Study(
        name="Depth of the model",
        told="A probe on one layer alone: what a model cut there would see. The papers vary the "
        "size of the classifier; depth is what can be varied of one small model.",
        arms=arms,
        claims=[
            Claim(statement="A larger classifier is more robust", source=V1,
                  arm=arms[-1].name, against=arms[0].name, table=on.material.measured)
        ],
        tables=[on.material.measured, "generated"],
        axis="layer",
    )  # fmt: skip


def augmentation(on: Setting) -> Study:
    """Without transformed rows, on transforms never trained on."""
    own = on.material
    written = [*own.restricted, *own.harmless]
    plain = [row for row in written if not row.example.transforms]
    mixed = random.Random(on.bench.config.seed).sample(written, len(plain))
    arms = []
    for features in ("probe", "hashed"):
        recipe = Recipe(features)
        arms.append(on.arm(f"{features}, augmented", [*mixed, *own.traffic], recipe))
        arms.append(on.arm(f"{features}, plain rows", [*plain, *own.traffic], recipe))
    return Study(
        name="Augmentation removed",
        told="As many generated rows in both: drawn from all, of which some carry a transform, or "
        "from those that carry none. Measured on rows under transforms that neither saw.",
        arms=arms,
        claims=[
            Claim(statement="Augmentation carries over to transforms held out", source=V1,
                  arm=f"{features}, augmented", against=f"{features}, plain rows", table=HELD_OUT)
            for features in ("probe", "hashed")
        ],
        tables=[HELD_OUT, own.measured],
    )  # fmt: skip


def loss(on: Setting) -> Study:
    """All four losses."""
    tables = {**on.material.prompts, EXCHANGES: on.material.exchanged}
    rows = [*on.material.training, *on.material.exchanges]
    arms = [on.arm(name, rows, Recipe(loss=name), tables=tables) for name in LOSSES.names()]
    return Study(
        name="Loss",
        told="The probe on prompts and exchanges, one fit a loss; all are served by the same "
        "moving average.",
        arms=arms,
        claims=[
            Claim(statement="Softmax-weighted smoothed windows beat the annealed maximum of v1",
                  source=f"{V2}, appendix on losses", arm="swim_softmax",
                  against="annealed_cummax", table=table)
            for table in (on.material.measured, EXCHANGES)
        ] + [
            Claim(statement="Annealing helps: a pure running maximum has sparse gradients",
                  source=f"{V1}, Eq. 1", arm="annealed_cummax", against="cummax",
                  table=on.material.measured)
        ],
        tables=[on.material.measured, EXCHANGES],
    )  # fmt: skip


def layers(on: Setting) -> Study:
    """How many layers the probe reads."""
    kept = on.bench.config.layers
    arms = [
        on.arm(_named(kept[-count:]), on.material.training, Recipe(layers=kept[-count:]), x=count)
        for count in range(1, len(kept) + 1)
    ]
    return Study(
        name="Layers of the probe",
        told="A linear probe on the deepest layer, and on more and more layers before it together.",
        arms=arms,
        claims=[
            Claim(statement="Fewer layers are monotonically worse", source=V2,
                  arm=arms[-1].name, against=arms[0].name, table=on.material.measured)
        ],
        tables=[on.material.measured, "generated"],
        axis="layers joined",
    )  # fmt: skip


def window(on: Setting) -> Study:
    """M, in training and in serving."""
    tables = {**on.material.prompts, EXCHANGES: on.material.exchanged}
    rows = [*on.material.training, *on.material.exchanges]
    arms = [
        on.arm(f"M = {size}", rows, Recipe(window=size), tables=tables, x=size) for size in WINDOWS
    ]
    claims = [
        Claim(statement=said, source=V2, arm="M = 16", against=f"M = {other}", table=table)
        for table in (on.material.measured, EXCHANGES)
        for said, other in (("Smoothing helps", 1), ("Too large an M hurts", WINDOWS[-1]))
    ]
    return Study(
        name="Window M",
        told="M tokens are averaged in training; the moving average of the same mean age serves. "
        f"No more than {on.bench.config.max_tokens} tokens of a text are read, so the largest M "
        "is the mean of all that is read.",
        arms=arms,
        claims=claims,
        tables=[on.material.measured, EXCHANGES],
        axis="M",
    )


def exchange(on: Setting) -> Study:
    """Exchange against input and output."""
    own = on.material
    whole = on.arm("exchange", [*own.training, *own.exchanges], tables={EXCHANGES: own.exchanged})
    asked = on.arm("input classifier reads the exchange", own.training,
                   tables={EXCHANGES: own.exchanged})  # fmt: skip
    pair = on.bench.judged(
        Recipe(),
        [*own.training, *own.replies],
        {
            "asked": own.asked,
            "answered": own.answered,
            "input": own.calibrated[Mode.INPUT],
            "output": own.calibrated[Mode.OUTPUT],
        },
    )
    prompt = _calibrated(pair["asked"], pair["input"], own.calibrated[Mode.INPUT])
    reply = _calibrated(pair["answered"], pair["output"], own.calibrated[Mode.OUTPUT])
    arms = [
        whole,
        asked,
        Arm(name="input or output", scores={EXCHANGES: np.maximum(prompt, reply)}),
        Arm(name="output alone", scores={EXCHANGES: reply}),
    ]
    return Study(
        name="Exchange against input and output",
        told="Generated exchanges, kept out of training, whose reply complies; requests and "
        "replies carry transforms in part, some of them never trained on. Input or output: the "
        "greater of two calibrated logits, of the prompt alone and of the reply alone, by one "
        "probe trained on both.",
        arms=arms,
        claims=[
            Claim(statement="Judging the reply in its context beats input + output apart",
                  source=f"{V2}, section 3", arm="exchange", against="input or output",
                  table=EXCHANGES),
            Claim(statement="An input classifier is an effective exchange classifier untrained",
                  source=f"{V2}, section 3", arm=asked.name, against="exchange",
                  table=EXCHANGES, no_worse=True),
        ],
        tables=[EXCHANGES],
    )  # fmt: skip


def cascade(on: Setting) -> Study:
    """Share escalated against quality, and the ensemble."""
    own = on.material
    hashed = on.arm("hashed", own.training, Recipe("hashed"))
    probe = on.arm("probe", own.training)
    table, calibration = own.measured, own.prompts[CALIBRATION]
    first, second = (
        _calibrated(arm.scores[table], arm.scores[CALIBRATION], calibration)
        for arm in (hashed, probe)
    )
    screened = _calibrated(hashed.scores[CALIBRATION], hashed.scores[CALIBRATION], calibration)
    benign = np.array([row.label == 0 for row in calibration])
    ordinary = np.array([row.label == 0 for row in own.prompts[table]])
    arms = [hashed, probe]
    for share in ESCALATED:
        above = np.quantile(screened[:, benign], 1 - share, axis=1)[:, None]
        onward = first > above if share < 1 else np.ones_like(first, bool)
        scores = {table: np.where(onward, (first + second) / 2, first)}
        facts = {
            "benign escalated": float(onward[:, ordinary].mean()),
            "harmful escalated": float(onward[:, ~ordinary].mean()),
        }
        arms.append(Arm(name=f"escalate {share:.0%}", x=share, scores=scores, facts=facts))
    return Study(
        name="Cascade and ensemble",
        told="Hashed n-grams judge everything and pass on the share named, of benign calibration "
        "rows; what is passed on gets the mean of both calibrated logits. Of whole texts, not of "
        "their streams.",
        arms=arms,
        claims=[
            Claim(statement="About 10 % escalated keep the quality of judging all by both",
                  source=V2, arm="escalate 10%", against="escalate 100%", table=table,
                  no_worse=True),
            Claim(statement="The mean of two logits beats the better classifier alone", source=V2,
                  arm="escalate 100%", against="probe", table=table),
        ],
        tables=[table],
        axis="share of benign rows passed on",
    )  # fmt: skip


STUDIES: Mapping[str, Callable[[Setting], Study]] = {
    "harmless": harmless,
    "amount": amount,
    "depth": depth,
    "augmentation": augmentation,
    "loss": loss,
    "layers": layers,
    "window": window,
    "exchange": exchange,
    "cascade": cascade,
}
"""Name -> ablation."""


def run(bench: Bench, material: Material) -> Iterator[Study]:
    """All of them, in order."""
    for study in STUDIES.values():
        yield study(Setting(bench, material))


def _calibrated(scores: Floats, fitted: Floats, rows: Rows) -> Floats:
    """Platt scaling, fitted seed by seed on `fitted`, the scores of calibration `rows`."""
    labels = np.array([row.label for row in rows])
    fits = [fit_calibration(each, labels) for each in fitted]
    pairs = zip(fits, scores, strict=True)
    return np.stack([fit.slope * each + fit.intercept for fit, each in pairs])


def _group(row: LabelledRow) -> str:
    return row.example.group or row.example.id


def _named(layers: Sequence[int]) -> str:
    return "layers " + ", ".join(map(str, layers)) if len(layers) > 1 else f"layer {layers[0]}"
