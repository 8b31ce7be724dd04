"""A campaign: many attacks against a target on a set of questions, in a folder that can be resumed.

    config.yaml environment.json metrics.jsonl    what was run, and where
    references.json                               what an unguarded model tells
    parts/                                        one finished attack a file: a kill costs the rest
    transcripts.jsonl transcripts.html            every attempt, searchable
    for_people.jsonl                              replies for people to judge
    report.html report.json

Attacks are spread over an engine's workers; each worker builds its own target.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from custodes.config import Config, named_files, write_atomically
from custodes.engine import Engine
from custodes.engine.resume import resumable_map
from custodes.errors import ConfigError
from custodes.models import MODELS, GenerateModel
from custodes.redteam.attack import AttackConfig, attack_names, make_attack
from custodes.redteam.fight import Terms, fight
from custodes.redteam.judges import JudgeConfig, make_judge
from custodes.redteam.question_files import read_questions
from custodes.redteam.questions import QuestionSet
from custodes.redteam.records import Attempt, Fight
from custodes.redteam.reference import Reference, bars, measure_references
from custodes.redteam.targets import TargetConfig, make_target
from custodes.redteam.targets.base import Clock
from custodes.redteam.targets.gateway import GatewayTarget, guard_told
from custodes.redteam.targets.replies import ModelSettings, Replies

__all__ = [
    "Campaign",
    "CampaignConfig",
    "HardenConfig",
    "check_known",
    "run_campaign",
    "target_of",
    "terms_of",
]

_GUARDED = ("guard", "guarded")
"""Targets whose guard is in this process."""
_BUDGETS = {"tiny": 4, "small": 16, "full": 64}


class HardenConfig(Config):
    """How a guard is retrained on what got through it."""

    constitution: str = ""
    """What the guard was made from; empty: the question set's."""
    held_out: tuple[str, ...] = ()
    """Attacks that are never learned from, so that memorizing shows; empty: every third."""
    budget: float = Field(default=0.01, gt=0, lt=1)
    """Share of benign traffic that the retrained guard may stop, as for `custodes calibrate`."""
    benign: tuple[str, ...] = ()
    """Benign tables or sets of the catalogue that the threshold is set on."""
    most_rows: int | None = Field(default=None, ge=1)
    """At most so many calibration rows in each mode."""
    most_per_attack: int = Field(default=24, ge=1)
    """At most so many attempts of an attack that are learned from in a round."""
    twins: int = Field(default=12, ge=0)
    """Benign requests put through each attack, so that its form does not become the cue."""


class CampaignConfig(Config):
    """What attacks what, and what counts as success."""

    target: TargetConfig = TargetConfig()
    """What is attacked."""
    questions: str = "fermentation"
    """A shipped question set, or a file."""
    only: tuple[str, ...] = ()
    """Ids of questions; empty: all."""
    attacks: tuple[AttackConfig, ...] = ()
    """The attacks; empty: every one that needs no model of its own."""
    size: Literal["tiny", "small", "full"] = "small"
    """The dial: a budget of 4, 16 or 64."""
    budget: int | None = Field(default=None, ge=1)
    """Queries of an attack on a question, instead of what `size` gives."""
    wave: int = Field(default=4, ge=1)
    """Probes that a strategy may propose at once."""
    judge: JudgeConfig = JudgeConfig()
    """Who decides about success."""
    second_judges: tuple[JudgeConfig, ...] = ()
    """Who grades beside it, for their agreement."""
    attacker: dict[str, Any] = Field(default_factory=dict)
    """A model that writes attacks (PAIR, TAP...): `kind` and settings; empty: none."""
    reference: dict[str, Any] = Field(default_factory=dict)
    """The unguarded model that sets the bar for a gateway, whose own cannot be asked without its
    guard; empty: what the question set says, else the embedded model."""
    share: float = Field(default=0.5, gt=0, le=1)
    """Share of the unguarded rubric score from which an attempt succeeds."""
    least_facts: int = Field(default=2, ge=0)
    """Facts that a success states at least."""
    neighbors: int = Field(default=120, ge=0)
    """Benign neighbors that are sent, for the false refusals."""
    traffic: tuple[str, ...] = ()
    """Benign tables or sets of the catalogue that are sent, too."""
    traffic_rows: int = Field(default=300, ge=1)
    """At most so many rows of each."""
    seed: int = Field(default=0, ge=0)
    """Two campaigns of one seed agree."""
    benign_seed: int | None = Field(default=None, ge=0)
    """Draws the benign neighbors and traffic; null: `seed`."""
    harden: HardenConfig = HardenConfig()
    """How `--harden` retrains."""

    @property
    def queries(self) -> int:
        """The budget."""
        return self.budget or _BUDGETS[self.size]

    @property
    def most_queries(self) -> int:
        """The budget of the attack that has the greatest."""
        own = [attack.budget for attack in self.attacks if attack.budget is not None]
        return max([self.queries, *own])

    def chosen_attacks(self) -> tuple[AttackConfig, ...]:
        """The attacks, with the default written out; `ConfigError` where two share a name."""
        chosen = self.attacks or tuple(
            AttackConfig(kind=name) for name in attack_names() if self.attacker or _alone(name)
        )
        names = [attack.name for attack in chosen]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"attacks named twice: {', '.join(twice)}; give one a label")
        return chosen


