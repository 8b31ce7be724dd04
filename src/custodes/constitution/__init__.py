"""Plain-language rules: form, reading, checking, comparing.

Knows no model, no data table and no classifier.
"""

from custodes.constitution.comparison import Difference, constitution_hash, diff, rule_hash
from custodes.constitution.expand import Lexicon, capitalize, count, draw, nth, sample, slot_names
from custodes.constitution.finding import Finding, Position, Positions
from custodes.constitution.lint import check, unlisted
from custodes.constitution.reading import Source, examine, read, shipped
from custodes.constitution.rules import Constitution, Frames, Grammar, Polarity, Rule, Severity
from custodes.constitution.schema import Part, json_schema

__all__ = [
    "Constitution",
    "Difference",
    "Finding",
    "Frames",
    "Grammar",
    "Lexicon",
    "Part",
    "Polarity",
    "Position",
    "Positions",
    "Rule",
    "Severity",
    "Source",
    "capitalize",
    "check",
    "constitution_hash",
    "count",
    "diff",
    "draw",
    "examine",
    "json_schema",
    "nth",
    "read",
    "rule_hash",
    "sample",
    "shipped",
    "slot_names",
    "unlisted",
]
