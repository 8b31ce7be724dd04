"""Harmless prompts as a chat model imagines its users, for training and for nothing else.

    python runs/model_prompts.py OUT.parquet [--seed 0] [--count 2500]

The embedded model (Apache-2.0) is shown a system turn that names a subject, then the beginning of
the user's turn, and goes on (as Magpie does, Xu et al., arXiv 2406.08464). Nobody has read them:
a 135M model asks clumsily and sometimes strangely, but it asks for nothing that is forbidden.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from custodes.data import write
from custodes.models import MODELS, Sampling
from custodes.types import Example, Message

USER_TURN = "<|im_start|>system\n{{ messages[0].content }}<|im_end|>\n<|im_start|>user\n"
SUBJECTS = tuple(
    """cooking; board games; history; Python programming; web pages; databases; operating systems;
    travel; parenting; chemistry; physics; biology; law and contracts; computer security;
    medicine and health; writing fiction; poetry; personal finance; gardening; sports; electronics;
    philosophy; relationships; machine learning; language models; video games; home repair;
    politics; marketing; mathematics; music; cars; films; books; psychology; religion; geography;
    animals; fitness; job applications; school homework; languages and translation; emails and
    letters; news; statistics; photography; art; hunting and fishing; privacy; logistics""".replace(
        "\n    ", " "
    ).split("; ")
)
SHORTEST, LONGEST = 12, 600
_BATCH = 128


def prompts(count: int, seed: int) -> Iterator[tuple[str, str]]:
    """(subject, prompt), at most `count`, no prompt twice."""
    backend = MODELS.load("embedded")
    model = backend(backend.Config(dtype="int8", chat_template=USER_TURN, batch_size=_BATCH))
    seen: set[str] = set()
    for start in range(0, count, _BATCH):
        asked = [SUBJECTS[place % len(SUBJECTS)] for place in range(start, start + _BATCH)]
        system = "You are a helpful assistant who answers questions about {}."
        talks = [(Message("system", system.format(subject)),) for subject in asked]
        sampling = Sampling(temperature=0.9, top_p=0.95, max_tokens=64, seed=seed + start)
        for subject, reply in zip(asked, model.generate(talks, sampling), strict=True):
            text = reply.text.strip()
            if SHORTEST <= len(text) <= LONGEST and text not in seen:
                seen.add(text)
                yield subject, text
        print(f"{len(seen)} prompts", flush=True)


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=2500)
    options = parser.parse_args()
    rows = [
        Example(
            id=f"model-prompt-{options.seed}-{number}",
            source="SmolLM2-135M-Instruct",
            licence="Apache-2.0",
            kind="benign_request",
            messages=(Message("user", text),),
            label=0,
            category=subject,
        )
        for number, (subject, text) in enumerate(prompts(options.count, options.seed))
    ]
    write(options.out, rows)
    print(f"{len(rows)} rows: {options.out}")


if __name__ == "__main__":
    main()