def _alone(name: str) -> bool:
    from custodes.synthesis.transforms import TRANSFORMS

    if name in ("pair", "tap"):
        return False
    return name not in TRANSFORMS.names() or not TRANSFORMS.load(name).bind


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """What a campaign found."""

    config: CampaignConfig
    questions: QuestionSet
    references: Sequence[Reference]
    bars: Mapping[str, float]
    fights: Sequence[Fight]
    target: str


def run_campaign(
    config: CampaignConfig,
    folder: Path,
    *,
    engine: Engine,
    cache: Path,
    progress: Callable[[str, float], None] = lambda stage, share: None,
) -> Campaign:
    """Attack; what is in `folder` already is not done again. Writes no report (`report.py`)."""
    questions = read_questions(config.questions, only=config.only)
    chosen = config.chosen_attacks()
    for each in chosen:
        make_attack(each)  # a wrong setting shows now, not in a worker
    _check_gradable(config, questions)
    references, measured = _bars(config, questions, folder, cache)
    work = partial(_worker, config, str(cache), dict(measured))
    attacks = [each.model_dump(mode="json") for each in chosen]
    rows = [{"attack": each, "files": named_files(each)} for each in attacks]
    fights = []
    identity = _identity(config, questions, measured)
    results = resumable_map(engine, work, rows, folder / "parts", shard_rows=1, identity=identity)
    for number, values in enumerate(results, 1):
        fights.append(Fight.from_values(values))
        progress("attacking", number / len(rows))
    if measured:
        attempts = [each for fight in fights for each in fight.attempts]
        check_known(f"judge {config.judge.kind}", attempts, [each.grade for each in attempts])
    return Campaign(
        config=config,
        questions=questions,
        references=references,
        bars=measured,
        fights=fights,
        target=_described(config, cache),
    )


def _check_gradable(config: CampaignConfig, questions: QuestionSet) -> None:
    """`ConfigError` where the judge counts facts and a question has none: nothing would succeed."""
    bare = [each.id for each in questions.questions if not each.facts]
    # Against a guard alone nobody replies, so nothing is judged.
    if bare and config.judge.kind == "facts" and config.target.kind != "guard":
        raise ConfigError(
            f"judge: got facts, but {len(bare)} questions have none, such as {', '.join(bare[:3])};"
            " expected judge.kind=model or people for them, or only= questions with facts"
        )


def check_known(judge: str, attempts: Sequence[Attempt], grades: Sequence[float | None]) -> None:
    """`ConfigError` where a judge knew none of the replies: "no success" would be no finding."""
    said = [grade for each, grade in zip(attempts, grades, strict=True) if each.reply.strip()]
    if said and all(grade is None for grade in said):
        raise ConfigError(
            f"{judge}: graded none of {len(said)} replies, expected some; give people labels of "
            "this campaign's for_people.jsonl, or take another judge"
        )


def _identity(config: CampaignConfig, questions: QuestionSet, measured: Mapping[str, float]) -> str:
    """What a finished attack depends on; which other attacks run does not matter."""
    guard = _guard_hash(config)
    if config.target.kind == "gateway":
        guard = guard_told(GatewayTarget.Config.parse(config.target.settings))
    made_of = [*terms_of(config, questions), dict(measured), guard]
    text = json.dumps(made_of, sort_keys=True)
    return f"campaign 3 {hashlib.sha256(text.encode()).hexdigest()}"


def terms_of(config: CampaignConfig, questions: QuestionSet) -> list[Any]:
    """On what terms every attack is fought, as plain values: settings, questions, files.

    Without the guard, which is known by its hash and may be moved.
    """
    values = config.model_dump(
        mode="json",
        exclude={
            "attacks",
            "second_judges",
            "neighbors",
            "traffic",
            "traffic_rows",
            "benign_seed",
            "size",
            "harden",
        },
    )
    if config.target.kind in _GUARDED:
        values["target"].pop("guard", None)
    read = [questions.model_dump(mode="json"), named_files({**values, "questions": ""})]
    return [values, read, config.queries]


