"""Every figure that the similarity issue asks for, into results.json beside this file.

    python benchmarks/similarity/run.py --size full --install-peer
    python benchmarks/similarity/run.py --only speed,trials

Sections: equality, speed (both need the peer lm-sim 0.1.1), memory, tiles, trials,
weak-to-strong, judges. `--only` leaves the rows of the other sections as they are. The
weak-to-strong section goes on where a killed run stopped (its folder is --work). Speed figures are
ratios of processor time on one thread within this run.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

from pathlib import Path

import demonstration
import peer
import scale
import trials
import weak_to_strong

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
    "equality": peer.equality,
    "speed": peer.speed,
    "memory": scale.memory,
    "tiles": scale.tiles,
    "trials": trials.figures,
    "weak-to-strong": weak_to_strong.figures,
    "judges": demonstration.figures,
}

PROMISED = (
    ("equality", "against lm-sim 0.1.1", "<= 1e-12"),
    ("speed", "times faster than lm-sim 0.1.1", ">= 300"),
    ("memory", "all pairs of 1,000 x 12,000 x 10, streamed by questions, one thread", "<= 60"),
    ("trials", "mean error consistency", ">= 0 (see issue 7)"),
    ("weak-to-strong", "binary tasks", ">= 100"),
    ("weak-to-strong", "partial r of gain with κp given the gap, clustered by task", "< 0"),
    ("judges", "DEMONSTRATION, partial r of mark with κp given accuracy", ""),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=("tiny", "full"), default="tiny")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, by commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--work", type=Path, default=Path("build/similarity"), help="scratch folder"
    )
    parser.add_argument("--install-peer", action="store_true", help="install lm-sim in --work")
    parser.add_argument("--peer", type=Path, help="site-packages that hold lm-sim 0.1.1")
    parser.add_argument("--minilm", type=Path, help="folder of MiniLM's weights")
    parser.add_argument("--out", type=Path, help="default: beside this file if full, else --work")
    options = parser.parse_args()
    names = options.only.split(",")
    check_sections(parser, names, SECTIONS)
    options.work.mkdir(parents=True, exist_ok=True)
    home = HERE if options.size == "full" else options.work
    out = options.out or home / "results.json"
    for name in names:
        rows = measure_section(name, SECTIONS[name], options)
        if rows:  # a section that was skipped leaves the rows that are there
            merge(out, name, rows, options)
    if out.parent == HERE:
        promised(out)
        write_figures(HERE / "README.md", read_results(out), digits=4)


def merge(path: Path, section: str, rows: list[dict], options: argparse.Namespace) -> None:
    """Put one section's rows into the file, with the command that made them."""
    command = f"python benchmarks/similarity/run.py --size {options.size} --only {section}"
    merge_section(path, section, rows, order=list(SECTIONS), command=command)


def promised(path: Path) -> None:
    """A row for every figure that the issue asks for and that was not measured here yet."""
    found = read_results(path)
    names = " ".join(row.figure for row in found)
    missing = [
        Figure.of(f"{section}: {figure}", None, target=target)
        for section, figure, target in PROMISED
        if f"{section}: " not in names
    ]
    write_sections(path, [*found, *missing], order=list(SECTIONS))


if __name__ == "__main__":
    main()
