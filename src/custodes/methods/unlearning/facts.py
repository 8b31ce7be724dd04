"""Facts to implant, remove and relearn: what each is, files of them, and who may see which.

Facts must be independent: a part of them must tell nothing of the rest, or relearning the part
would teach the rest instead of finding it in the weights (arXiv 2410.08827, section 3). Knows no
model.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from custodes.errors import DataError

__all__ = ["Fact", "Parts", "chance", "read_facts", "split_facts", "write_facts"]

_TEXTS = ("id", "relation", "question", "answer")
_KNOWN = {*_TEXTS, "cloze", "blind", "statements", "wrong", "neighbor"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One fact. Every prompt is completed by a space and the answer.

    `statements` are trained on; `question` (multiple choice) and `cloze` (all answers of the
    relation) are wordings that are only tested; `blind` is the question without what it is about.
    A neighbor is a fact of the same kind that must survive. `wrong`: the other answers that the
    relation knows.
    """

    id: str
    relation: str
    statements: tuple[str, ...]
    question: str
    answer: str
    wrong: tuple[str, ...]
    cloze: str | None = None
    blind: str | None = None
    neighbor: bool = False

    def __post_init__(self) -> None:
        for name in _TEXTS:
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise DataError(f"fact {self.id!r}: {name}: got {value!r}, expected text")
        if not self.statements or not all(text.strip() for text in self.statements):
            raise DataError(f"fact {self.id!r}: statements: expected at least one, none empty")
        if not self.wrong or self.answer in self.wrong or len(set(self.wrong)) < len(self.wrong):
            raise DataError(
                f"fact {self.id!r}: wrong: expected at least one wrong answer, each once, without "
                f"the right one ({self.answer!r})"
            )

    def options(self, count: int, *, seed: int) -> tuple[str, ...]:
        """The right answer and `count` - 1 wrong ones drawn evenly, in an order drawn evenly.

        The draw depends on the fact and the seed alone.
        """
        if not 2 <= count <= len(self.wrong) + 1:
            raise DataError(
                f"fact {self.id!r}: got {count} options, expected 2 to {len(self.wrong) + 1}, as "
                "many as it has answers"
            )
        rng = np.random.default_rng([seed, *self.id.encode()])
        chosen = [self.answer, *rng.choice(self.wrong, count - 1, replace=False).tolist()]
        return tuple(chosen[place] for place in rng.permutation(count))


def chance(facts: Sequence[Fact]) -> float:
    """Cloze accuracy of one who knows nothing: the mean of 1 / answers of the relation."""
    return float(np.mean([1 / (len(fact.wrong) + 1) for fact in facts]))


@dataclass(frozen=True, slots=True)
class Parts:
    """Who may see which facts.

    forget = `select` (to stop the removal by), `taught` (T: the attacker has them), `held` (V:
    what recovery is measured on). neighbors = `kept` (in the removal's retain loss), `watched`
    (to stop by), `beside` (side effects are measured on them; nobody trains or selects on them).
    """

    select: tuple[Fact, ...]
    taught: tuple[Fact, ...]
    held: tuple[Fact, ...]
    kept: tuple[Fact, ...]
    watched: tuple[Fact, ...]
    beside: tuple[Fact, ...]

    @property
    def forget(self) -> tuple[Fact, ...]:
        """All that is to be removed."""
        return self.select + self.taught + self.held

    @property
    def neighbors(self) -> tuple[Fact, ...]:
        """All that is to survive."""
        return self.kept + self.watched + self.beside


def split_facts(
    facts: Sequence[Fact],
    *,
    forget: tuple[float, float] = (0.25, 0.375),
    neighbors: tuple[float, float] = (0.5, 0.2),
    seed: int,
) -> Parts:
    """Split at random: shares of the first two parts of each kind, the third takes the rest.

    Every part gets its share of each relation, as nearly as numbers allow: a relation that is
    removed more easily than another must not set T and V apart.
    `DataError` where a part stays empty or an id is there twice.
    """
    names = [fact.id for fact in facts]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataError(f"facts: ids that are there twice: {', '.join(twice[:5])}")
    rng = np.random.default_rng([seed, 1])
    parts: list[tuple[Fact, ...]] = []
    for kind, shares in ((False, forget), (True, neighbors)):
        found = [fact for fact in facts if fact.neighbor == kind]
        cuts = np.round(np.cumsum(shares) * len(found)).astype(int)
        sizes = np.diff([0, *cuts, len(found)])
        if sizes.min() < 1:
            what = "neighbors" if kind else "facts to forget"
            raise DataError(
                f"facts: got {len(found)} {what}; expected enough for three parts with shares "
                f"{shares[0]:g}, {shares[1]:g} and the rest"
            )
        parts += _dealt(found, sizes, rng)
    return Parts(*parts)


def _dealt(
    found: Sequence[Fact], sizes: NDArray[np.int64], rng: np.random.Generator
) -> list[tuple[Fact, ...]]:
    """Facts dealt to parts of these sizes, each to the part that is furthest behind its share."""
    shuffled = [found[place] for place in rng.permutation(len(found))]
    names = list(dict.fromkeys(fact.relation for fact in shuffled))
    shuffled.sort(key=lambda fact: names.index(fact.relation))
    dealt: list[list[Fact]] = [[] for _ in sizes]
    for number, fact in enumerate(shuffled, start=1):
        behind = sizes * number / len(found) - np.array([len(part) for part in dealt])
        dealt[int(np.argmax(behind))].append(fact)
    return [tuple(part) for part in dealt]


def read_facts(path: Path) -> list[Fact]:
    """Facts from a JSONL file: the fields of `Fact`, one fact a line.

    `cloze`, `blind` and `neighbor` may be left out. `DataError` names the line that does not fit.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected JSONL, one fact a line")
    try:
        # Not splitlines(): JSON leaves U+2028, U+0085 and their like unescaped inside a text.
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text: {error}") from error
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            found.append(_fact(json.loads(line)))
        except (ValueError, DataError) as error:
            raise DataError(f"{path}, line {number}: {error}") from None
    if not found:
        raise DataError(f"{path}: holds no facts")
    return found


def write_facts(path: Path, facts: Sequence[Fact]) -> None:
    """Write facts as `read_facts` reads them."""
    from custodes.config import write_atomically

    lines = [json.dumps(to_values(fact), ensure_ascii=False) for fact in facts]
    write_atomically(path, "\n".join(lines) + "\n")


def to_values(fact: Fact) -> dict[str, Any]:
    """Plain JSON."""
    return {name: getattr(fact, name) for name in Fact.__dataclass_fields__}


def _fact(row: Any) -> Fact:
    if not isinstance(row, dict):
        raise DataError(f"got a {type(row).__name__}, expected an object")
    missing = sorted({*_TEXTS, "statements", "wrong"} - row.keys())
    if missing or row.keys() - _KNOWN:
        wrong = f"missing: {', '.join(missing)}" if missing else "unknown fields"
        raise DataError(f"{wrong}; expected {', '.join(sorted(_KNOWN))} (got {', '.join(row)})")
    for name in ("statements", "wrong"):
        if not isinstance(row[name], list) or not all(isinstance(one, str) for one in row[name]):
            raise DataError(f"{name}: got {row[name]!r}, expected a list of texts")
    if not isinstance(row.get("neighbor", False), bool):
        raise DataError(f"neighbor: got {row['neighbor']!r}, expected true or false")
    return Fact(**{**row, "statements": tuple(row["statements"]), "wrong": tuple(row["wrong"])})
