"""The ablations: which arms there are, and which of the papers' statements they test."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from custodes.classifiers import LOSSES
from custodes.guard.ablations.bench import Bench, Recipe
from custodes.guard.ablations.claims import Claim
from custodes.guard.ablations.material import HELD_OUT, Material
from custodes.guard.ablations.study import EXCHANGES, V1, V2, Rows, Study, Workplace, group_of
from custodes.guard.ablations.systems import cascade, exchange, members

__all__ = ["STUDIES", "run"]

FRACTIONS = (0.03, 0.06, 0.12, 0.25, 0.5, 1.0)
WINDOWS = (1, 4, 16, 64, 256)


def harmless(on: Workplace) -> Study:
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


def amount(on: Workplace) -> Study:
    """Fractions of the training data."""
    groups = sorted({group_of(row) for row in on.material.training})

    def part(share: float, seed: int) -> Rows:
        shuffled = random.Random(seed).sample(groups, len(groups))
        kept = set(shuffled[: max(1, round(share * len(groups)))])
        return [row for row in on.material.training if group_of(row) in kept]

    arms = [on.arm(f"{share:.0%}", partial(part, share), x=share) for share in FRACTIONS]
    first, quarter, last = "3%", "25%", "100%"
    table = on.material.measured
    return Study(
        name="Amount of data",
        told="The probe on a share of the training rows, whole groups at a time; each fit draws "
        "its own, a larger share holds the smaller.",
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


def depth(on: Workplace) -> Study:
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


def augmentation(on: Workplace) -> Study:
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


def loss(on: Workplace) -> Study:
    """Every loss."""
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


def layers(on: Workplace) -> Study:
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


def window(on: Workplace) -> Study:
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


STUDIES: Mapping[str, Callable[[Workplace], Study]] = {
    "harmless": harmless,
    "amount": amount,
    "depth": depth,
    "augmentation": augmentation,
    "loss": loss,
    "layers": layers,
    "window": window,
    "exchange": exchange,
    "cascade": cascade,
    "members": members,
}
"""Name -> ablation."""


def run(bench: Bench, material: Material) -> Iterator[Study]:
    """All of them, in order."""
    for study in STUDIES.values():
        yield study(Workplace(bench, material))


def _named(layers: Sequence[int]) -> str:
    return "layers " + ", ".join(map(str, layers)) if len(layers) > 1 else f"layer {layers[0]}"
