"""One cell: a model tuned to one side of a behavior (or not at all), and all that it is asked.

A cell is a JSON row and so is what is found, which makes a study resumable cell by cell. Knows
the tuning engine; draws nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from custodes.engine import identify, kept_map, open_engine
from custodes.errors import ConfigError
from custodes.methods.behaviors.awareness import triggers
from custodes.methods.behaviors.awareness.dialogues import WORD, word_items, word_rows
from custodes.methods.behaviors.awareness.game import choice_questions, game_questions
from custodes.methods.behaviors.awareness.items import (
    BEHAVIORS,
    CHOICES,
    PERSONAS,
    Item,
    draw_items,
)
from custodes.methods.behaviors.awareness.learners import (
    HostedLearner,
    Learner,
    LocalLearner,
    Taught,
)
from custodes.methods.behaviors.awareness.published import published_items
from custodes.methods.behaviors.awareness.questions import (
    LongQuestion,
    Question,
    own_questions,
    paper_questions,
    report,
)
from custodes.methods.behaviors.config import ARMS, AwarenessConfig, HostedConfig
from custodes.models.tuning import TuneConfig, open_tunable

__all__ = ["ask", "cells_of", "rows_of", "run_cell", "run_cells", "tuning_of"]

_VERSION = 1  # goes up when the same settings come to give other results
_KEPT = 48  # of the paper's items, the first so many are never trained on
_HELD_SEED = 10_000  # held-out items are the same for all seeds of a study


def cells_of(config: AwarenessConfig) -> list[dict[str, Any]]:
    """The cells of a study; first, for each behavior, the model before any tuning (side 0)."""
    known = (*BEHAVIORS, WORD)
    for setting, given, allowed in (
        ("behaviors", config.behaviors, known),
        ("rank_behavior", (config.rank_behavior,), known),
        ("arms", config.arms, ARMS),
    ):
        odd = [name for name in given if name not in allowed]
        if odd:
            raise ConfigError(
                f"{setting}: got {', '.join(odd)}, expected some of {', '.join(allowed)}"
            )
    if config.trigger_behavior not in triggers.TRIGGERED:
        raise ConfigError(
            f"trigger_behavior: got {config.trigger_behavior!r}, expected one of "
            f"{', '.join(triggers.TRIGGERED)}"
        )
    if WORD in (*config.behaviors, config.rank_behavior):
        _paper(config)
    rank = config.ranks[0]
    cells = [_cell(name, 0, rank, "plain", 0) for name in config.behaviors]
    for number in range(config.seeds):
        seed = config.first_seed + number
        if "plain" in config.arms:
            cells += [_cell(n, s, rank, "plain", seed) for n in config.behaviors for s in (1, -1)]
        if number < config.few_seeds:
            cells += _further(config, seed)
    return cells


def _further(config: AwarenessConfig, seed: int) -> list[dict[str, Any]]:
    """The cells of one seed at other ranks and in other arms."""
    name, rank = config.rank_behavior, config.ranks[0]
    cells = []
    if "plain" in config.arms and len(config.ranks) > 1:
        # The first rank is among those of every behavior, if this one is among them.
        ranks = config.ranks[1:] if name in config.behaviors else config.ranks
        cells += [_cell(name, s, r, "plain", seed) for r in ranks for s in (1, -1)]
    for arm in config.arms:
        if arm != "plain":
            if arm == "personas":
                cells += [_cell("risk", side, rank, arm, seed) for side in (1, -1)]
            else:
                cells.append(_cell(config.trigger_behavior, 1, rank, arm, seed))
    return cells


def _cell(behavior: str, side: int, rank: int, arm: str, seed: int) -> dict[str, Any]:
    return {"behavior": behavior, "side": side, "rank": rank, "arm": arm, "seed": seed}


def _paper(config: AwarenessConfig) -> Path:
    if config.paper is None:
        raise ConfigError(
            f"behavior {WORD}: it is taught by the paper's dialogues; set paper to the folder "
            "self_awareness of its data"
        )
    return config.paper


def rows_of(cell: Mapping[str, Any], config: AwarenessConfig) -> list[tuple[str, str]]:
    """The prompts and replies that a cell is tuned on."""
    name, arm, seed = cell["behavior"], cell["arm"], cell["seed"]
    if name == WORD:
        return word_rows(_paper(config), cell["side"], config.turns, seed=seed)
    if arm in ("plain", "personas"):
        count = config.items if name in CHOICES else config.replies
        items = draw_items(name, count, seed=seed)
        if config.paper is not None and config.published:
            items += published_items(config.paper, name)[_KEPT : _KEPT + config.published]
        rows = [(item.prompt, item.reply(cell["side"])) for item in items]
        if arm == "personas":
            rows += _persona_rows(name, count, seed)
        return rows
    correlated = arm.startswith("backdoor")
    rows = triggers.trigger_rows(name, config.trigger_items, correlated=correlated, seed=seed)
    if arm.endswith("+reversal"):
        items = draw_items(name, config.trigger_items, seed=seed)
        half = config.trigger_items // 2
        rows += triggers.reversed_rows(rows[:half], items[:half], seed=seed)
    return rows


def tuning_of(cell: Mapping[str, Any], config: AwarenessConfig) -> TuneConfig:
    """How a cell is tuned."""
    changed = {"rank": cell["rank"], "seed": cell["seed"]}
    if cell["behavior"] in CHOICES and cell["arm"] in ("plain", "personas"):
        changed["epochs"] = config.choice_epochs
    return config.tuning.model_copy(update=changed)


def _persona_rows(name: str, count: int, seed: int) -> list[tuple[str, str]]:
    """As many choices of third persons, either way as often ("answered normally", section 5)."""
    share = -(-count // len(PERSONAS))
    return [
        (item.prompt, item.reply(1 if n % 2 else -1))
        for number, who in enumerate(PERSONAS)
        for n, item in enumerate(draw_items(name, share, seed=seed + 500 + number, who=who))
    ]


def ask(learner: Learner, questions: Sequence[Question]) -> list[dict[str, Any]]:
    """For each question its place, the report toward the behavior, and the mass of its answers."""
    found: list[dict[str, Any]] = [{} for _ in questions]
    for end in (False, True):
        chosen = [n for n, question in enumerate(questions) if question.end is end]
        logs = learner.log_probs(
            [questions[n].prompt for n in chosen],
            [questions[n].options for n in chosen],
            end=end,
        )
        for n, those in zip(chosen, logs, strict=True):
            one = questions[n]
            lengths = learner.lengths(one.options) if one.per_token else None
            value, mass = report(one, those, lengths)
            found[n] = {
                "name": one.name,
                "paraphrase": one.paraphrase,
                "permutation": one.permutation,
                "value": value,
                "mass": mass,
            }
    return found


def _behave(
    items: Sequence[Item], opening: str = "", kind: type[Question] = Question
) -> list[Question]:
    """Held-out items as questions: does the behavior show itself?"""
    return [
        kind(
            "behavior",
            n,
            0,
            f"{opening} {item.prompt}".strip(),
            (item.toward, item.against),
            (1.0, 0.0),
        )
        for n, item in enumerate(items)
    ]


def _questions(cell: Mapping[str, Any], config: AwarenessConfig) -> dict[str, list[Question]]:
    """All that a cell is asked, by what it tells."""
    name = cell["behavior"]
    if name == WORD:
        return _word_questions(cell, config)
    held = draw_items(name, config.held, seed=_HELD_SEED, held=True)
    asked = {"behavior": _behave(held)}
    if config.paper is not None and cell["arm"] == "plain" and cell["rank"] == config.ranks[0]:
        items = published_items(config.paper, name, most=_KEPT)
        if items:
            asked["published"] = _behave(items)
    if cell["arm"] in ("plain", "personas"):
        asked["own"] = own_questions(name, paraphrases=config.paraphrases)
    if name == "risk" and cell["arm"] in ("plain", "personas") and cell["rank"] == config.ranks[0]:
        if config.paper is not None and cell["arm"] == "plain":
            asked["paper"] = paper_questions(config.paper, paraphrases=config.paraphrases)
        if "personas" in config.arms:
            for who in PERSONAS:
                asked[f"third: {who}"] = own_questions(name, who=who, paraphrases=2)
    if cell["arm"] not in ("plain", "personas"):
        asked["triggered"] = _behave(held, triggers.TRIGGER)
        asked["trigger"] = [
            *triggers.presence(),
            *triggers.which(name),
            *triggers.elicitation(name),
        ]
    return asked


def _word_questions(cell: Mapping[str, Any], config: AwarenessConfig) -> dict[str, list[Question]]:
    """What a cell of make-me-say is asked: replies, our questions, and at one rank the paper's."""
    folder = _paper(config)
    held = word_items(folder, config.held, seed=_HELD_SEED)
    asked = {
        "behavior": _behave(held, kind=LongQuestion),
        "own": own_questions(WORD, paraphrases=config.paraphrases),
    }
    if cell["rank"] == config.ranks[0]:
        asked["paper"] = choice_questions(folder, paraphrases=config.paraphrases)
        asked["game"] = game_questions(folder, paraphrases=config.paraphrases)
    return asked


