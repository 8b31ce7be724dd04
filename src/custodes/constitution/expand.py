"""The grammar engine: phrases with `{slots}` to texts, counted and drawn without listing them all.

A *filling* of a phrase is a choice of one filler for each slot it names, and so on inside the
fillers. A slot named twice in one phrase has one filling there; inside a nested filler it is
filled anew. Pure functions of their arguments; knows nothing of rules or labels.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from custodes.errors import ConstitutionError

__all__ = ["Lexicon", "capitalize", "count", "draw", "nth", "sample", "slot_names"]

_SLOT = re.compile(r"\{([a-z][a-z0-9_]*)\}")

_ARTICLE = re.compile(r"\b([Aa])n?(?= $)")
# Spelling against sound: "an hour", "an 8", but "a user", "a uniform", "a European", "a one-off".
_VOWEL_SOUND = re.compile(r"[aeiou]|hour|honou?r|honest|heir|8|11\b|18\b", re.IGNORECASE)
_CONSONANT_SOUND = re.compile(
    r"eu|ewe|once\b|one\b|u(?:ni(?![nm])|s[aeu]|bi|r[aio]|t[ei]|k|f)", re.IGNORECASE
)
_SPELLED_OUT = re.compile(r"[A-Z]{2,3}\b|[B-DF-HJ-NP-TV-Z]{4,6}\b")

_SENTENCE_START = re.compile(r"(?:^|(?<!\b[ei]\.[ge])(?<!\betc)(?<!\bvs)(?<!\bdr)[.!?]\s+)[^\w]*\w")


@lru_cache(maxsize=65536)
def slot_names(phrase: str) -> tuple[str, ...]:
    """The slots that a phrase names, each once, in order of first use.

    `ConstitutionError` where a brace is not part of a well-formed `{slot}`.
    """
    rest = _SLOT.sub("", phrase)
    if "{" in rest or "}" in rest:
        raise ConstitutionError(
            f"got a stray brace in {phrase!r}, expected slots like {{name}}: lower-case letters, "
            "digits and underscores, starting with a letter"
        )
    return tuple(dict.fromkeys(_SLOT.findall(phrase)))


def count(phrase: str, slots: Mapping[str, Sequence[str]]) -> int:
    """How many distinct fillings a phrase has; see `Lexicon.count`."""
    return Lexicon(slots).count(phrase)


def draw(
    phrase: str, slots: Mapping[str, Sequence[str]], rng: random.Random, *, language: str = "en"
) -> str:
    """One filling at random; see `Lexicon.draw`. For many texts keep a `Lexicon`: it is faster."""
    return Lexicon(slots, language=language).draw(phrase, rng)


def nth(
    phrase: str, slots: Mapping[str, Sequence[str]], index: int, *, language: str = "en"
) -> str:
    """The filling of that index, 0 <= index < count; see `Lexicon.nth`."""
    return Lexicon(slots, language=language).nth(phrase, index)


def sample(
    phrase: str, slots: Mapping[str, Sequence[str]], size: int, rng: random.Random
) -> list[str]:
    """Up to `size` distinct texts; see `Lexicon.sample`."""
    return Lexicon(slots).sample(phrase, size, rng)


class Lexicon:
    """Slots with their fillers, ready to fill many phrases.

    Nothing is checked until it is used; then a slot that is unknown, has no fillers, or leads back
    to itself is a `ConstitutionError`. In English (`language="en"`) an article right before a slot
    is made to agree with the filling. To keep a filling over several texts (a question and its
    answer), draw `"{name}"` first and pass a lexicon in which `name` has that one filler.
    """

    def __init__(self, slots: Mapping[str, Sequence[str]], *, language: str = "en") -> None:
        self._fillers = {name: tuple(dict.fromkeys(fillers)) for name, fillers in slots.items()}
        self._totals: dict[str, int] = {}
        self._english = language == "en"

    def count(self, phrase: str) -> int:
        """How many distinct fillings the phrase has: a product over its slots, exact at any size.

        Two fillings may still read alike ("a b" + "c", "a" + "b c"); then there are fewer texts.
        """
        total = 1
        for name in slot_names(phrase):
            total *= self._total(name, ())
        return total

    def draw(self, phrase: str, rng: random.Random) -> str:
        """One filling: at every slot each filler is equally likely, whatever it holds inside."""
        chosen = {}
        for name in slot_names(phrase):
            self._total(name, ())  # refuses what could not end
            chosen[name] = self.draw(rng.choice(self._fillers[name]), rng)
        return self._fill(phrase, chosen)

    def nth(self, phrase: str, index: int) -> str:
        """The filling of that index; each index below `count` is another filling."""
        if not 0 <= index < self.count(phrase):
            raise ConstitutionError(
                f"got index {index}, expected 0 <= index < {self.count(phrase)} for {phrase!r}"
            )
        chosen = {}
        for name in slot_names(phrase):
            index, within = divmod(index, self._total(name, ()))
            for filler in self._fillers[name]:
                size = self.count(filler)
                if within < size:
                    chosen[name] = self.nth(filler, within)
                    break
                within -= size
        return self._fill(phrase, chosen)

    def sample(self, phrase: str, size: int, rng: random.Random) -> list[str]:
        """Up to `size` distinct texts, in random order; fewer where the phrase has no more.

        Drawn like `draw` while that finds new texts, then by index, so that rich fillers make up
        for poor ones that are used up.
        """
        total = self.count(phrase)
        found: dict[str, None] = {}
        for _ in range(2 * min(size, total)):
            if len(found) < size:
                found.setdefault(self.draw(phrase, rng))
        for index in _shuffled(total, limit=4 * size + 100, rng=rng):
            if len(found) >= size:
                break
            found.setdefault(self.nth(phrase, index))
        return list(found)

    def _total(self, name: str, above: tuple[str, ...]) -> int:
        if name in self._totals:
            return self._totals[name]
        if name in above:
            path = " -> ".join((*above[above.index(name) :], name))
            raise ConstitutionError(f"slots lead back to themselves: {path}")
        if not self._fillers.get(name):
            known = ", ".join(sorted(self._fillers)) or "(none)"
            state = "has no fillers" if name in self._fillers else "is unknown"
            raise ConstitutionError(f"the slot {{{name}}} {state}; known slots: {known}")
        total = 0
        for filler in self._fillers[name]:
            product = 1
            for inner in slot_names(filler):
                product *= self._total(inner, (*above, name))
            total += product
        self._totals[name] = total
        return total

    def _fill(self, phrase: str, chosen: Mapping[str, str]) -> str:
        text = ""
        end = 0
        for match in _SLOT.finditer(phrase):
            text += phrase[end : match.start()]
            filling = chosen[match[1]]
            text = (_agree(text, filling) if self._english else text) + filling
            end = match.end()
        return text + phrase[end:]


def capitalize(text: str) -> str:
    """The text with a capital at the start of every sentence; nothing else is changed."""
    return _SENTENCE_START.sub(lambda match: match[0][:-1] + match[0][-1].upper(), text)


def _agree(before: str, filling: str) -> str:
    """`before` with its closing article as the first sound of the filling asks."""
    if _SPELLED_OUT.match(filling):
        vowel = filling[0] in "AEFHILMNORSX"
    else:
        vowel = bool(_VOWEL_SOUND.match(filling)) and not _CONSONANT_SOUND.match(filling)
    return _ARTICLE.sub(r"\1n" if vowel else r"\1", before)


def _shuffled(total: int, *, limit: int, rng: random.Random) -> Sequence[int]:
    """All indices below `total` in random order, or `limit` of them where there are more."""
    if total <= limit:
        return rng.sample(range(total), total)
    return [rng.randrange(total) for _ in range(limit)]
