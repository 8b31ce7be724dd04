"""Who writes the rows of a plan; `WRITERS` names them all.

grammar   slots and frames that the constitution carries; no model needed
model     any model backend
"""

from __future__ import annotations

from custodes.config import Registry
from custodes.synthesis.writers.base import Draft, Writer

__all__ = ["WRITERS", "Draft", "Writer"]

WRITERS = Registry(
    "writers",
    {
        "grammar": "custodes.synthesis.writers.grammar:GrammarWriter",
        "model": "custodes.synthesis.writers.model:ModelWriter",
    },
)
"""name -> class; every class takes the constitution, the settings, and the model or none."""
