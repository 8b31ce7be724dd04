"""The loop: attack, learn from what got through, retrain, recalibrate, attack again, drawn anew.

    round-0/fresh                    the guard as it came, all attacks
    round-N/train.parquet guard/     the rows that it was trained on, the guard of this round
    made_of.txt                      a hash of the settings that the whole was begun with
    round-N/made_of.txt              a hash of what that guard is made of
    round-N/known round-N/fresh      the attacks that were learned from, drawn as before; and all
                                     attacks, drawn anew
    report.html report.json          success by round: known, fresh, never learned from

A folder that is run again goes on where it stopped.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from custodes import constitution as constitutions
from custodes.config import Run, digest, environment, load, named_files
from custodes.constitution import Constitution, constitution_hash
from custodes.data import catalogue, read, to_record, write
from custodes.data import load as load_set
from custodes.engine import Engine
from custodes.errors import ConfigError
from custodes.guard import read_manifest
from custodes.guard.build import GuardConfig, build_guard
from custodes.guard.calibration import CalibrationConfig, calibrate_guard
from custodes.measure import Interval, Plot, Plots, Prose, Report, Section, Series, Table, line_plot
from custodes.measure.report import Cell
from custodes.redteam.attack import AttackConfig
from custodes.redteam.campaign import Campaign, CampaignConfig
from custodes.redteam.conclude import conclude
from custodes.redteam.harvest import benign_twins, harvest
from custodes.redteam.made_of import check_folder, hash_of, made_before, note, terms_hash
from custodes.redteam.records import Fight
from custodes.redteam.refusals import Refusals
from custodes.redteam.tally import past_the_guard, success_per_attempt, success_rate
from custodes.types import Example

__all__ = ["Round", "harden_guard", "held_out_attacks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What came of one round. `known`: the attacks learned from, as they were drawn before."""

    number: int
    guard: Path
    fresh: Campaign
    refusals: Sequence[Refusals]
    known: Campaign | None = None
    learned: int = 0


@dataclass(kw_only=True)
class _Loop:
    config: CampaignConfig
    out: Path
    run: Path
    engine: Engine
    cache: Path
    rules: Constitution
    say: Callable[[str], None]
    held_out: frozenset[str] = frozenset()
    learned: list[Example] = field(default_factory=list)


def held_out_attacks(config: CampaignConfig) -> frozenset[str]:
    """The attacks that are never learned from; `ConfigError` where all or unknown ones are."""
    names = sorted(attack.name for attack in config.chosen_attacks())
    chosen = frozenset(config.harden.held_out or names[1::3])
    strange = sorted(chosen - set(names))
    if strange or len(chosen) == len(names):
        raise ConfigError(
            f"harden.held_out: got {', '.join(strange or sorted(chosen))}, expected some, but not "
            f"all, of {', '.join(names)}"
        )
    return chosen


