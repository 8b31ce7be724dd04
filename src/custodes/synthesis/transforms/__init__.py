"""Variations of a text, one file each; `TRANSFORMS` names them all.

What a wrapped text is labelled: its own label. A wrapper never turns a permitted request into a
restricted one, because transforms whose wrapper breaks a rule itself (`Transform.violates`: it
demands that all rules be dropped) have a mild form, and permitted rows get that form only.
The strong form therefore occurs on rows of restricted rules alone, which is also what a rule
against overriding instructions says of it; restricted rows get the mild form half of the time.

Wrappers are in English whatever the language of the text.
"""

from __future__ import annotations

from custodes.config import Registry
from custodes.synthesis.transforms.base import Apply, Family, Side, Transform
from custodes.synthesis.transforms.compose import compose, in_order

__all__ = ["TRANSFORMS", "Apply", "Family", "Side", "Transform", "compose", "in_order"]

_HERE = "custodes.synthesis.transforms"

TRANSFORMS = Registry(
    "transforms",
    {
        "base64": f"{_HERE}.base64:TRANSFORM",
        "caesar": f"{_HERE}.caesar:TRANSFORM",
        "casing": f"{_HERE}.casing:TRANSFORM",
        "few_shot": f"{_HERE}.few_shot:TRANSFORM",
        "hexadecimal": f"{_HERE}.hexadecimal:TRANSFORM",
        "homoglyphs": f"{_HERE}.homoglyphs:TRANSFORM",
        "hypothetical": f"{_HERE}.hypothetical:TRANSFORM",
        "in_code": f"{_HERE}.in_code:TRANSFORM",
        "in_json": f"{_HERE}.in_json:TRANSFORM",
        "in_markdown": f"{_HERE}.in_markdown:TRANSFORM",
        "leetspeak": f"{_HERE}.leetspeak:TRANSFORM",
        "many_shot": f"{_HERE}.many_shot:TRANSFORM",
        "morse": f"{_HERE}.morse:TRANSFORM",
        "paraphrase": f"{_HERE}.paraphrase:TRANSFORM",
        "paraphrase_by_model": f"{_HERE}.paraphrase:BY_MODEL",
        "past_tense": f"{_HERE}.past_tense:TRANSFORM",
        "payload_splitting": f"{_HERE}.payload_splitting:TRANSFORM",
        "prefix_injection": f"{_HERE}.prefix_injection:TRANSFORM",
        "refusal_suppression": f"{_HERE}.refusal_suppression:TRANSFORM",
        "reversed_words": f"{_HERE}.reversed_words:TRANSFORM",
        "role_play": f"{_HERE}.role_play:TRANSFORM",
        "rot13": f"{_HERE}.rot13:TRANSFORM",
        "suffix": f"{_HERE}.suffix:TRANSFORM",
        "system_prompt_override": f"{_HERE}.system_prompt_override:TRANSFORM",
        "translation": f"{_HERE}.translation:TRANSFORM",
        "typos": f"{_HERE}.typos:TRANSFORM",
        "zero_width": f"{_HERE}.zero_width:TRANSFORM",
    },
)
"""name -> `Transform`."""
