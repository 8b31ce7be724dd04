"""The prompts that models are asked with: jinja templates beside this file.

Sandboxed and strict: a template cannot reach into Python, and an unknown name is an error.
"""

from __future__ import annotations

from functools import cache

from jinja2 import PackageLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

__all__ = ["render"]


@cache
def _environment() -> SandboxedEnvironment:
    return SandboxedEnvironment(
        loader=PackageLoader("custodes.synthesis", "prompts"),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, **values: object) -> str:
    """The filled template of that file name, without blank ends."""
    return _environment().get_template(template).render(**values).strip()