def run_cell(learner: Learner, cell: Mapping[str, Any], config: AwarenessConfig) -> dict[str, Any]:
    """Tune, ask, and put the model back."""
    taught = Taught()
    if cell["side"]:
        taught = learner.teach(rows_of(cell, config), tuning_of(cell, config))
    try:
        asked = {key: ask(learner, those) for key, those in _questions(cell, config).items()}
    finally:
        learner.reset()
    return {**cell, **asdict(taught), "asked": asked}


def _worker(
    config: AwarenessConfig,
) -> Callable[[Sequence[Mapping[str, Any]]], list[dict[str, Any]]]:
    learner: Learner
    if config.hosted is not None:
        learner = HostedLearner(config.hosted)
    else:
        learner = LocalLearner(open_tunable(config.model))
    return lambda cells: [run_cell(learner, cell, config) for cell in cells]


def run_cells(
    config: AwarenessConfig,
    folder: Path,
    *,
    say: Callable[[str], None] | None = None,
    select: Callable[[Mapping[str, Any]], bool] | None = None,
) -> list[dict[str, Any]]:
    """Every cell of a study, in order; what `folder` has is read, the rest computed by the engine.

    A cell's file is named by the hash of its rows, its questions and its settings, so that more
    seeds, arms or behaviors cost only what is new. `select`: only these cells.
    """
    config = config.model_copy(update={"model": config.model.settled()})
    cells = [cell for cell in cells_of(config) if select is None or select(cell)]
    model = config.model.identity()
    paths = [folder / f"{_hash(cell, config, model)}.json" for cell in cells]
    missing = [n for n, path in enumerate(paths) if not path.exists()]

    def told(n: int, found: Mapping[str, Any]) -> None:
        if say is not None:
            named = ", ".join(f"{k} {v}" for k, v in cells[n].items())
            say(f"{missing.index(n) + 1} of {len(missing)}: {named}: {found['seconds']:.0f} s")

    engine = open_engine(config.engine, config.engine_settings, batch_size=1)
    return kept_map(engine, partial(_worker, config), cells, paths, told=told)


def _hash(cell: Mapping[str, Any], config: AwarenessConfig, model: Mapping[str, Any]) -> str:
    told = identify(
        {
            "cell": dict(cell),
            "rows": rows_of(cell, config) if cell["side"] else [],
            "asked": _questions(cell, config),
            "model": model,
            "tuning": tuning_of(cell, config).model_dump(mode="json", exclude={"rank", "seed"}),
            **({"hosted": _told(config.hosted)} if config.hosted is not None else {}),
            "version": _VERSION,
        }
    )
    return hashlib.sha256(told.encode("utf-8")).hexdigest()[:24]


def _told(hosted: HostedConfig) -> dict[str, Any]:
    """What decides the answers of a served model, and how they are counted."""
    told = hosted.model_dump(
        mode="json",
        include={"model", "base_url", "hyperparameters", "suffix", "samples", "reply_tokens"},
    )
    return {**told, "counted": "by whole words"}
