"""Which characters are not drawn, and which are drawn over the letter before them.

Classes for regular expressions; they know nothing of what such characters are used for.
"""

from __future__ import annotations

__all__ = ["MARKS", "NOT_DRAWN", "SELECTORS", "TAGS"]

TAGS = "\U000e0020-\U000e007e"
"""Tag characters: ASCII that no font draws."""
SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
"""Variation selectors: how the sign before is drawn; 256, so that a row of them can be bytes."""
NOT_DRAWN = (
    # Format characters (Unicode's category Cf),
    "\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e"
    "\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    # and what is ignored without being one (Default_Ignorable_Code_Point).
    "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\uffa0\ufff0-\ufff8"
    "\U000e0000-\U000e0fff"
)
MARKS = "\u0300-\u034e\u0350-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
"""Combining marks that belong to no script: accents, strokes through a letter, rings around it."""