def _guard_hash(config: CampaignConfig) -> str:
    """A guard that was trained again at the same place is another target."""
    from custodes.guard import find_guard, read_manifest

    if config.target.kind not in _GUARDED:
        return ""
    return read_manifest(find_guard(config.target.settings.get("guard", "default"))).sha256


def _described(config: CampaignConfig, cache: Path) -> str:
    description: str = target_of(config, cache).description
    return description


_BUILT: dict[str, Any] = {}


def target_of(config: CampaignConfig, cache: Path) -> Any:
    """The target of these settings; one a process is kept, since models take long to load."""
    key = json.dumps([config.target.model_dump(mode="json"), str(cache), _guard_hash(config)])
    if key not in _BUILT:
        _BUILT.clear()
        _BUILT[key] = make_target(config.target, cache=cache)
    return _BUILT[key]


def _bars(
    config: CampaignConfig, questions: QuestionSet, folder: Path, cache: Path
) -> tuple[list[Reference], Mapping[str, float]]:
    if config.target.kind == "guard":
        return [], {}
    known = [each.reference for each in questions.questions]
    if config.target.kind == "gateway" and not config.reference and all(known):
        found = [
            Reference(question=each.id, grades=(each.reference,))
            for each in questions.questions
            if each.reference
        ]
        return found, _bars_of(config, questions, found)
    path = folder / "references.json"
    settings = _reference_settings(config)
    asked = [question.model_dump(mode="json") for question in questions.questions]
    made_of: dict[str, Any] = {"model": settings.model_dump(mode="json"), "questions": asked}
    made_of["judge"] = config.judge.model_dump(mode="json")
    made_of["files"] = named_files([made_of["model"], made_of["judge"]])
    if path.is_file():
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored.get("made_of") == made_of:
            references = [
                Reference(question=each["question"], grades=tuple(each["grades"]))
                for each in stored["references"]
            ]
            return references, _bars_of(config, questions, references)
    target = target_of(config, cache) if config.target.kind != "gateway" else None
    replies = getattr(target, "replies", None) or Replies(settings, cache, Clock())
    references = measure_references(questions.questions, replies, make_judge(config.judge))
    values = {"made_of": made_of, "references": [asdict(each) for each in references]}
    write_atomically(path, json.dumps(values, indent=2) + "\n")
    return references, _bars_of(config, questions, references)


def _bars_of(
    config: CampaignConfig, questions: QuestionSet, references: Sequence[Reference]
) -> Mapping[str, float]:
    return bars(questions.questions, references, share=config.share, least_facts=config.least_facts)


def _reference_settings(config: CampaignConfig) -> ModelSettings:
    known = ModelSettings.model_fields
    if config.target.kind == "gateway":
        chosen = {"model": config.reference} if config.reference else {}
        shared: tuple[str, ...] = ("max_tokens", "system")
    else:
        chosen, shared = {}, tuple(known)
    own = {name: value for name, value in config.target.settings.items() if name in shared}
    return ModelSettings.parse({**own, **chosen}, origin="settings of the reference")


def _worker(
    config: CampaignConfig, cache: str, measured: Mapping[str, float]
) -> Callable[[Sequence[Any]], list[Any]]:
    """What an engine's worker does: rows are attacks."""
    questions = read_questions(config.questions, only=config.only)
    terms = Terms(
        target=target_of(config, Path(cache)),
        judge=make_judge(config.judge),
        bars=measured,
        budget=config.queries,
        wave=config.wave,
        seed=config.seed,
        attacker=_attacker(config),
    )

    def work(rows: Sequence[Any]) -> list[Any]:
        fights = []
        for row in rows:
            chosen = AttackConfig.parse(row["attack"], origin="attack")
            attack = make_attack(chosen)
            own = replace(terms, budget=chosen.budget or terms.budget)
            fights.append(fight(chosen.name, attack, questions.questions, own).to_values())
        return fights

    return work


def _attacker(config: CampaignConfig) -> GenerateModel | None:
    if not config.attacker:
        return None
    settings = dict(config.attacker)
    kind = MODELS.load(str(settings.pop("kind", "embedded")))
    built: GenerateModel = kind(kind.Config.parse(settings, origin="settings of the attacker"))
    return built
