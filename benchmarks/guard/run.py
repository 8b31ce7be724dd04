"""The figures of docs/guard.md: what the shipped guard catches, refuses and costs.

    python benchmarks/guard/run.py --size tiny|full [--part quality] [--guard FOLDER]

Writes results.json beside this file (--size full) or out/benchmarks/guard.json (tiny). Needs the
public sets (CUSTODES_DATA_DIR). What a guard said of a text is kept below --work, so that an
interrupted run goes on.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PARTS = (
    "quality",
    "shipped",
    "transforms",
    "flip",
    "cost",
    "peers",
    "probe",
    "ablations",
    "budget",
    "inference",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=("tiny", "full"), default="tiny")
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument(
        "--guard",
        action="append",
        help="a guard's folder, default: the shipped; again: one guard of several seeds, whose "
        "rows are their mean, with the interval from the least lower to the greatest upper end",
    )
    parser.add_argument("--label", default="", help="what the guard is called in the rows")
    parser.add_argument("--rows", help="quality: only these kinds, by commas; see quality.KINDS")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=ROOT / "out/benchmarks/guard")
    parser.add_argument("--out", type=Path, help="default: beside this file if full")
    options = parser.parse_args()
    sys.path.insert(0, str(HERE))

    from custodes.config import environment
    from custodes.measure import read_results, write_results

    home = HERE / "results.json" if options.size == "full" else options.work.with_suffix(".json")
    place = options.out or home
    kept = read_results(place) if place.exists() else []
    commit = str(environment()["commit"])
    guards = options.guard or ["default"]
    for part in options.part or PARTS:
        command = f"python benchmarks/guard/run.py --size {options.size} --part {part}"
        command += "".join(f" --guard {guard}" for guard in guards if guard != "default")
        command += f" --label '{options.label}'" if options.label else ""
        command += f" --rows {options.rows}" if options.rows and part == "quality" else ""
        print(f"== {part}", flush=True)
        kept = [row for row in kept if row.command != command]
        module = __import__(part)
        common = {
            "seeds": [options.seed + number for number in range(len(guards))],
            "command": command,
            "commit": commit,
        }
        for figure in together([of_one(module, options, guard, common) for guard in guards]):
            named = f"{options.label}: {figure.figure}" if options.label else figure.figure
            row = replace(figure, figure=named)
            kept.append(row)
            print(
                f"{row.figure:<75} {row.value} {row.unit} [{row.low}, {row.high}] "
                f"target {row.target} met {row.met}",
                flush=True,
            )
        # First apart: the page's own file is refused where a name stands twice, after all the work.
        apart = options.work.with_name(f"guard-{part}.json")
        apart.parent.mkdir(parents=True, exist_ok=True)
        write_results(apart, [row for row in kept if row.command == command])
        place.parent.mkdir(parents=True, exist_ok=True)
        write_results(place, kept)
    print(f"written to {place}")


def of_one(module: Any, options: argparse.Namespace, guard: str, common: Any) -> Iterator[Any]:
    """The figures of one guard."""
    yield from module.figures(argparse.Namespace(**{**vars(options), "guard": guard}), **common)


def together(several: Sequence[Iterable[Any]]) -> Iterator[Any]:
    """Rows of guards that differ by seed as one row each: the mean of their values."""
    from custodes.measure import target_met

    for same in zip(*several, strict=True):
        first = same[0]
        if len(same) == 1:
            yield first
            continue
        value = sum(row.value for row in same) / len(same)
        ends = [(row.low, row.high) for row in same if row.low is not None]
        yield replace(
            first,
            value=value,
            low=min(low for low, _ in ends) if ends else None,
            high=max(high for _, high in ends) if ends else None,
            met=target_met(value, first.target, first.unit),
        )


if __name__ == "__main__":
    main()
