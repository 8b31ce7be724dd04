"""Every figure that the issue of sparse autoencoders asks for, into results.json beside this file.

    python benchmarks/sae/texts.py                                 # gather texts first
    python benchmarks/sae/run.py --size full --only matching,toy
    python benchmarks/sae/run.py --declare                         # rows that nobody measured

Sections: training, seeds-at-once, active-pairs, matching, matching-at-scale, formats, toy (no
model); collection, seeds, kinds, matching-trained, networks, control, descriptions (the embedded
model). `--only` leaves the rows of other sections as they are; `--declare` writes the rows of
sections that nobody measured.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

from pathlib import Path

import pairs
import speed
import study
from promised import PROMISED

from custodes.measure import Figure, merge_section, read_results, write_figures

HERE = Path(__file__).parent
SECTIONS = {
    "training": speed.training,
    "seeds-at-once": speed.seeds_from_one_store,
    "active-pairs": pairs.active_pairs,
    "matching": speed.matching,
    "matching-at-scale": speed.matching_at_scale,
    "formats": speed.formats,
    "toy": speed.toy,
    "collection": study.collection,
    "seeds": study.seeds,
    "kinds": study.kinds,
    "matching-trained": study.matching_trained,
    "networks": study.networks,
    "control": study.control,
    "descriptions": study.descriptions,
}
NO_MODEL = tuple(SECTIONS)[:7]


def main() -> None:
    options = arguments()
    options.work.mkdir(parents=True, exist_ok=True)
    home = HERE if options.size == "full" or options.declare else options.work
    out = options.out or home / "results.json"
    if options.declare:
        declare(out)
    else:
        for name in options.only.split(","):
            print(f"== {name}", flush=True)
            rows = SECTIONS[name](options)
            for row in rows:
                print(f"  {row['figure']}: {row['value']}", flush=True)
            merge(out, name, rows, options.size)
    if out.parent == HERE:
        write_figures(HERE / "README.md", read_results(out), digits=4)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=("tiny", "full"), default="tiny")
    parser.add_argument("--only", help="sections, by commas; default: those that need no model")
    parser.add_argument("--declare", action="store_true", help="add what nobody measured")
    parser.add_argument("--seeds", type=int, nargs="+", help="of seeds and kinds")
    parser.add_argument(
        "--race-rows",
        type=int,
        default=131_072,
        metavar="N",
        help="of training: rows of each run; seeds-at-once takes half",
    )
    parser.add_argument("--rows", type=int, help="of seeds and kinds: so many of the store's")
    parser.add_argument(
        "--penalties",
        default="",
        metavar="KIND=WEIGHT,...",
        help="of the section kinds, such as relu=3,gated=3",
    )
    parser.add_argument("--toy-seeds", type=int, nargs="+", help="of the section toy; default: ten")
    parser.add_argument("--texts", type=Path, default=Path("build/sae/texts"))
    parser.add_argument("--store", type=Path, help="for descriptions: a store of the hook")
    parser.add_argument("--autoencoder", type=Path, help="for descriptions: what to describe")
    parser.add_argument("--minilm", type=Path, help="for descriptions: the judge's folder")
    parser.add_argument("--work", type=Path, default=Path("build/sae"), help="scratch folder")
    parser.add_argument("--out", type=Path, help="default: beside this file if full, else --work")
    options = parser.parse_args()
    options.only = options.only or ",".join(NO_MODEL)
    unknown = set(options.only.split(",")) - set(SECTIONS)
    if unknown:
        parser.error(f"got {', '.join(sorted(unknown))}; sections are {', '.join(SECTIONS)}")
    options.seeds = options.seeds or list(range(4 if options.size == "full" else 2))
    pairs = [one.split("=") for one in options.penalties.split(",") if one]
    options.penalties = {kind: float(weight) for kind, weight in pairs}
    options.work = options.work / options.size
    return options


GIVEN = ("--race-rows", "--rows", "--penalties", "--toy-seeds", "--seeds")


def given_as(name: str) -> list[str]:
    """An option as it was given, with its values."""
    if name not in sys.argv:
        return []
    start = sys.argv.index(name) + 1
    values = itertools.takewhile(lambda one: not one.startswith("--"), sys.argv[start:])
    return [name, *values]


def merge(path: Path, section: str, rows: list[dict], size: str) -> None:
    """Put one section's rows into the file; what it promised and did not measure stays a row."""
    given = [part for name in GIVEN for part in given_as(name)]
    command = " ".join([f"python benchmarks/sae/run.py --size {size} --only {section}", *given])
    measured = {row["figure"] for row in rows}
    missing = [
        {"figure": figure, "value": None, "target": target, "unit": unit}
        for figure, target, unit in PROMISED.get(section, [])
        if figure not in measured and size == "full"
    ]
    merge_section(path, section, [*rows, *missing], order=list(SECTIONS), command=command)


def declare(path: Path) -> None:
    """Put every promised row of sections without a measured one, as not measured."""
    known: list[Figure] = read_results(path) if path.exists() else []
    for section in PROMISED:
        here = [row for row in known if row.figure.startswith(f"{section}: ")]
        if all(row.value is None for row in here):
            merge(path, section, [], "full")


if __name__ == "__main__":
    main()
