"""One attack against all questions at once: ask strategies, batch their probes, tell what was seen.

Strategies against different questions go in step, so that a model answers their probes in one
batch. A strategy is closed at its success, or when its queries are spent. Every kind of probe
costs one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from custodes.models import GenerateModel
from custodes.redteam.attack import Attack, Strategy, Tools, UnsuitedError
from custodes.redteam.judges import Case, Judge
from custodes.redteam.probes import Probe, Seen
from custodes.redteam.questions import Question
from custodes.redteam.records import Attempt, Fight
from custodes.redteam.targets import Target

__all__ = ["Terms", "fight", "openings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what terms one fights.

    `bars`: question -> the grade from which a reply counts as an answer; a question without one
    cannot be graded. `budget`: queries of an attack on a question. `wave`: probes at once.
    """

    target: Target
    judge: Judge
    bars: Mapping[str, float]
    budget: int
    wave: int = 4
    seed: int = 0
    attacker: GenerateModel | None = None


@dataclass
class _Line:
    """A strategy against one question."""

    question: Question
    strategy: Strategy
    probes: list[Probe]
    spent: int = 0
    open: bool = True


def fight(name: str, attack: Attack, questions: Sequence[Question], terms: Terms) -> Fight:
    """Run the attack; the same seed, target and questions give the same fight."""
    missing = attack.needs - terms.target.can
    if missing:
        why = f"the target does not answer {', '.join(sorted(missing))}"
        return Fight(attack=name, skipped=why)
    before = dict(terms.target.clock.seconds)
    attempts: list[Attempt] = []
    try:
        lines = [_begin(name, attack, question, terms) for question in questions]
    except UnsuitedError as error:
        return Fight(attack=name, skipped=str(error))
    while live := [line for line in lines if line.open]:
        attempts += _round(name, live, terms, keep_on=getattr(attack, "exhaustive", False))
    after = terms.target.clock.seconds
    return Fight(
        attack=name,
        attempts=tuple(attempts),
        queries={line.question.id: line.spent for line in lines},
        seconds={what: after[what] - before.get(what, 0.0) for what in after},
    )


def openings(name: str, attack: Attack, questions: Sequence[Question], terms: Terms) -> list[Probe]:
    """The probes that `fight` will send first, so that many attacks' can be asked in one batch
    before they fight; none where the attack does not suit the target."""
    if attack.needs - terms.target.can:
        return []
    try:
        lines = [_begin(name, attack, question, terms) for question in questions]
    except UnsuitedError:
        return []
    for line in lines:
        line.strategy.close()
    return [probe for line in lines for probe in line.probes[: terms.budget]]


def _begin(name: str, attack: Attack, question: Question, terms: Terms) -> _Line:
    tools = Tools(
        rng=Random(f"{terms.seed} {name} {question.id}"),
        budget=terms.budget,
        wave=terms.wave,
        attacker=terms.attacker,
        can=terms.target.can,
    )
    strategy = attack.begin(question, tools)
    first = next(strategy, None)
    return _Line(question, strategy, list(first or ()), open=bool(first))


def _round(name: str, lines: Sequence[_Line], terms: Terms, *, keep_on: bool) -> list[Attempt]:
    """One batch: every open line's probes, as far as its budget reaches."""
    for line in lines:
        line.probes = line.probes[: terms.budget - line.spent]
    asked = [(line, probe) for line in lines for probe in line.probes]
    seen = terms.target.handle([probe for _, probe in asked])
    told = _graded(asked, seen, terms)
    attempts = []
    answers: dict[int, list[Seen]] = {id(line): [] for line in lines}
    for (line, probe), (each, attempt) in zip(asked, told, strict=True):
        line.spent += 1
        answers[id(line)].append(each)
        if attempt is not None:
            attempts.append(replace(attempt, attack=name, query=line.spent))
        elif probe.want == "reply":
            attempts.append(Attempt.of(name, line.question.id, line.spent, probe, each))
    for line in lines:
        _go_on(line, answers[id(line)], terms, keep_on=keep_on)
    return attempts


def _go_on(line: _Line, seen: list[Seen], terms: Terms, *, keep_on: bool) -> None:
    won = any(each.success for each in seen) and not keep_on
    if won or line.spent >= terms.budget:
        line.open = False
    else:
        try:
            line.probes = list(line.strategy.send(seen))
            line.open = bool(line.probes)
        except StopIteration:
            line.open = False
    if not line.open:
        line.strategy.close()


def _graded(
    asked: Sequence[tuple[_Line, Probe]], seen: Sequence[Seen], terms: Terms
) -> list[tuple[Seen, Attempt | None]]:
    """What is told to the strategies, and the attempts of what was graded."""
    places = [
        i
        for i, ((line, probe), each) in enumerate(zip(asked, seen, strict=True))
        if probe.want == "reply" and line.question.id in terms.bars
    ]
    cases = [_case(*asked[i], seen[i]) for i in places]
    told: list[tuple[Seen, Attempt | None]] = [(each, None) for each in seen]
    for i, grade in zip(places, terms.judge.grade(cases), strict=True):
        line, probe = asked[i]
        score = grade.score or 0.0  # 0 is no success, though the bar be 0 (`least_facts`)
        enough = 0 < score >= terms.bars[line.question.id]
        each = replace(seen[i], grade=grade.score, success=enough)
        attempt = Attempt.of("", line.question.id, 0, probe, each)
        told[i] = (each, replace(attempt, facts=grade.facts, reading=grade.reading))
    return told


def _case(line: _Line, probe: Probe, seen: Seen) -> Case:
    return Case(
        question=line.question, turns=probe.turns, reply=seen.reply, glossary=probe.glossary
    )
