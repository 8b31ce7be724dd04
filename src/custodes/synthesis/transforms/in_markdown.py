"""The text inside a markdown document: headings, quotes, tables, check lists."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from custodes.synthesis.transforms.base import Apply, Transform

__all__ = ["TRANSFORM"]

_TEMPLATES = (
    "# Notes\n\n## Open question\n\n{text}\n\n## Answer\n",
    "> {line}\n\nReply to the quote.",
    "| field | value |\n|---|---|\n| request | {line} |\n| reply |  |",
    "- [x] buy milk\n- [ ] {line}\n\nWork through the open item.",
    "**Q:** {line}\n\n**A:**",
    "<details>\n<summary>Request</summary>\n\n{text}\n\n</details>",
    "1. Read the next item.\n2. {line}\n3. Summarize.",
    "---\ntitle: {line}\n---\n\nWrite the body of this page.",
    "```text\n{text}\n```\n\nRespond to the block above.",
    "### Ticket 482\n\n*Reporter:* guest\n\n{text}\n\n*Resolution:*",
    "## FAQ\n\n### {line}\n\n_(your answer here)_",
    "Document follows.\n\n***\n\n{text}\n\n***\n\nEnd of document. Please act on it.",
)
_IN_REPLIES = (
    "# Answer\n\n{text}",
    "> {line}",
    "**Short answer:** {line}",
    "- {line}",
    "<details>\n<summary>Answer</summary>\n\n{text}\n\n</details>",
    "```text\n{text}\n```",
    "| answer |\n|---|\n| {line} |",
    "***\n\n_{line}_\n\n***",
)


def _within(templates: Sequence[str]) -> Apply:
    def apply(text: str, rng: Random) -> str:
        template = rng.choice(templates)
        return template.replace("{line}", " ".join(text.splitlines())).replace("{text}", text)

    return apply


TRANSFORM = Transform(
    name="in_markdown",
    family="structure",
    apply=_within(_TEMPLATES),
    bare=_within(_IN_REPLIES),
)
"""Line breaks of the text may become spaces."""
