"""Plain-language rules: form, reading, checking, comparing.

Knows no model, no data table and no classifier.
"""

from custodes.constitution.rules import Constitution, Frames, Grammar, Polarity, Rule, Severity

__all__ = ["Constitution", "Frames", "Grammar", "Polarity", "Rule", "Severity"]
