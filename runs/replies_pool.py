"""Harmless replies that no stage was trained on, to set the shipped guard's threshold for replies.

    python runs/replies_pool.py POOL.parquet [--each 120] [--seed 0]

self_instruct's, of which nothing is trained on, and of each set with harmless replies that
runs/guard_rows.sh trains on, those that `custodes train` of the same seed kept out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from custodes.cli.sources import partition, read_examples
from custodes.data import write

TRAINED_ON = (
    "gpteacher_codegen",
    "gpteacher_roleplay",
    "gsm8k_test",
    "oasst_zh",
    "glaive_toolcall_300",
    "refusal_direction_harmless",
)
KEPT_OUT = 0.1
"""The default of `custodes train`."""


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pool", type=Path)
    parser.add_argument("--each", type=int, default=120, help="at most so many rows of a set")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    pool = read_examples(["self_instruct"], unreleasable=False)
    for name in TRAINED_ON:
        parts = partition(read_examples([name], unreleasable=False), KEPT_OUT, seed=options.seed)
        kept = [row for row in parts["calibration"] + parts["test"] if row.label == 0]
        pool += kept[: options.each]
    write(options.pool, pool)
    print(f"{len(pool)} rows: {options.pool}")


if __name__ == "__main__":
    main()
