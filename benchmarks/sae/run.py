"""Every figure that the issue of sparse autoencoders asks for, into results.json beside this file.

    python benchmarks/sae/texts.py                                 # gather texts first
    python benchmarks/sae/run.py --size full --only matching,toy
    python benchmarks/sae/run.py --declare                         # rows that nobody measured

Sections: training, seeds-at-once, active-pairs, matching, matching-at-scale, formats, toy,
collection, seeds, kinds, matching-trained, networks, control, descriptions. At size tiny the first
seven need no model; at size full training, seeds-at-once and the last seven do. `--only` leaves the
rows of other sections as they are; `--declare` adds the promised rows that nobody measured.
"""

from __future__ import annotations

import argparse
import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

from pathlib import Path

import collection
import descriptions
import networks
import pairs
import scale
import seeds
import speed
import toy
from promised import PROMISED
from stores import LAYER

from custodes.measure import (
    Figure,
    check_sections,
    measure_section,
    merge_section,
    read_results,
    write_figures,
    write_sections,
)

HERE = Path(__file__).parent
SECTIONS = {
    "training": speed.training,
    "seeds-at-once": speed.seeds_from_one_store,
    "active-pairs": pairs.active_pairs,
    "matching": speed.matching,
    "matching-at-scale": scale.matching_at_scale,
    "formats": speed.formats,
    "toy": toy.toy,
    "collection": collection.collection,
    "seeds": seeds.seeds,
    "kinds": seeds.kinds,
    "matching-trained": scale.matching_trained,
    "networks": networks.networks,
    "control": networks.control,
    "descriptions": descriptions.descriptions,
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
            rows = measure_section(name, SECTIONS[name], options)
            merge(out, name, rows, options.size)
    if out.parent == HERE:
        write_figures(HERE / "README.md", read_results(out), digits=4)


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    add = parser.add_argument
    add("--size", choices=("tiny", "full"), default="tiny")
    add("--only", help="sections, by commas; default: the first seven")
    add("--declare", action="store_true", help="add what nobody measured")
    add("--work", type=Path, default=Path("build/sae"), help="scratch folder")
    add("--out", type=Path, help="default: beside this file if full, else --work")
    of = parser.add_argument_group("what is read")
    of.add_argument("--texts", type=Path, default=Path("build/sae/texts"))
    of.add_argument("--tokens", type=int, default=1_000_000, help="so many into the store")
    of.add_argument("--layers", type=whole, default=(LAYER,), metavar="N,...",
                    help="of the store, and the axis of layers; 7 must be one")  # fmt: skip
    of.add_argument("--store", type=Path, help="this store instead")
    of.add_argument("--rows", type=int, help="of seeds and kinds: train on so many first rows")
    of = parser.add_argument_group("single sections")
    of.add_argument("--seeds", type=int, nargs="+", help="of seeds, kinds and matching-trained")
    of.add_argument("--sizes", type=whole, metavar="F,...", help="of seeds")
    of.add_argument("--penalties", default="", metavar="KIND=WEIGHT,...",
                    help="of kinds, such as relu=3,gated=3")  # fmt: skip
    of.add_argument("--race-rows", type=int, default=131_072, metavar="N",
                    help="of training: rows of each run; seeds-at-once takes half")  # fmt: skip
    of.add_argument("--wide", type=int, default=131_072, help="of matching-trained: latents")
    of.add_argument("--wide-rows", type=int, default=122_880, help="of matching-trained: rows")
    of.add_argument("--network-latents", type=int, default=9216, help="of networks and control")
    of.add_argument("--network-tokens", type=int, default=1_000_000, help="likewise")
    of.add_argument("--network-contexts", type=int, default=1024, help="of the lookup's table")
    of.add_argument("--toy-seeds", type=int, nargs="+",
                    help="of toy, besides those that --work holds; default: ten")  # fmt: skip
    of.add_argument("--autoencoder", type=Path, help="of descriptions: what to describe")
    of.add_argument("--minilm", type=Path, help="of descriptions: the judge's folder")
    options = parser.parse_args(given)
    options.only = options.only or ",".join(NO_MODEL)
    check_sections(parser, options.only.split(","), SECTIONS)
    if LAYER not in options.layers:
        parser.error(f"--layers: got {options.layers}; {LAYER}, of the other axes, must be one")
    full = options.size == "full"
    options.seeds = options.seeds or list(range(4 if full else 2))
    options.sizes = options.sizes or ((576, 2304, 9216) if full else (16, 64))
    pairs = [one.split("=") for one in options.penalties.split(",") if one]
    options.penalties = {kind: float(weight) for kind, weight in pairs}
    options.work = options.work / options.size
    return options


def whole(values: str) -> tuple[int, ...]:
    return tuple(int(value) for value in values.split(","))


ELSEWHERE = ("--size", "--only", "--declare", "--work", "--out")


def given_options(arguments: list[str]) -> list[str]:
    """Options as they were given, but for those that say where and which sections."""
    found, taking = [], False
    for one in arguments:
        if one.startswith("--"):
            taking = one.split("=")[0] not in ELSEWHERE
        if taking:
            found.append(one)
    return found


def merge(path: Path, section: str, rows: list[dict], size: str) -> None:
    """Put one section's rows into the file; what it promised and did not measure stays a row."""
    given = given_options(sys.argv[1:])
    command = " ".join([f"python benchmarks/sae/run.py --size {size} --only {section}", *given])
    measured = {row["figure"] for row in rows}
    missing = [row for row in promised(section) if row["figure"] not in measured]
    rows = [*rows, *(missing if size == "full" else ())]
    merge_section(path, section, rows, order=list(SECTIONS), command=command)


def promised(section: str) -> list[dict]:
    return [
        {"figure": figure, "value": None, "target": target, "unit": unit}
        for figure, target, unit in PROMISED.get(section, [])
    ]


def declare(path: Path) -> None:
    """Add every promised row that is not there, as not measured; others stay as they are."""
    known: list[Figure] = read_results(path) if path.exists() else []
    there = {row.figure for row in known}
    for section in PROMISED:
        for row in promised(section):
            name = f"{section}: {row['figure']}"
            if name not in there:
                command = f"python benchmarks/sae/run.py --size full --only {section}"
                known.append(Figure.of(**{**row, "figure": name}, command=command))
    write_sections(path, known, order=list(SECTIONS))


if __name__ == "__main__":
    main()
