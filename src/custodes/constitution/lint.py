"""Judge the content of a constitution: rules, their boundaries, and what would give a label away.

The grammars have their own part in `lint_grammar.py`. Knows nothing of YAML: positions come from
whoever read the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from custodes.constitution.finding import Finding, Location, Position, Positions
from custodes.constitution.lint_grammar import Remark, grammar_remarks, normalize
from custodes.constitution.reading import Source
from custodes.constitution.rules import Constitution, Polarity, Rule

__all__ = ["MIN_WORDS", "check", "unlisted"]

MIN_WORDS = 5
"""A rule's text with fewer words says too little to write data from."""

_RULE_ID = re.compile(r"[a-z][a-z0-9_]*")


def check(constitution: Constitution, positions: Positions | None = None) -> list[Finding]:
    """Everything that makes the constitution wrong (errors) or doubtful (warnings).

    In the order of files and lines where positions are given.
    """
    places = positions or Positions()
    findings = [
        Finding(
            severity=remark.severity,
            position=places.of(remark.location),
            message=remark.message,
            rule=_rule_id(constitution, remark.location),
        )
        for remark in _remarks(constitution)
    ]
    return sorted(
        findings, key=lambda f: (f.position.file, f.position.line, f.position.column, f.severity)
    )


def unlisted(source: Source) -> list[Finding]:
    """A warning for every YAML file beside the parts that the constitution does not include."""
    main, *parts = source.files
    included = {part.resolve() for part in parts}
    folders = sorted({part.parent for part in parts} - {main.parent})
    return [
        Finding(
            severity="warning",
            position=Position(str(path)),
            message=f"{main.name} does not include this file, so nothing in it counts",
        )
        for folder in folders
        for path in sorted(folder.glob("*.y*ml"))
        if path.resolve() not in included
    ]


def _remarks(constitution: Constitution) -> Iterator[Remark]:
    if not constitution.restricted:
        yield Remark("error", ("rules",), "no restricted rule: there is nothing to guard against")
    for number, rule in enumerate(constitution.rules):
        place = ("rules", number)
        yield from _form(constitution, rule, place)
        yield from _content(rule, place)
        yield from _boundary(constitution, rule, place)
    yield from _giveaways(constitution)
    yield from _languages(constitution)
    yield from grammar_remarks(constitution)


def _rule_id(constitution: Constitution, location: Location) -> str | None:
    match location:
        case ("rules", int(number), *_):
            return constitution.rules[number].id
    return None


def _form(constitution: Constitution, rule: Rule, place: Location) -> Iterator[Remark]:
    if not _RULE_ID.fullmatch(rule.id):
        yield Remark(
            "error",
            (*place, "id"),
            f"got the id {rule.id!r}, expected lower-case letters, digits and underscores, "
            "starting with a letter",
        )
    if sum(other.id == rule.id for other in constitution.rules) > 1:
        yield Remark("error", (*place, "id"), f"the id {rule.id!r} is not unique")
    if not rule.title.strip():
        yield Remark("error", (*place, "title"), "the title is empty")
    if len(rule.text.split()) < MIN_WORDS:
        yield Remark(
            "error", (*place, "text"), f"the text is too short: expected at least {MIN_WORDS} words"
        )
    if not rule.applies_to:
        yield Remark(
            "error",
            (*place, "applies_to"),
            "applies_to is empty; expected some of input, output, exchange",
        )


def _content(rule: Rule, place: Location) -> Iterator[Remark]:
    needed = rule.polarity is Polarity.RESTRICTED
    for field in ("subtopics", "examples"):
        if not getattr(rule, field):
            message = f"the {rule.polarity.value} rule {rule.id!r} has no {field}"
            yield Remark("error" if needed else "warning", place, message)
    for field in ("subtopics", "examples", "boundary_examples", "boundary_with", "applies_to"):
        yield from _repeated(getattr(rule, field), (*place, field))


def _repeated(texts: tuple[str, ...], place: Location) -> Iterator[Remark]:
    seen: set[str] = set()
    for number, text in enumerate(texts):
        if not text.strip():
            yield Remark("error", (*place, number), "empty text")
        elif normalize(text) in seen:
            yield Remark("warning", (*place, number), f"stands twice in {place[-1]}: {text!r}")
        seen.add(normalize(text))


def _boundary(constitution: Constitution, rule: Rule, place: Location) -> Iterator[Remark]:
    by_id = {other.id: other for other in constitution.rules}
    if not rule.boundary_with:
        if rule.polarity is Polarity.RESTRICTED:
            message = "has no permitted neighbor: name one in boundary_with"
            yield Remark("error", place, f"the restricted rule {rule.id!r} {message}")
        else:
            message = "has no restricted neighbor in boundary_with"
            yield Remark("warning", place, f"the permitted rule {rule.id!r} {message}")
    elif not rule.boundary_examples:
        message = "has neighbors but no boundary_examples on its side"
        yield Remark("error", place, f"the {rule.polarity.value} rule {rule.id!r} {message}")
    for number, neighbor_id in enumerate(rule.boundary_with):
        here = (*place, "boundary_with", number)
        neighbor = by_id.get(neighbor_id)
        if neighbor is None:
            yield Remark("error", here, f"no rule has the id {neighbor_id!r}")
        elif neighbor.polarity is rule.polarity:
            message = f"the neighbor {neighbor_id!r} is {rule.polarity.value} too"
            yield Remark("error", here, f"{message}; expected one of the other polarity")
        elif rule.id not in neighbor.boundary_with:
            message = f"{neighbor_id!r} does not name {rule.id!r} in its boundary_with"
            yield Remark("warning", here, message)


def _giveaways(constitution: Constitution) -> Iterator[Remark]:
    """Texts that stand under both polarities: one of the two labels must be wrong."""
    seen: dict[str, Rule] = {}
    for number, rule in enumerate(constitution.rules):
        for location, text in _user_turns(rule, ("rules", number)):
            first = seen.setdefault(normalize(text), rule)
            if first.polarity is not rule.polarity:
                message = (
                    f"stands under {rule.polarity.value} here and under {first.polarity.value}"
                )
                yield Remark("error", location, f"{message} in {first.id!r}: {text!r}")


def _user_turns(rule: Rule, place: Location) -> Iterator[tuple[Location, str]]:
    for field in ("examples", "boundary_examples"):
        for number, text in enumerate(getattr(rule, field)):
            yield (*place, field, number), text
    for language, grammar in rule.grammar.items():
        for field in ("intents", "requests", "statements"):
            for number, text in enumerate(getattr(grammar, field)):
                yield (*place, "grammar", language, field, number), text


def _languages(constitution: Constitution) -> Iterator[Remark]:
    """Languages that nothing speaks, and those that one polarity alone speaks: the language would
    become a cue to the label."""
    speakers: dict[str, dict[Polarity, Location]] = {}
    for number, rule in enumerate(constitution.rules):
        for language in rule.grammar:
            place: Location = ("rules", number, "grammar", language)
            speakers.setdefault(language, {}).setdefault(rule.polarity, place)
    spoken = {*constitution.frames, *speakers}
    for number, language in enumerate(constitution.languages):
        if language not in spoken:
            message = f"no frames and no grammar of {language!r}: nothing can be written in it"
            yield Remark("error", ("languages", number), message)
    for language, places in speakers.items():
        if len(places) == 1:
            ((polarity, place),) = places.items()
            message = f"only {polarity.value} rules speak {language!r}"
            yield Remark("warning", place, f"{message}: the language would give the label away")
