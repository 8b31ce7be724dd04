"""What the ablations train on and what they measure on; the two share no group of rows.

Trained on: generated rows of the default constitution, and ordinary traffic. Measured on: public
sets that no guard of custodes is trained on or reported on (benchmarks/guard, "How the settings
were chosen"); generated rows that were kept out; rows under transforms that training never saw;
generated exchanges. Never on a dev set.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from custodes import constitution as constitutions
from custodes.classifiers import Judged, LabelledRow
from custodes.data import conversation, load, read, split
from custodes.guard.ablations.config import AblationsConfig
from custodes.synthesis import SynthesisConfig, synthesize
from custodes.types import Conversation, Example, Label, Message, Mode

__all__ = ["CALIBRATION", "HELD_OUT", "HELD_OUT_TRANSFORMS", "Material", "gather", "readings"]

HELD_OUT_TRANSFORMS = (
    "leetspeak", "rot13", "payload_splitting", "in_json", "hypothetical", "suffix",
)  # fmt: skip
"""Transforms that only measured rows carry."""
CALIBRATION, HELD_OUT = "calibration", "held-out transforms"
_HARMFUL = {"circuit_breaker_requests": 400, "safety_tuned_llamas_eval": 400, "do_not_answer": 400}
_BENIGN = {"medical_safety_queries": 300, "alpaca_eval": 300}
_TRAFFIC = {"refusal_direction_harmless": 400}
_PEOPLE = 600
_ORDINARY = (
    "business_marketing", "coding_help", "cooking_and_home", "general_knowledge", "homework_help",
    "small_talk_relationships", "travel_and_leisure", "writing_editing",
)  # fmt: skip
"""Permitted rules whose rows stand for ordinary traffic where there are no public sets."""
_SHARES = {"train": 0.7, CALIBRATION: 0.1, "test": 0.2}

Rows = list[LabelledRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Rows by what they are for.

    To train on: `restricted`, `harmless` (the harmless constitution's) and `traffic` (ordinary
    prompts of no rule) are prompts; `exchanges` are whole exchanges, `replies` the same ones'
    replies alone. `prompts`: tables of prompts to measure on, by name. `asked`, `answered` and
    `exchanged`: the kept-out exchanges, row by row their prompts, their replies, and the whole.
    """

    restricted: Rows
    harmless: Rows
    traffic: Rows
    exchanges: Rows
    replies: Rows
    prompts: Mapping[str, Rows]
    asked: Rows
    answered: Rows
    exchanged: Rows
    calibrated: Mapping[Mode, Rows]

    @property
    def training(self) -> Rows:
        """All prompts to train on."""
        return [*self.restricted, *self.harmless, *self.traffic]

    @property
    def measured(self) -> str:
        """The table that most is measured on."""
        return next(iter(self.prompts))


def gather(config: AblationsConfig, folder: Path) -> Material:
    """Write, load and part the rows; generated ones are kept in `folder`."""
    source = constitutions.read("default")
    settings = SynthesisConfig(
        rows=config.rows,
        seed=config.seed,
        languages=("en",),
        sides={Mode.INPUT: 0.75, Mode.EXCHANGE: 0.25},
        varied=0.4,
        held_out_transforms=HELD_OUT_TRANSFORMS,
        held_out_share=0.15,
    )
    written = read(synthesize(source, settings, folder))
    held_out = [row for row in written if row.meta.get("split") == "held_out"]
    parts = split(
        [row for row in written if row.meta.get("split") != "held_out"], _SHARES, seed=config.seed
    )
    ordinary = () if config.public else _ORDINARY
    twins = {rule.id for rule in source.permitted if rule.id not in ordinary}
    benign = [row for row in _prompts(parts["train"]) if row.label == 0]
    public = _public(config) if config.public else {}
    tables = {**({"validation": public["measured"]} if public else {})}
    tables |= {
        "generated": _prompts(parts["test"]),
        HELD_OUT: _prompts(held_out),
        CALIBRATION: [*_prompts(parts[CALIBRATION]), *public.get(CALIBRATION, [])],
    }
    told = _compliant([*parts["test"], *held_out])
    return Material(
        restricted=[row for row in _prompts(parts["train"]) if row.label == 1],
        harmless=[row for row in benign if row.example.rule in twins],
        traffic=[
            *[row for row in benign if row.example.rule not in twins],
            *public.get("traffic", []),
        ],
        exchanges=readings(_exchanges(parts["train"]), Mode.EXCHANGE),
        replies=readings(_exchanges(parts["train"]), Mode.OUTPUT),
        prompts=tables,
        asked=readings(told, Mode.INPUT),
        answered=readings(told, Mode.OUTPUT),
        exchanged=readings(told, Mode.EXCHANGE),
        calibrated={
            Mode.INPUT: _prompts(parts[CALIBRATION]),
            Mode.OUTPUT: readings(_exchanges(parts[CALIBRATION]), Mode.OUTPUT),
        },
    )


def readings(examples: Sequence[Example], mode: Mode) -> Rows:
    """Exchanges as a mode reads them, with the label of the exchange."""
    found = []
    for row in examples:
        turns = conversation(row)
        read_as = {Mode.INPUT: turns[:-1], Mode.OUTPUT: turns[-1:], Mode.EXCHANGE: turns}[mode]
        found.append(_row(read_as, mode, row))
    return found


def _row(turns: Conversation, mode: Mode, example: Example) -> LabelledRow:
    label: Label = 1 if example.label == 1 else 0
    return LabelledRow(Judged(turns, mode), label, None, example)


def _prompts(examples: Iterable[Example]) -> Rows:
    turns = ((conversation(row), row) for row in examples if row.label is not None)
    return [_row(said, Mode.INPUT, row) for said, row in turns if said[-1].role == "user"]


def _exchanges(examples: Iterable[Example]) -> list[Example]:
    labelled = (row for row in examples if row.label is not None)
    return [row for row in labelled if conversation(row)[-1].role == "assistant"]


def _compliant(examples: Iterable[Example]) -> list[Example]:
    """Without refusals: what an input classifier says of a refused request is no mistake."""
    return [row for row in _exchanges(examples) if row.kind != "refused_exchange"]


def _public(config: AblationsConfig) -> dict[str, Rows]:
    """Public prompts: to train on (`traffic`), to calibrate on, and to measure on."""
    halves = split(load("arena_1k_prompts"), {"train": 0.5, "pool": 0.5}, seed=0)
    pool = [*halves["pool"], *load("self_instruct")]
    people = _some([_asked(row) for row in pool], len(pool), config.seed)
    measured = people[:_PEOPLE]
    for name, most in {**_HARMFUL, **_BENIGN}.items():
        wanted = 1 if name in _HARMFUL else 0
        rows = [_asked(row) for row in load(name) if row.label == wanted]
        measured += _some(rows, most, config.seed)
    traffic = [_asked(row) for row in halves["train"]]
    for name, most in _TRAFFIC.items():
        traffic += _some([_asked(row) for row in load(name)], most, config.seed)
    return {"traffic": traffic, CALIBRATION: people[_PEOPLE:], "measured": measured}


def _asked(example: Example) -> LabelledRow:
    """The first thing that a user says."""
    first = next(turn.content for turn in conversation(example) if turn.role == "user")
    return _row((Message("user", first),), Mode.INPUT, example)


def _some(rows: Rows, most: int, seed: int) -> Rows:
    return random.Random(seed).sample(rows, min(most, len(rows)))