def harden_guard(
    config: CampaignConfig,
    out: Path,
    *,
    run: Path,
    rounds: int,
    engine: Engine,
    cache: Path,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Harden the guard of the training run `run`, `rounds` times; the path of the report."""
    if config.target.kind != "guarded":
        raise ConfigError(
            f"--harden: got a target of the kind {config.target.kind}, expected guarded"
        )
    for name in ("train.parquet", "calibration.parquet", "config.yaml", "guard/guard.json"):
        if not (run / name).is_file():
            raise ConfigError(
                f"--run {run}: has no {name}; expected the folder that custodes train wrote"
            )
    loop = _Loop(
        config=config,
        out=out,
        run=run,
        engine=engine,
        cache=cache,
        rules=_constitution(config, run),
        say=say,
        held_out=held_out_attacks(config),
    )
    # Before anything overwrites another's record.
    terms = terms_hash(config)
    check_folder(out, terms)
    made_before(out / "round-0" / "guard", _made_of(loop))
    note(out, terms)
    folder = Run(out, config, seed=config.seed)
    found = [_first_round(loop)]
    for number in range(1, rounds + 1):
        found.append(_next_round(loop, found[-1], number))
        folder.log(event="round", **_row(found[-1], loop.held_out))
    report = _report(found, loop)
    values = {**report.values(), "rounds": [_row(each, loop.held_out) for each in found]}
    return folder.report(values, report.html())


def _constitution(config: CampaignConfig, run: Path) -> Constitution:
    from custodes.redteam.question_files import read_questions

    edition = read_manifest(run / "guard").constitution
    name = config.harden.constitution or read_questions(config.questions).constitution or edition.id
    found = constitutions.read(name)
    if edition.sha256 and constitution_hash(found) != edition.sha256:
        raise ConfigError(
            f"the guard in {run} was made from {edition}, but {name} is another text; name the "
            "one that it was made from: --set harden.constitution=PATH"
        )
    return found


def _first_round(loop: _Loop) -> Round:
    guard = _calibrated_copy(loop)
    campaign, refusals = _attack(loop, guard, loop.out / "round-0" / "fresh", seed=0)
    return Round(number=0, guard=guard, fresh=campaign, refusals=refusals)


def _calibrated_copy(loop: _Loop) -> Path:
    """The guard that is attacked first, calibrated as all later ones are, so that they compare."""
    folder = loop.out / "round-0" / "guard"
    made_of = _made_of(loop)
    if not made_before(folder, made_of):
        note(folder.parent, made_of)
        _calibrate(loop, loop.run / "guard", folder)
    return folder


def _next_round(loop: _Loop, before: Round, number: int) -> Round:
    place = loop.out / f"round-{number}"
    chosen = [a for a in loop.config.chosen_attacks() if a.name not in loop.held_out]
    fights = [fight for fight in before.fresh.fights if fight.attack not in loop.held_out]
    new = _new_rows(loop, fights, chosen, number)
    known_ids = {row.id for row in loop.learned}
    loop.learned += [row for row in new if row.id not in known_ids]
    loop.say(f"round {number}: {len(new)} rows learned, {len(loop.learned)} in all")
    guard = place / "guard"
    made_of = _made_of(loop)
    if not made_before(guard, made_of):
        note(place, made_of)
        _train(loop, place)
    fresh, refusals = _attack(loop, guard, place / "fresh", seed=number)
    known, _ = _attack(loop, guard, place / "known", seed=0, attacks=chosen, traffic=False)
    return Round(
        number=number,
        guard=guard,
        fresh=fresh,
        known=known,
        refusals=refusals,
        learned=len(loop.learned),
    )


def _made_of(loop: _Loop) -> str:
    """A hash of all that decides what guard comes out."""
    files = ("train.parquet", "calibration.parquet", "config.yaml", "guard/guard.json")
    made_of = [
        *(digest(loop.run / name) for name in files),
        loop.config.harden.model_dump(mode="json"),
        named_files(loop.config.harden.model_dump(mode="json")),
        sorted(loop.held_out),
        [to_record(row) for row in loop.learned],
    ]
    return hash_of(made_of)


def _new_rows(
    loop: _Loop, fights: Sequence[Fight], chosen: Sequence[AttackConfig], number: int
) -> list[Example]:
    settings = loop.config.harden
    from custodes.redteam.question_files import read_questions

    questions = read_questions(loop.config.questions, only=loop.config.only)
    seed = loop.config.seed + number
    rows = harvest(
        fights,
        questions,
        most=settings.most_per_attack,
        seed=seed,
        campaign=f"round-{number - 1}",  # the path may be written otherwise the next time
    )
    benign = [row for row in read(loop.run / "train.parquet") if row.kind == "benign_request"]
    return rows + benign_twins(chosen, benign, each=settings.twins, seed=seed)


def _train(loop: _Loop, place: Path) -> None:
    rows = [*read(loop.run / "train.parquet"), *loop.learned]
    place.mkdir(parents=True, exist_ok=True)
    write(place / "train.parquet", rows)
    settings = load(GuardConfig, loop.run / "config.yaml")
    draft = place / "uncalibrated"
    card = (
        f"# Guard from {loop.rules.id}@{loop.rules.version}, hardened\n\n"
        f"Trained on {len(rows)} rows, {len(loop.learned)} of them made by attacks on the guard "
        f"before it (source: custodes attack), commit {environment()['commit']}.\n"
    )
    build_guard(
        rows,
        loop.rules,
        settings,
        folder=draft,
        card=card,
        cache=loop.cache.parent / "features",
    )
    _calibrate(loop, draft, place / "guard")
    shutil.rmtree(draft)


def _calibrate(loop: _Loop, source: Path, folder: Path) -> None:
    settings = loop.config.harden
    benign = [
        row
        for name in settings.benign
        for row in (load_set(name) if name in catalogue() else read(Path(name)))
        if row.label == 0
    ]
    folder.parent.mkdir(parents=True, exist_ok=True)
    calibrate_guard(
        source,
        read(loop.run / "calibration.parquet"),
        CalibrationConfig(budget=settings.budget, most_rows=settings.most_rows),
        folder=folder,
        benign=benign,
        cache=loop.cache.parent / "features",
    )


def _attack(
    loop: _Loop,
    guard: Path,
    folder: Path,
    *,
    seed: int,
    attacks: Sequence[AttackConfig] = (),
    traffic: bool = True,
) -> tuple[Campaign, list[Refusals]]:
    target = loop.config.target
    extra = {**target.settings, "guard": str(guard)}
    changes: dict[str, object] = {
        "target": type(target).parse({"kind": target.kind, **extra}),
        "seed": loop.config.seed + 1000 * seed,
        "benign_seed": loop.config.seed,  # what is refused compares from round to round
    }
    if attacks:
        changes["attacks"] = tuple(attacks)
    if seed or attacks:  # people can have labeled round 0 only; what a new guard lets out is new
        second = loop.config.second_judges
        changes["second_judges"] = tuple(each for each in second if each.kind != "people")
    if not traffic:
        changes.update(neighbors=0, traffic=())
    config = loop.config.model_copy(update=changes)
    loop.say(f"attacking {guard} ({folder.name})")
    return conclude(config, folder, engine=loop.engine, cache=loop.cache)


def _row(one: Round, held_out: frozenset[str]) -> dict[str, object]:
    learned = [fight for fight in one.fresh.fights if fight.attack not in held_out]
    unseen = [fight for fight in one.fresh.fights if fight.attack in held_out]
    known = one.known.fights if one.known is not None else learned
    return {
        "round": one.number,
        "rows learned": one.learned,
        "known": success_rate(known).to_values(),
        "fresh draws": success_rate(learned).to_values(),
        "never learned": success_rate(unseen).to_values(),
        "all fresh": success_rate(one.fresh.fights).to_values(),
        "per attempt": success_per_attempt(one.fresh.fights).to_values(),
        "past the guard": {
            "known": past_the_guard(known).to_values(),
            "fresh draws": past_the_guard(learned).to_values(),
            "never learned": past_the_guard(unseen).to_values(),
            "all fresh": past_the_guard(one.fresh.fights).to_values(),
        },
        "refused": {each.name: [len(each.refused), each.rows] for each in one.refusals},
    }


def _report(rounds: Sequence[Round], loop: _Loop) -> Report:
    held_out = loop.held_out
    rows: list[list[Cell]] = []
    shares: list[list[float]] = []
    for one in rounds:
        learned = [fight for fight in one.fresh.fights if fight.attack not in held_out]
        unseen = [fight for fight in one.fresh.fights if fight.attack in held_out]
        known = one.known.fights if one.known is not None else learned
        rates: list[Interval] = [success_rate(each) for each in (known, learned, unseen)]
        shares.append([rate.value for rate in rates])
        passed = past_the_guard(one.fresh.fights)
        rows.append([f"{one.number}", one.learned, *rates, passed, *(r.rate for r in one.refusals)])
    columns = ["round", "rows learned", "known", "fresh draws", "never learned from"]
    columns.append("fresh: past the guard")
    columns += [f"refused: {each.name}" for each in rounds[0].refusals]
    numbers = [one.number for one in rounds]
    curves = [
        Series(name, numbers, [row[place] for row in shares])
        for name, place in (("known", 0), ("fresh draws", 1), ("never learned from", 2))
    ]
    plot = line_plot(
        curves, title="Success by round", x_label="round", y_label="pairs broken", percent=True
    )
    prose = Prose(
        "Known: the attacks that rows were learned from, drawn exactly as before. Fresh draws: the "
        "same attacks, drawn anew. Never learned from: attacks that no row came from. A guard that "
        "memorizes falls in the first column and not in the others. Past the guard: the share of "
        "all replies asked for that it did not stop, whether they told anything or not.\n\n"
        "Never learned from: " + ", ".join(sorted(held_out))
    )
    table = Table(columns=columns, rows=rows, spec=["", "", *[".1%"] * (len(columns) - 2)])
    return Report(
        title="Hardening",
        summary=f"{len(rounds) - 1} rounds of retraining on what got through.",
        sections=[Section("Success by round", [table, Plots([Plot(plot)]), prose])],
        facts={"seed": loop.config.seed, "commit": str(environment()["commit"])},
    )


def summary(path: Path) -> list[dict[str, object]]:
    """The rounds of a hardening's folder, as plain values."""
    values = json.loads((path / "report.json").read_text(encoding="utf-8"))
    rounds: list[dict[str, object]] = values["rounds"]
    return rounds
