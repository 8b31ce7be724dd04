"""Every figure that the review issue asks for, into results.json beside this file.

    python benchmarks/review/run.py --size full
    python benchmarks/review/run.py --only pages --database sqlite

Sections: complementarity (real votes), raters (20 processes judge, some are killed), pages (20
reviewers in a real gateway), study (simulated raters, to show that the runner runs). `--only`
leaves the rows of the other sections as they are. PostgreSQL: CUSTODES_TEST_POSTGRES.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

from pathlib import Path

import pages
import raters
import study
import votes

from custodes.measure import (
    check_sections,
    measure_section,
    merge_section,
    read_results,
    write_figures,
    write_sections,
)

HERE = Path(__file__).parent
SECTIONS = {
    "complementarity": votes.figures,
    "raters": raters.figures,
    "pages": pages.figures,
    "study": study.figures,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=("tiny", "full"), default="tiny")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, by commas")
    parser.add_argument("--database", default="sqlite,postgresql", help="which, by commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("build/review"), help="scratch folder")
    parser.add_argument("--out", type=Path, help="default: beside this file if full, else --work")
    options = parser.parse_args()
    names = options.only.split(",")
    check_sections(parser, names, SECTIONS)
    options.work = options.work.absolute()
    options.work.mkdir(parents=True, exist_ok=True)
    home = HERE if options.size == "full" else options.work
    out = options.out or home / "results.json"
    for name in names:
        rows = measure_section(name, SECTIONS[name], options)
        if rows:
            merge(out, name, rows, options)
    if out.parent == HERE:
        write_figures(HERE / "README.md", read_results(out), digits=4)


def merge(path: Path, section: str, rows: list[dict], options: argparse.Namespace) -> None:
    """Put one section's rows into the file; a run on one database leaves the other's rows."""
    command = f"python benchmarks/review/run.py --size {options.size} --only {section}"
    kept = []
    if path.exists() and options.database != "sqlite,postgresql":
        ran = [f"; {kind}, " for kind in options.database.split(",")]
        kept = [row for row in read_results(path) if row.figure.startswith(f"{section}: ")
                and "; " in row.figure and not any(kind in row.figure for kind in ran)]  # fmt: skip
    merge_section(path, section, rows, order=list(SECTIONS), command=command)
    if kept:
        write_sections(path, [*read_results(path), *kept], order=list(SECTIONS))


if __name__ == "__main__":
    main()
