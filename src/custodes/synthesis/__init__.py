"""From a constitution to labelled examples: plan, write, vary, filter.

    plan.py        rule x subtopic x style x language x side -> tasks
    writers/       tasks -> rows: grammar, model
    transforms/    variations of a text, one file each
    vary.py        a task's chain of transforms, applied to its row
    filters.py     what is dropped, and why
    pipeline.py    all of it, into a folder, resumable

Knows no classifier and no data but its own.
"""

from custodes.synthesis.config import Component, SynthesisConfig
from custodes.synthesis.filters import Filtered, filter_rows
from custodes.synthesis.judge import model_judge
from custodes.synthesis.pipeline import synthesize, write
from custodes.synthesis.plan import plan, unwritten
from custodes.synthesis.task import Task
from custodes.synthesis.transforms import TRANSFORMS, Transform, compose
from custodes.synthesis.vary import vary
from custodes.synthesis.writers import WRITERS, Draft, Writer

__all__ = [
    "TRANSFORMS",
    "WRITERS",
    "Component",
    "Draft",
    "Filtered",
    "SynthesisConfig",
    "Task",
    "Transform",
    "Writer",
    "compose",
    "filter_rows",
    "model_judge",
    "plan",
    "synthesize",
    "unwritten",
    "vary",
    "write",
]
