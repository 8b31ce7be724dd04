"""What the foundation costs, into results.json beside this file.

    CUSTODES_DATA_DIR=FOLDER python benchmarks/foundation/run.py --size full
    python benchmarks/foundation/run.py --only events

Sections: tables, duplicates, engines, events. `--only` leaves the rows of the others as they are.
Times are of the processor, where work is spread over processes that of all of them, so that other
work on the machine changes little; values are medians of `--repeats`, with the least and the most.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import engines
import events
import tables

from custodes.measure import (
    check_sections,
    measure_section,
    merge_section,
    read_results,
    write_figures,
)

HERE = Path(__file__).parent
SECTIONS = {
    "tables": tables.tables,
    "duplicates": tables.duplicates,
    "engines": engines.engines,
    "events": events.events,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=("tiny", "full"), default="tiny")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, by commas")
    parser.add_argument("--repeats", type=int, help="of each timing; default: 5, or 2 if tiny")
    parser.add_argument("--work", type=Path, default=Path("build/foundation"), help="scratch")
    parser.add_argument("--out", type=Path, help="default: beside this file if full, else --work")
    options = parser.parse_args()
    names = options.only.split(",")
    check_sections(parser, names, SECTIONS)
    options.repeats = options.repeats or (5 if options.size == "full" else 2)
    options.work.mkdir(parents=True, exist_ok=True)
    home = HERE if options.size == "full" else options.work
    out = options.out or home / "results.json"
    for name in names:
        rows = measure_section(name, SECTIONS[name], options)
        command = f"python benchmarks/foundation/run.py --size {options.size} --only {name}"
        merge_section(out, name, rows, order=list(SECTIONS), command=command)
    if out.parent == HERE:
        write_figures(HERE / "README.md", read_results(out), digits=3)


if __name__ == "__main__":  # process workers import this file
    main()
