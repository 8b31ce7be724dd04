"""The form of a constitution: rules in plain language, and the grammar that can speak for them.

Knows the form only; reading files with line numbers is `reading.py`, judging content `lint.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field

from custodes.config import Config
from custodes.types import Mode, RuleId

__all__ = ["Constitution", "Frames", "Grammar", "Polarity", "Rule", "Severity"]


class Polarity(StrEnum):
    """Whether a rule names what must be stopped or what must be let through."""

    RESTRICTED = "restricted"
    PERMITTED = "permitted"


class Severity(StrEnum):
    """How bad a miss is."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Grammar(Config):
    """Slots and phrases, in one language, from which texts of a rule are written without a model.

    A `{name}` in a phrase is filled from `slots[name]` (the rule's own, else the frames').
    """

    slots: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    """Slot name -> fillers; a filler may hold slots itself."""
    intents: tuple[str, ...] = ()
    """Verb phrases in the base form ("bake {bread} without yeast"); every frame can carry them."""
    requests: tuple[str, ...] = ()
    """Whole user turns that need no frame."""
    statements: tuple[str, ...] = ()
    """Texts that are themselves what the rule speaks of (an insult, a poem), on either side."""
    steps: tuple[str, ...] = ()
    """Sentences of a reply that does what the intents ask."""


class Frames(Config):
    """Registers that any rule's intents can be put in, in one language.

    The same frames carry restricted and permitted intents, so that style is no cue to the label.
    """

    slots: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    """Fillers that all rules share: personas, reasons, places."""
    requests: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    """Style (plain, polite, terse, story, professional...) -> frames with `{intent}`."""
    replies: tuple[str, ...] = ()
    """Replies that comply; they hold `{intent}` and `{steps}`."""
    refusals: tuple[str, ...] = ()
    """Replies that decline; they may hold `{intent}`."""


class Rule(Config):
    """One rule."""

    id: RuleId
    """Lower-case letters, digits and underscores; unique in the constitution."""
    title: str
    """A few words for people."""
    text: str
    """The rule itself, in plain language."""
    polarity: Polarity
    """restricted: to be stopped; permitted: to be let through."""
    subtopics: tuple[str, ...] = ()
    """What the rule covers; data are balanced over these."""
    examples: tuple[str, ...] = ()
    """User turns that fall under the rule and are not near its boundary."""
    boundary_examples: tuple[str, ...] = ()
    """User turns that fall under the rule, just on its side of the boundary."""
    boundary_with: tuple[RuleId, ...] = ()
    """Neighbors of the other polarity."""
    severity: Severity = Severity.MEDIUM
    """How bad a miss is."""
    applies_to: tuple[Mode, ...] = (Mode.INPUT, Mode.OUTPUT, Mode.EXCHANGE)
    """Which sides of a conversation the rule is about."""
    grammar: Mapping[str, Grammar] = Field(default_factory=dict)
    """Language code (en, es...) -> grammar."""

    @property
    def subject(self) -> RuleId:
        """The rule that stands for what this one is about: itself where it is restricted, else
        its first neighbor. A restricted rule and its permitted twins are written in contrast."""
        twin = self.polarity is Polarity.PERMITTED and bool(self.boundary_with)
        return self.boundary_with[0] if twin else self.id


class Constitution(Config):
    """A list of rules with what the grammar writer needs to speak for them."""

    format: int = 1
    """Version of this file format."""
    id: str
    """Short name."""
    version: str
    """The authors' version of the text."""
    title: str
    """A line for people."""
    description: str = ""
    """What it is for, and where its categories come from."""
    languages: tuple[str, ...] = ()
    """Languages that data are written in where a run names none; empty: all that it carries."""
    frames: Mapping[str, Frames] = Field(default_factory=dict)
    """Language code -> frames."""
    rules: tuple[Rule, ...]
    """The rules."""

    def rule(self, rule_id: str) -> Rule:
        """The rule of that id; `KeyError` where there is none."""
        for rule in self.rules:
            if rule.id == rule_id:
                return rule
        raise KeyError(rule_id)

    @property
    def restricted(self) -> tuple[Rule, ...]:
        """The restricted rules, in order."""
        return tuple(rule for rule in self.rules if rule.polarity is Polarity.RESTRICTED)

    @property
    def permitted(self) -> tuple[Rule, ...]:
        """The permitted rules, in order."""
        return tuple(rule for rule in self.rules if rule.polarity is Polarity.PERMITTED)
