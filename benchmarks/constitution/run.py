"""The figures of docs/constitution.md: quality, adaptation, speed, scale.

    python benchmarks/constitution/run.py --size tiny|full [--part quality] [--seed 0]

Writes results.json beside this file (--size full) or out/benchmarks/constitution.json (tiny).
Quality needs the public sets (CUSTODES_DATA_DIR) and the folder that runs/shipped_guard.sh leaves.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "0")

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PARTS = ("quality", "adaptation", "speed", "scale")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=("tiny", "full"), default="tiny")
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, default=ROOT / "out/shipped/run")
    options = parser.parse_args()
    sys.path.insert(0, str(HERE))

    from custodes.config import environment
    from custodes.measure import read_results, write_results

    place = (
        HERE / "results.json"
        if options.size == "full"
        else ROOT / "out/benchmarks/constitution.json"
    )
    kept = {row.figure: row for row in read_results(place)} if place.exists() else {}
    commit = str(environment()["commit"])
    for part in options.part or PARTS:
        module = __import__(part)
        command = f"python benchmarks/constitution/run.py --size {options.size} --part {part}"
        print(f"== {part}", flush=True)
        for row in module.figures(options, command=command, commit=commit):
            kept[row.figure] = row
            print(
                f"{row.figure:<60} {row.value} {row.unit} [{row.low}, {row.high}] "
                f"target {row.target} met {row.met}",
                flush=True,
            )
        place.parent.mkdir(parents=True, exist_ok=True)
        write_results(place, list(kept.values()))
    print(f"written to {place}")


if __name__ == "__main__":
    main()
