"""The ablations of whole systems: exchange against input and output, the cascade, an ensemble."""

from __future__ import annotations

import numpy as np

from custodes.classifiers import fit_calibration
from custodes.guard.ablations.bench import Arm, Floats, Recipe
from custodes.guard.ablations.claims import Claim
from custodes.guard.ablations.material import CALIBRATION
from custodes.guard.ablations.study import EXCHANGES, V2, Rows, Study, Workplace, group_of
from custodes.guard.members import Scored, pairs, two_best
from custodes.types import Mode

__all__ = ["cascade", "exchange", "members"]

ESCALATED = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def exchange(on: Workplace) -> Study:
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


def cascade(on: Workplace) -> Study:
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


def members(on: Workplace) -> Study:
    """An ensemble's members, by single scores and by how little their errors have in common."""
    own, kept = on.material, on.bench.config.layers
    recipes = {"hashed": Recipe("hashed"), "all layers": Recipe()}
    recipes |= {f"layer {each}": Recipe(layers=(each,)) for each in kept}
    rows, calibration = own.prompts[own.measured], own.prompts[CALIBRATION]
    logits = {}
    for name, recipe in recipes.items():
        arm = on.arm(name, own.training, recipe)
        logits[name] = _calibrated(arm.scores[own.measured], arm.scores[CALIBRATION], calibration)
    scored = Scored(
        labels=np.array([row.label for row in rows]),
        logits={name: values[0] for name, values in logits.items()},
        groups=[group_of(row) for row in rows],
    )
    half = scored.half(on.bench.config.seed)
    chosen, usual = pairs(scored.of(half))[0], two_best(scored.of(half))
    table = f"{own.measured}, other half"
    arms = [Arm(name=name, scores={table: values[:, ~half]}) for name, values in logits.items()]
    for name, pair in (("chosen pair", chosen), ("two best alone", usual)):
        one, other = (logits[each][:, ~half] for each in pair.names)
        scores = {table: pair.weights[0] * one + pair.weights[1] * other}
        arms.append(Arm(name=name, scores=scores, facts={"errors correlate": pair.correlation}))
    told = ", ".join(
        f"{name}: {' + '.join(pair.names)}, {pair.weights[0]:.2f} : {pair.weights[1]:.2f}"
        for name, pair in (("chosen", chosen), ("two best alone", usual))
    )
    return Study(
        name="Members of an ensemble",
        told="Pair and weights are chosen on half of the rows by how far the mean of two logits "
        "separates the classes, given how much the two err alike (custodes ensemble), and measured "
        f"on the other half. {told}.",
        arms=arms,
        claims=[
            Claim(statement="Members whose errors have less in common make the better pair",
                  source=V2, arm="chosen pair", against="two best alone", table=table),
        ],
        tables=[table],
        own={table: [row for row, first in zip(rows, half, strict=True) if not first]},
    )  # fmt: skip


def _calibrated(scores: Floats, fitted: Floats, rows: Rows) -> Floats:
    """Platt scaling, fitted seed by seed on `fitted`, the scores of calibration `rows`."""
    labels = np.array([row.label for row in rows])
    fits = [fit_calibration(each, labels) for each in fitted]
    pairs = zip(fits, scores, strict=True)
    return np.stack([fit.slope * each + fit.intercept for fit, each in pairs])
