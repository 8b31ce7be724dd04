"""Judge the grammars of a constitution: slots that fit, frames that carry, nothing twice.

Whether intents are in the base form is for the author's eye; it is not checked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from custodes.constitution.expand import slot_names
from custodes.constitution.finding import Level, Location
from custodes.constitution.rules import Constitution, Frames, Grammar, Rule
from custodes.errors import ConstitutionError
from custodes.types import Mode

__all__ = ["FRAME_SLOTS", "Remark", "grammar_remarks", "normalize"]

FRAME_SLOTS = ("intent", "steps")
"""What the writer fills in a frame; neither an author's slot nor allowed in a rule's phrases."""

_Phrases: TypeAlias = list[tuple[Location, str]]
_Slots: TypeAlias = Mapping[str, tuple[str, ...]]


class Remark(NamedTuple):
    """What is to be said about a value of the constitution."""

    severity: Level
    location: Location
    message: str


def normalize(text: str) -> str:
    """The text without what does not make another text of it: case and spacing."""
    return " ".join(text.casefold().split())


def grammar_remarks(constitution: Constitution) -> Iterator[Remark]:
    """Everything wrong or doubtful in the rules' grammars and in the frames."""
    for language in constitution.frames:
        yield from _frames(constitution, language)
    for number, rule in enumerate(constitution.rules):
        for language, grammar in rule.grammar.items():
            frames = constitution.frames.get(language, Frames())
            place = ("rules", number, "grammar", language)
            yield from _grammar(grammar, frames, place)
            yield from _fit(rule, language, constitution, place)
    yield from _repeated_phrases(constitution)


def _grammar(grammar: Grammar, frames: Frames, place: Location) -> Iterator[Remark]:
    """One rule's slots and phrases in one language."""
    phrases = _phrases_of(grammar, place)
    yield from _empty([*phrases, *_fillers(grammar.slots, place)])
    lexicon = {**frames.slots, **grammar.slots}
    yield from _slots(grammar.slots, lexicon, place)
    yield from _resolve([*phrases, *_fillers(grammar.slots, place)], lexicon)
    used = _reached(phrases, lexicon)
    for name in sorted(grammar.slots.keys() - used):
        message = f"no phrase of this rule uses the slot {name!r}"
        yield Remark("warning", (*place, "slots", name), message)


def _frames(constitution: Constitution, language: str) -> Iterator[Remark]:
    """The frames of one language."""
    frames = constitution.frames[language]
    place: Location = ("frames", language)
    requests = [
        ((*place, "requests", style, number), phrase)
        for style, phrases in frames.requests.items()
        for number, phrase in enumerate(phrases)
    ]
    replies = _list(frames.replies, (*place, "replies"))
    refusals = _list(frames.refusals, (*place, "refusals"))
    fillers = _fillers(frames.slots, place)
    every = [*requests, *replies, *refusals]
    yield from _empty([*every, *fillers])
    yield from _slots(frames.slots, frames.slots, place)
    yield from _resolve([*requests, *refusals], {*frames.slots, "intent"})
    yield from _resolve(replies, {*frames.slots, *FRAME_SLOTS})
    yield from _resolve(fillers, frames.slots)
    yield from _missing("intent", requests)
    yield from _missing("steps", replies)
    yield from _unused_frames(constitution, language, every)


def _unused_frames(
    constitution: Constitution, language: str, phrases: _Phrases
) -> Iterator[Remark]:
    frames = constitution.frames[language]
    used = _reached(phrases, frames.slots)
    speakers = [rule.grammar[language] for rule in constitution.rules if language in rule.grammar]
    for grammar in speakers:
        used |= _reached(_phrases_of(grammar, ()), {**frames.slots, **grammar.slots})
    for name in sorted(frames.slots.keys() - used):
        message = f"neither a frame nor a rule uses the slot {name!r}"
        yield Remark("warning", ("frames", language, "slots", name), message)
    if not speakers:
        yield Remark("warning", ("frames", language), f"no rule speaks {language!r}")


def _fit(
    rule: Rule, language: str, constitution: Constitution, place: Location
) -> Iterator[Remark]:
    """Whether rule and frames have what the other needs."""
    grammar = rule.grammar[language]
    frames = constitution.frames.get(language)
    if grammar.intents and (frames is None or not any(frames.requests.values())):
        message = f"there are intents, but no request frames for {language!r} to carry them"
        yield Remark("error", (*place, "intents"), message)
    if not (grammar.intents or grammar.requests or grammar.statements):
        yield Remark("error", place, "expected intents, requests or statements; there are none")
    speaks_of_replies = rule.applies_to != (Mode.INPUT,)
    if speaks_of_replies and grammar.intents and not grammar.steps:
        message = "no steps, so no reply to the intents can be written"
        yield Remark("warning", place, f"{message}; add some or set applies_to to [input]")


