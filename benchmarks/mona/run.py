"""Every figure that the MONA issue asks for, into results.json beside this file.

    python benchmarks/mona/run.py --size full
    python benchmarks/mona/run.py --size full --only exact,noise

Sections: exact, noise, approval, sizes, loan (numpy alone); speed, ppo, tdd (extra rl); language
(extra train, and the embedded model). `--only` leaves the rows of the other sections as they are.
ppo, tdd and language go on where a killed run stopped (their folder is --work); `--seeds` makes
fewer runs of each arm. Speed figures are of processor time, on one thread.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

from pathlib import Path

import exact
import learned
import speed

from custodes.measure import (
    check_sections,
    measure_section,
    merge_section,
    read_results,
    write_figures,
)

HERE = Path(__file__).parent
SECTIONS = {
    "exact": exact.anchors,
    "noise": exact.noise,
    "approval": exact.approval,
    "sizes": exact.sizes,
    "speed": speed.figures,
    "ppo": learned.ppo,
    "loan": exact.loan,
    "language": learned.language,
    "tdd": learned.tdd,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=("tiny", "full"), default="tiny")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, by commas")
    parser.add_argument("--seeds", type=int, help="runs of each arm; default: 10, or 2 if tiny")
    parser.add_argument("--first-seed", type=int, default=0, help="of the learned sections")
    parser.add_argument("--work", type=Path, default=Path("build/mona"), help="scratch folder")
    parser.add_argument("--out", type=Path, help="default: beside this file if full, else --work")
    options = parser.parse_args()
    names = options.only.split(",")
    check_sections(parser, names, SECTIONS)
    options.seeds = options.seeds or (10 if options.size == "full" else 2)
    options.work.mkdir(parents=True, exist_ok=True)
    home = HERE if options.size == "full" else options.work
    out = options.out or home / "results.json"
    for name in names:
        rows = measure_section(name, SECTIONS[name], options)
        merge(out, name, rows, options)
    if out.parent == HERE:
        write_figures(HERE / "README.md", read_results(out), digits=5)


def merge(path: Path, section: str, rows: list[dict], options: argparse.Namespace) -> None:
    """Put one section's rows into the file, with the command that made them."""
    command = f"python benchmarks/mona/run.py --size {options.size} --only {section}"
    if section in ("ppo", "language", "tdd", "loan"):
        command += f" --seeds {options.seeds}"
        command += f" --first-seed {options.first_seed}" if options.first_seed else ""
    merge_section(path, section, rows, order=list(SECTIONS), command=command)


if __name__ == "__main__":
    main()
