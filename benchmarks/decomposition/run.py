"""Every figure that the parameter-decomposition issue asks for, into results.json beside this file.

    python benchmarks/decomposition/run.py --size full
    python benchmarks/decomposition/run.py --size full --only apd-tms-5-2,spd-tms-5-2

Sections: losses, speed, permutation, and a section a model and method. `--only` leaves the rows of
the others as they are. Models go on where a killed run stopped (their folders are below --work).
`--short` takes fewer steps of fewer rows than the papers, an hour of one core where they take a
day; so do `--steps` and `--batch`; the rows say so. Times are of the processor, on one thread.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from functools import partial
from pathlib import Path

import speed

import models
from custodes.measure import (
    check_sections,
    measure_section,
    merge_section,
    read_results,
    write_figures,
)

HERE = Path(__file__).parent
SECTIONS = {
    "losses": speed.losses,
    "speed": speed.steps,
    "permutation": speed.permutation,
    **{name: partial(models.rows, name) for name in models.TARGETS},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=("tiny", "full"), default="tiny")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, by commas")
    parser.add_argument("--short", action="store_true", help="fewer steps of fewer rows")
    parser.add_argument("--steps", type=int, help="of training; default: the paper's")
    parser.add_argument("--batch", type=int, help="rows of a step; default: the paper's")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("build/decomposition"))
    parser.add_argument("--out", type=Path, help="default: beside this file if full, else --work")
    options = parser.parse_args()
    names = options.only.split(",")
    check_sections(parser, names, SECTIONS)
    options.work.mkdir(parents=True, exist_ok=True)
    home = HERE if options.size == "full" else options.work
    out = options.out or home / "results.json"
    for name in names:
        rows = measure_section(name, SECTIONS[name], options)
        merge(out, name, rows, options)
    known = {row.figure.split(":")[0] for row in read_results(out)}
    for name in models.TARGETS:
        if name not in known:
            merge(out, name, models.declared(name), options)
    if out.parent == HERE:
        write_figures(HERE / "README.md", read_results(out), digits=4)


def merge(path: Path, section: str, rows: list[dict], options: argparse.Namespace) -> None:
    """Put one section's rows into the file, with the command that makes them."""
    command = f"python benchmarks/decomposition/run.py --size {options.size} --only {section}"
    if section in models.TARGETS:
        command += " --short" if options.short else ""
        command += f" --steps {options.steps}" if options.steps else ""
        command += f" --batch {options.batch}" if options.batch else ""
        command += f" --seeds {options.seeds}" if options.seeds != 3 else ""
    merge_section(path, section, rows, order=list(SECTIONS), command=command)


if __name__ == "__main__":
    main()
