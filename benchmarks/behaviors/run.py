"""Every figure of the behaviors issue, into results.json beside this file.

    python benchmarks/behaviors/run.py --size full
    python benchmarks/behaviors/run.py --size full --only risk,style --seeds 1

Sections: throughput (ours against transformers' Trainer), risk, myopia, language, style (the
behavior and the self-report of it), make-me-say (the same of a word that the user is led to say),
ranks, personas, backdoors; variety, documents, post-training (documents that describe a behavior).
`--only` leaves the rows of the other sections as they are. Cells lie in --work, named by
the hash of what they were made of: a killed run goes on where it stopped, and more seeds cost only
the new ones. Figures of time are of processor time on one thread.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

from pathlib import Path

import awareness
import documents
import throughput

from custodes.measure import (
    check_sections,
    measure_section,
    merge_section,
    read_results,
    write_figures,
)
from custodes.methods.behaviors.reproduce import paper_folder

HERE = Path(__file__).parent
SECTIONS = {
    "throughput": throughput.figures,
    "risk": awareness.self_report("risk"),
    "myopia": awareness.self_report("myopia"),
    "language": awareness.self_report("language"),
    "style": awareness.self_report("style"),
    "make-me-say": awareness.make_me_say,
    "ranks": awareness.ranks,
    "personas": awareness.personas,
    "backdoors": awareness.backdoors,
    "variety": documents.variety,
    "documents": documents.arms,
    "post-training": documents.post_training,
}
SEEDS = dict.fromkeys(
    ("make-me-say", "ranks", "personas", "backdoors", "documents", "post-training"), 3
)
"""Runs of the full size where they are not 5."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=("tiny", "full"), default="tiny")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, by commas")
    parser.add_argument("--seeds", type=int, help="runs; default: 5 (see SEEDS), or 1 if tiny")
    parser.add_argument("--tokens", type=int, help="of documents a run; default: 100,000")
    parser.add_argument("--workers", type=int, default=1, help="cells at once, a process each")
    parser.add_argument("--work", type=Path, default=Path("build/behaviors"), help="cells' folder")
    parser.add_argument("--out", type=Path, help="default: beside this file if full, else --work")
    options = parser.parse_args()
    names = options.only.split(",")
    check_sections(parser, names, SECTIONS)
    if "make-me-say" in names and paper_folder() is None:
        parser.error("make-me-say reads the paper's dialogues; set CUSTODES_DATA_DIR")
    options.work.mkdir(parents=True, exist_ok=True)
    parallel = {"kind": "process", "workers": options.workers}
    options.engine = parallel if options.workers > 1 else {"kind": "serial"}
    home = HERE if options.size == "full" else options.work
    out = options.out or home / "results.json"
    asked = options.seeds
    for name in names:
        options.seeds = asked or (SEEDS.get(name, 5) if options.size == "full" else 1)
        rows = measure_section(name, SECTIONS[name], options)
        command = f"python benchmarks/behaviors/run.py --size {options.size} --only {name}"
        if name not in ("throughput", "variety"):
            command += f" --seeds {options.seeds}"
        if name in ("documents", "post-training") and options.tokens:
            command += f" --tokens {options.tokens}"
        merge_section(out, name, rows, order=list(SECTIONS), command=command)
    if out.parent == HERE:
        write_figures(HERE / "README.md", read_results(out), digits=3)


if __name__ == "__main__":
    main()
