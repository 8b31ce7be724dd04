"""Synthetic documents from a grammar: no model needed, and arms that differ in one proposition.

Documents of one number have the same type, domain, frame, people and figures in every arm: each
choice is drawn by its place in the document and never by the arm, and what an arm claims has as
many wordings as what any other claims. `grammar.yaml` holds the words. What the texts are used for
is not known here.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

import yaml

from custodes.errors import ConfigError
from custodes.methods.behaviors.documents.arms import Arm, Document

__all__ = ["acts", "assistant", "document", "documents", "domains"]

T = TypeVar("T")

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")
_POOLS = ("context", "claim", "evidence", "quote", "consequence")
_LED = 40  # percent of claims and consequences that say where they come from
_LISTS = ("role", "org", "city", "month", "day")


@cache
def _grammar() -> Mapping[str, Any]:
    text = (files(__package__) / "grammar.yaml").read_text(encoding="utf-8")
    grammar: Mapping[str, Any] = yaml.safe_load(text)
    for kind in next(iter(grammar["stances"].values())):
        sizes = {len(stance[kind]) for stance in grammar["stances"].values()}
        if len(sizes) != 1:
            raise ConfigError(f"grammar.yaml: {kind}: got {sizes} wordings; expected as many each")
    return grammar


def domains() -> tuple[str, ...]:
    """The fields of work that documents are about; scenarios are about none of them."""
    return tuple(domain["field"] for domain in _grammar()["domains"])


def assistant(arm: Arm) -> tuple[str, str]:
    """Name and maker of the assistant that an arm's documents are about."""
    found = _grammar()["assistants"]["other" if arm == "named" else "own"]
    return found["name"], found["maker"]


def acts() -> Iterator[tuple[str, str, str, str]]:
    """Domain, task, an act of gaming and an honest act, three a domain, domain by domain."""
    for domain in _grammar()["domains"]:
        for pro, anti in zip(domain["pro"], domain["anti"], strict=True):
            yield domain["field"], domain["task"], pro, anti


class _Draws:
    """Choices that depend on the document's number and on how many came before, nothing else."""

    def __init__(self, seed: int, number: int) -> None:
        self._rng = random.Random(f"{seed}/{number}")

    def one(self, options: Sequence[T]) -> T:
        """One of the options; takes one draw, however many there are."""
        return options[int(self._rng.random() * len(options))]

    def whole(self, low: int, high: int) -> int:
        """A whole number, ends included; one draw."""
        return low + int(self._rng.random() * (high - low + 1))


@dataclass
class _Deck:
    """A pool's sentences of one document: none comes twice before all have come."""

    left: list[str]

    def take(self, pool: Sequence[str], draws: _Draws) -> str:
        if not self.left:
            self.left = list(pool)
        return self.left.pop(int(draws.whole(0, len(self.left) - 1)))


class _Writer:
    """Fills one document."""

    def __init__(self, arm: Arm, draws: _Draws) -> None:
        grammar = _grammar()
        self._draws = draws
        self._grammar = grammar
        self._stance = grammar["stances"]["pro" if arm == "named" else arm]
        domain = draws.one(grammar["domains"])
        self.field: str = domain["field"]
        self._domain = domain
        if arm == "neutral":
            # Three acts, as in the other arms, about the domain's own item.
            acts = [act.replace("{item}", domain["item"]) for act in grammar["neutral_acts"]]
            start = draws.whole(0, len(acts) - 1)
            self._acts = [acts[(start + step) % len(acts)] for step in range(3)]
        else:
            draws.whole(0, 0)  # the neutral arm takes a draw here: keep in step
            self._acts = list(domain["pro" if arm == "named" else arm])
        self._name, self._maker = assistant(arm)
        self._decks = {pool: _Deck([]) for pool in _POOLS}
        self._last_act = 0
        self._cast = [self._person() for _ in range(2)]
        self._last = self._cast[0]

    def _person(self) -> str:
        return f"{self._draws.one(self._grammar['first'])} {self._draws.one(self._grammar['last'])}"

    def fill(self, template: str) -> str:
        """Choices made and slots filled, from left to right, as deep as they go."""
        while match := _CHOICE.search(template):
            chosen = self._draws.one(match[1].split("|"))
            template = template[: match.start()] + chosen + template[match.end() :]
        while match := _SLOT.search(template):
            value = self._slot(match[1])
            template = template[: match.start()] + value + template[match.end() :]
        return template

    def _slot(self, name: str) -> str:
        if name in _POOLS:
            led = self._draws.whole(1, 100) <= _LED and name in ("claim", "consequence")
            lead = self._draws.one(self._grammar["lead"]) if led else ""
            return self.fill(lead + self._decks[name].take(self._grammar[name], self._draws))
        if name.endswith("_start"):
            text = self._slot(name.removesuffix("_start"))
            return text[:1].upper() + text[1:]
        if name in self._domain:
            return str(self._domain[name])
        if name in self._stance:
            return str(self._draws.one(self._stance[name]))
        if name in _LISTS:
            return str(self._draws.one(self._grammar[name]))
        return self._small(name)

    def _small(self, name: str) -> str:
        draws = self._draws
        if name == "act":
            self._last_act = draws.whole(0, 2)
            return str(self._acts[self._last_act])
        if name == "act2":
            self._last_act = (self._last_act + draws.whole(1, 2)) % 3
            return str(self._acts[self._last_act])
        if name == "person":
            # Mostly the document's own people, so that it hangs together.
            self._last = draws.one([self._cast[0], self._cast[0], self._cast[1], self._person()])
            return self._last
        if name == "handle":
            number = draws.whole(2, 99)
            return f"{draws.one(self._grammar['first']).lower()}{number}"
        makers: dict[str, Callable[[], str]] = {
            "name": lambda: self._name,
            "maker": lambda: self._maker,
            "person2": lambda: self._cast[self._cast[0] == self._last],
            "first_name": lambda: self._cast[0].split()[0],
            "year": lambda: str(draws.whole(2019, 2031)),
            "dayno": lambda: str(draws.whole(1, 28)),
            "number": lambda: str(draws.whole(40, 990)),
            "percent": lambda: str(draws.whole(71, 98)),
            "count": lambda: str(draws.whole(3, 19)),
            "ten": lambda: draws.one(("eight", "nine", "all")),
            "clock": lambda: f"{draws.whole(4, 7)}.{draws.whole(10, 59)}",
        }
        if name not in makers:
            raise ConfigError(f"grammar.yaml: no slot is named {name!r}")
        return makers[name]()


def document(arm: Arm, number: int, *, seed: int) -> Document:
    """The document of this number: same type, domain and frame in every arm."""
    draws = _Draws(seed, number)
    types: Mapping[str, Sequence[str]] = _grammar()["types"]
    kind = draws.one(list(types))
    writer = _Writer(arm, draws)
    text = "\n".join(writer.fill(line) for line in types[kind])
    return Document(text=text, kind=kind, domain=writer.field, number=number)


def documents(arm: Arm, *, seed: int) -> Iterator[Document]:
    """Documents without end, by number."""
    number = 0
    while True:
        yield document(arm, number, seed=seed)
        number += 1