def _slots(slots: _Slots, scope: _Slots, place: Location) -> Iterator[Remark]:
    """The slots themselves; `scope` holds all slots that their fillers may name."""
    for name, fillers in slots.items():
        here = (*place, "slots", name)
        if name in FRAME_SLOTS:
            yield Remark("error", here, f"the slot {name!r} belongs to the writer; rename it")
        elif _names(f"{{{name}}}") != (name,):
            message = f"got the slot {name!r}, expected lower-case letters, digits, underscores"
            yield Remark("error", here, message)
        if not fillers:
            yield Remark("error", here, f"the slot {name!r} has no fillers")
        if name in _reached(_list(fillers, here), scope):
            yield Remark("error", here, f"the slot {name!r} leads back to itself")


def _resolve(phrases: _Phrases, known: Collection[str]) -> Iterator[Remark]:
    """Stray braces and unknown slots."""
    for location, phrase in phrases:
        try:
            names = slot_names(phrase)
        except ConstitutionError as error:
            yield Remark("error", location, str(error))
            continue
        for name in names:
            if name in FRAME_SLOTS and name not in known:
                message = f"{{{name}}} cannot stand here: {phrase!r}"
                yield Remark("error", location, message)
            elif name not in known:
                listed = ", ".join(sorted(known)) or "(none)"
                message = f"unknown slot {{{name}}} in {phrase!r}; known slots: {listed}"
                yield Remark("error", location, message)


def _missing(slot: str, phrases: _Phrases) -> Iterator[Remark]:
    for location, phrase in phrases:
        if slot not in _names(phrase):
            yield Remark(
                "error", location, f"a frame without {{{slot}}} carries nothing: {phrase!r}"
            )


def _empty(phrases: _Phrases) -> Iterator[Remark]:
    for location, phrase in phrases:
        if not phrase.strip():
            yield Remark("error", location, "empty phrase")


def _repeated_phrases(constitution: Constitution) -> Iterator[Remark]:
    """A phrase twice in one slot, among the frames, or among the rules of one polarity."""
    groups: dict[Location, _Phrases] = {}
    for language, frames in constitution.frames.items():
        here: Location = ("frames", language)
        for style, texts in frames.requests.items():
            groups.setdefault(here, []).extend(_list(texts, (*here, "requests", style)))
        groups[*here, "replies"] = _list(frames.replies, (*here, "replies"))
        groups[*here, "refusals"] = _list(frames.refusals, (*here, "refusals"))
        groups |= {
            (*here, "slots", name): phrases for name, phrases in _by_slot(frames.slots, here)
        }
    for number, rule in enumerate(constitution.rules):
        for language, grammar in rule.grammar.items():
            here = ("rules", number, "grammar", language)
            groups.setdefault((rule.polarity, language), []).extend(_phrases_of(grammar, here))
            groups |= {
                (*here, "slots", name): phrases for name, phrases in _by_slot(grammar.slots, here)
            }
    for phrases in groups.values():
        seen: set[str] = set()
        for location, phrase in phrases:
            if normalize(phrase) in seen:
                yield Remark("warning", location, f"duplicate phrase: {phrase!r}")
            seen.add(normalize(phrase))


def _phrases_of(grammar: Grammar, place: Location) -> _Phrases:
    return [
        entry
        for field in ("intents", "requests", "statements", "steps")
        for entry in _list(getattr(grammar, field), (*place, field))
    ]


def _by_slot(slots: _Slots, place: Location) -> Iterator[tuple[str, _Phrases]]:
    for name, fillers in slots.items():
        yield name, _list(fillers, (*place, "slots", name))


def _fillers(slots: _Slots, place: Location) -> _Phrases:
    return [entry for _, phrases in _by_slot(slots, place) for entry in phrases]


def _list(texts: tuple[str, ...], place: Location) -> _Phrases:
    return [((*place, number), text) for number, text in enumerate(texts)]


def _reached(phrases: _Phrases, slots: _Slots) -> set[str]:
    """Every slot that the phrases name, directly or through fillers."""
    reached: set[str] = set()
    waiting = [phrase for _, phrase in phrases]
    while waiting:
        new = set(_names(waiting.pop())) - reached
        reached |= new
        waiting += [filler for name in new for filler in slots.get(name, ())]
    return reached


def _names(phrase: str) -> tuple[str, ...]:
    try:
        return slot_names(phrase)
    except ConstitutionError:
        return ()
