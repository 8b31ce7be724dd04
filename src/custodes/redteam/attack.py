"""What an attack is: a strategy that proposes, sees what came back, and proposes again.

An attack's `begin` gives a generator: it yields a batch of probes and is sent what was seen of
each. It does no input or output of its own, so that a campaign can batch, cache, count and repeat
what strategies ask. It ends by itself, or is closed at success or when the budget is spent.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from random import Random
from typing import Protocol, cast

from pydantic import ConfigDict, Field

from custodes.config import Config, Registry
from custodes.errors import ConfigError
from custodes.models import GenerateModel
from custodes.redteam.probes import Probe, Seen, Want
from custodes.redteam.questions import Question
from custodes.synthesis.transforms import TRANSFORMS, Transform, compose, in_order
from custodes.types import Message

__all__ = [
    "ATTACKS",
    "Attack",
    "AttackConfig",
    "Strategy",
    "Tools",
    "UnsuitedError",
    "attack_names",
    "make_attack",
    "say",
    "waves",
]

Strategy = Generator[Sequence[Probe], Sequence[Seen], None]
"""Yields probes, is sent what was seen of them, in order."""

_HERE = "custodes.redteam.attacks"

ATTACKS = Registry(
    "attacks",
    {
        "autodan": f"{_HERE}.autodan:AutoDAN",
        "best_of_n": f"{_HERE}.best_of_n:BestOfN",
        "crescendo": f"{_HERE}.crescendo:Crescendo",
        "decomposition": f"{_HERE}.decomposition:Decomposition",
        "direct": f"{_HERE}.direct:Direct",
        "foot_in_the_door": f"{_HERE}.foot_in_the_door:FootInTheDoor",
        "gcg": f"{_HERE}.gcg:GCG",
        "many_shot": f"{_HERE}.many_shot:ManyShot",
        "obfuscation": f"{_HERE}.obfuscation:Obfuscation",
        "pair": f"{_HERE}.pair:PAIR",
        "prefill": f"{_HERE}.prefill:Prefill",
        "random_search": f"{_HERE}.random_search:RandomSearch",
        "reconstruction": f"{_HERE}.reconstruction:Reconstruction",
        "replay": f"{_HERE}.replay:Replay",
        "tap": f"{_HERE}.tap:TAP",
        "templates": f"{_HERE}.templates:Templates",
        "transform": f"{_HERE}.transform:TransformAttack",
    },
)
"""name -> class that takes its own `Config`; every transform of `synthesis` is an attack, too."""


class UnsuitedError(ConfigError):
    """An attack cannot be tried on this target, or lacks a model; a campaign passes it over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What a strategy may use.

    `budget`: queries it has in all. `wave`: probes that it may propose at once. `attacker`: a
    model that writes attacks, where there is one. `can`: what the target answers.
    """

    rng: Random
    budget: int
    wave: int = 4
    attacker: GenerateModel | None = None
    can: frozenset[Want] = frozenset({"reply"})

    @property
    def fitness(self) -> Want:
        """What a search can climb by: a guard's score, else a reply's likelihood."""
        for want in ("score", "likelihood"):
            if want in self.can:
                return cast(Want, want)
        raise UnsuitedError(
            "the target tells neither a guard's score nor log-probabilities; a search needs one"
        )


class Attack(Protocol):
    """One way to attack."""

    needs: frozenset[Want]
    """What the target must be able to answer."""
    # `exhaustive = True`, where an attack says so: it is not closed at its first success.

    def begin(self, question: Question, tools: Tools) -> Strategy:
        """A strategy against one question."""
        ...


class AttackConfig(Config):
    """Which attack: its `kind`, and beside it the attack's own settings."""

    model_config = ConfigDict(extra="allow")

    kind: str
    """A name of `ATTACKS` or of a transform, or names joined by + : an attack whose probes pass
    through the transforms behind it, as in `best_of_n+base64`."""
    label: str = ""
    """How reports call it; empty: its kind."""
    budget: int | None = Field(default=None, ge=1)
    """Queries on a question, in place of the campaign's."""

    @property
    def name(self) -> str:
        """How reports call it."""
        return self.label or self.kind


def attack_names() -> tuple[str, ...]:
    """Every attack that can be named alone, transforms included (replay needs its file)."""
    # A transform of the same name as an attack gives way to it.
    return tuple(sorted({*ATTACKS.names(), *TRANSFORMS.names()} - {"transform", "replay"}))


def make_attack(config: AttackConfig) -> Attack:
    """Build an attack; `ConfigError` for an unknown name or a wrong setting."""
    first, *rest = config.kind.split("+")
    settings = dict(config.model_extra or {})
    if first in ATTACKS.names() or ":" in first:
        kind = ATTACKS.load(first)
    elif first in TRANSFORMS.names():
        kind, settings, rest = ATTACKS.load("transform"), {"names": [first, *rest], **settings}, []
    else:
        raise ConfigError(
            f"unknown attack: got {first!r}, expected one of {', '.join(attack_names())}, "
            "or a dotted path package.module:attribute"
        )
    origin = f"settings of the attack {config.kind!r}"
    attack: Attack = kind(kind.Config.parse(settings, origin=origin))
    return _Through(attack, [TRANSFORMS.load(name) for name in rest]) if rest else attack


class _Through:
    """An attack whose user turns pass through transforms as they are sent."""

    def __init__(self, attack: Attack, transforms: Sequence[Transform]) -> None:
        unable = [each.name for each in transforms if each.bind]
        if unable:
            raise ConfigError(
                f"{unable[0]!r} needs a model and can only be an attack of its own, not stand "
                "behind another"
            )
        self._attack = attack
        self._chain = compose(in_order(transforms))
        self.needs = attack.needs
        self.exhaustive = getattr(attack, "exhaustive", False)

    def begin(self, question: Question, tools: Tools) -> Strategy:
        """The inner strategy, its probes changed on their way out."""
        inner = self._attack.begin(question, tools)
        sent: dict[str, str] = {}
        try:
            probes = next(inner)
            while True:
                seen = yield [self._change(probe, tools.rng, sent) for probe in probes]
                probes = inner.send(seen)
        except StopIteration:
            return
        finally:
            inner.close()

    def _change(self, probe: Probe, rng: Random, sent: dict[str, str]) -> Probe:
        """`sent`: what the attack wrote -> what was sent for it, which earlier turns repeat."""
        turns = list(probe.turns)
        places = [place for place, turn in enumerate(turns) if turn.role == "user"]
        if places:
            last = turns[places[-1]].content
            changed = self._chain.to_request(last, rng)
            for place in places[:-1]:
                said = turns[place].content
                turns[place] = Message("user", sent.get(said, said))
            turns[places[-1]] = Message("user", changed)
            sent[last] = changed
        return replace(probe, turns=tuple(turns))


def waves(probes: Iterable[Probe], tools: Tools) -> Strategy:
    """A strategy that asks a fixed list, wave by wave, and learns nothing."""
    rest = iter(probes)
    while wave := list(islice(rest, tools.wave)):
        yield wave


def say(attacker: GenerateModel, prompts: Sequence[str], rng: Random, *, tokens: int) -> list[str]:
    """What the attacker model writes to each prompt."""
    from custodes.models import Sampling

    sampling = Sampling(max_tokens=tokens, temperature=0.9, top_p=0.95, seed=rng.getrandbits(31))
    replies = attacker.generate([(Message("user", prompt),) for prompt in prompts], sampling)
    return [reply.text.strip() for reply in replies]
