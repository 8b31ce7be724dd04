"""Prompts of people to chat models, parted: some to train on, the others to set thresholds on.

    python runs/people.py TRAIN.parquet POOL.parquet [--seed 0]

Half of arena_1k_prompts is for training; the other half and self_instruct are the benign pool,
which no stage sees. Parted by group, so that a prompt and its like stay together.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from custodes.cli.sources import read_examples
from custodes.data import split, write


def main() -> None:
    """Write both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("pool", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = read_examples(["arena_1k_prompts"], unreleasable=False)
    halves = split(rows, {"train": 0.5, "pool": 0.5}, seed=options.seed)
    pool = [*halves["pool"], *read_examples(["self_instruct"], unreleasable=False)]
    write(options.train, halves["train"])
    write(options.pool, pool)
    print(f"{len(halves['train'])} rows: {options.train}\n{len(pool)} rows: {options.pool}")


if __name__ == "__main__":
    main()
