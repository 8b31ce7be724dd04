"""GPTFuzz's labelled replies that may be trained on; the others are measured on.

    python runs/replies.py TRAIN.parquet

Parted by question, so that all replies to one stay together; benchmarks/guard/sets.py parts alike.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from custodes.cli.sources import read_examples
from custodes.data import split, write


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path)
    options = parser.parse_args()
    rows = read_examples(["gptfuzz_labelled_train"], unreleasable=False)
    parts = split(rows, {"train": 0.7, "kept": 0.3}, seed=0)
    write(options.train, parts["train"])
    print(f"{len(parts['train'])} rows: {options.train}; {len(parts['kept'])} kept out")


if __name__ == "__main__":
    main()
