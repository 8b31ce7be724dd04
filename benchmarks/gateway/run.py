"""The figures of docs/gateway.md: what the gateway adds in time, processor and memory.

    python benchmarks/gateway/run.py --size tiny|full [--part latency] [--install-peer]

Writes results.json beside this file (--size full) or out/benchmarks/gateway.json (tiny).
`overhead` needs the embedded model; the whole guard does too.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PARTS = {"latency": "traffic", "throughput": "traffic", "overhead": "overhead"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=("tiny", "full"), default="tiny")
    parser.add_argument("--part", choices=tuple(PARTS), action="append")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=ROOT / "out/benchmarks/gateway")
    parser.add_argument(
        "--install-peer", action="store_true", help="install the peer into custodes' cache"
    )
    options = parser.parse_args()
    sys.path.insert(0, str(HERE))

    from custodes.config import environment
    from custodes.measure import read_results, write_results

    place = HERE / "results.json" if options.size == "full" else options.work.with_suffix(".json")
    kept = read_results(place) if place.exists() else []
    commit = str(environment()["commit"])
    for part in options.part or PARTS:
        command = f"python benchmarks/gateway/run.py --size {options.size} --part {part}"
        print(f"== {part}", flush=True)
        measure = getattr(__import__(PARTS[part]), part)
        kept = [row for row in kept if row.command != command]
        for row in measure(options, seeds=[options.seed], command=command, commit=commit):
            kept.append(row)
            print(
                f"{row.figure:<75} {row.value:.4g} {row.unit} [{row.low}, {row.high}] "
                f"target {row.target} met {row.met}",
                flush=True,
            )
        place.parent.mkdir(parents=True, exist_ok=True)
        write_results(place, kept)
    print(f"written to {place}")


if __name__ == "__main__":
    main()
