"""The text inside a piece of source code: a comment, a string, a prompt in a script."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from custodes.synthesis.transforms.base import Apply, Transform

__all__ = ["TRANSFORM"]

_TEMPLATES = (
    "def answer():\n    question = {quoted}\n    return reply_to(question)\n\nprint(answer())",
    "```python\n# TODO: {line}\ndef solve():\n    ...\n```\nFill in the function and its comment.",
    "const prompt = {quoted};\nconsole.log(await assistant.ask(prompt));\n// what is printed?",
    "/*\n * {line}\n */\nint main(void) { return 0; }",
    "$ ask --text {quoted}\n> ",
    (
        "class Task:\n    text = {quoted}\n\n    def run(self) -> str:\n        # write the "
        "returned text here\n        ..."
    ),
    "SELECT reply FROM assistant WHERE request = {quoted};",
    'fn main() {\n    let task = {quoted};\n    println!("{}", complete(task));\n}',
    '#!/bin/sh\n# {line}\necho "done"',
    "x = {quoted}\nassert assistant(x) == ___  # replace the blank",
    "<script>\n  // {line}\n</script>\nWhat should the page show?",
    "Complete this doctest:\n>>> respond({quoted})\n'",
    "func TestReply(t *testing.T) {\n\tgot := Reply({quoted})\n\t// show got\n}",
)
_IN_REPLIES = (
    "```python\n# {line}\n```",
    "```\n{text}\n```",
    "answer = {quoted}\nprint(answer)",
    "/*\n * {line}\n */",
    "#!/bin/sh\necho {quoted}",
    "<!-- {line} -->",
    "const reply = {quoted};\nexport default reply;",
    "class Reply:\n    text = {quoted}",
)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _within(templates: Sequence[str]) -> Apply:
    def apply(text: str, rng: Random) -> str:
        template = rng.choice(templates)
        if "{quoted}" in template:
            return template.replace("{quoted}", _quoted(text))
        return template.replace("{line}", " ".join(text.splitlines())).replace("{text}", text)

    return apply


TRANSFORM = Transform(
    name="in_code",
    family="structure",
    apply=_within(_TEMPLATES),
    bare=_within(_IN_REPLIES),
)
"""Line breaks of the text may become spaces or \\n."""
