"""What a campaign found as rows to train on, each with where it came from, and benign twins.

A prompt that got past the guard becomes a row of inputs, an answer that left the system a row of
exchanges, both harmful, with attack, question and query on record. The same attack is then put
around benign requests, whose rows are benign: else a guard would learn the attack's form and not
what is asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import islice
from random import Random

from custodes.redteam.attack import AttackConfig, Tools, UnsuitedError, make_attack
from custodes.redteam.probes import Probe, Seen, prompt_of
from custodes.redteam.questions import Question, QuestionSet
from custodes.redteam.records import Attempt, Fight
from custodes.types import Conversation, Example, Message, RuleId

__all__ = ["benign_twins", "harvest"]

_SOURCE = "custodes attack"


def harvest(
    fights: Sequence[Fight], questions: QuestionSet, *, most: int, seed: int, campaign: str
) -> list[Example]:
    """Rows of what got through: at most `most` attempts of each attack, successes first.

    `campaign` names the run in the rows' provenance.
    """
    rows: dict[str, Example] = {}
    for fight in fights:
        through = [attempt for attempt in fight.attempts if attempt.stopped != "input"]
        Random(f"harvest {seed} {fight.attack}").shuffle(through)
        through.sort(key=lambda attempt: not attempt.success)
        for attempt in through[:most]:
            for row in _rows(attempt, questions.question(attempt.question), campaign):
                rows.setdefault(row.id, row)
    return list(rows.values())


def _rows(attempt: Attempt, question: Question, campaign: str) -> Iterator[Example]:
    meta: dict[str, object] = {
        "campaign": campaign,
        "attack": attempt.attack,
        "strategy": attempt.strategy,
        "question": attempt.question,
        "query": attempt.query,
        "success": attempt.success,
    }
    asked = prompt_of(attempt.turns)
    yield _example(asked, "jailbreak_prompt", question.rule, meta, label=1)
    if attempt.success and attempt.reply.strip():
        begun = attempt.turns[-1].content if len(attempt.turns) > len(asked) else ""
        whole = (*asked, Message("assistant", begun + attempt.reply))
        yield _example(whole, "harmful_exchange", question.rule, meta, label=1)


def benign_twins(
    attacks: Sequence[AttackConfig], benign: Sequence[Example], *, each: int, seed: int
) -> list[Example]:
    """Benign requests in the form of each attack: `each` rows of it, label 0."""
    asked = [row for row in benign if row.text and row.label == 0 and not row.transforms]
    rows: dict[str, Example] = {}
    for config in attacks:
        rng = Random(f"twins {seed} {config.name}")
        for row in rng.sample(asked, min(each, len(asked))):
            question = Question(
                id="benign", text=row.text or "", keywords=_keywords(row.text or "")
            )
            for probe in _first(config, question, rng):
                meta: dict[str, object] = {"attack": config.name, "twin_of": row.id}
                turns = prompt_of(probe.turns)
                found = _example(turns, "benign_request", row.rule or "", meta, label=0)
                rows.setdefault(found.id, found)
    return list(rows.values())


def _first(config: AttackConfig, question: Question, rng: Random) -> Iterator[Probe]:
    """One probe that the attack proposes, of its first few, without any target."""
    tools = Tools(rng=rng, budget=8, wave=8, can=frozenset({"reply", "score"}))
    strategy = make_attack(config).begin(question, tools)
    try:
        probes = list(next(strategy))
        if len(probes) == 1:  # a strategy of turns: see one or two of them
            for _ in range(rng.randrange(3)):
                probes += strategy.send([Seen(reply="Sure, let us go on.")])
        yield from islice(reversed(probes), rng.randrange(len(probes)), None, len(probes))
    except (UnsuitedError, StopIteration):
        return
    finally:
        strategy.close()


def _keywords(text: str) -> tuple[str, ...]:
    words = [word.strip("?.,!\"'") for word in text.split()]
    return tuple(dict.fromkeys(word for word in words if len(word) > 5))[:3]


def _example(
    turns: Conversation, kind: str, rule: str, meta: dict[str, object], *, label: int
) -> Example:
    said = "\0".join(f"{turn.role} {turn.content}" for turn in turns)
    digest = hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()
    alone = len(turns) == 1 and turns[0].role == "user"
    return Example(
        id=f"attack-{digest[:20]}",
        source=_SOURCE,
        licence="Apache-2.0",
        kind=kind,
        text=turns[0].content if alone else None,
        messages=None if alone else turns,
        label=1 if label else 0,
        request_label=1 if label else 0,
        rule=RuleId(rule) if rule else None,
        writer="attack",
        group=f"attack-{meta.get('question', meta.get('twin_of', ''))}",
        meta=meta,
    )
