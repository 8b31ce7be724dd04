"""What relearning brings back after each method, into results.json beside this file.

    python benchmarks/unlearning/run.py --size full
    python benchmarks/unlearning/run.py --size full --only implanted --seeds 3

Sections: implanted (invented facts, put in by fine-tuning), known (capitals, from pretraining).
`--only` leaves the rows of the other section as they are. Every cell (a seed, an arm) is kept under
--work by a hash of its settings: a killed run goes on, and more seeds cost only their own.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from functools import partial
from pathlib import Path

from custodes.measure import (
    check_sections,
    measure_section,
    merge_section,
    read_results,
    write_figures,
)
from custodes.methods.unlearning.config import METHODS
from custodes.methods.unlearning.method import run_study
from custodes.methods.unlearning.report import TITLES
from custodes.methods.unlearning.reproduce import PUBLISHED, study_config
from custodes.methods.unlearning.summary import ArmFigures, Summary

HERE = Path(__file__).parent
SECTIONS = {"implanted": "invented", "known": "capitals"}
KNOWN = ">= 0.6 (chance .25)"
BACK = f"> 0 (paper: {PUBLISHED:.2f} comes back)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=("tiny", "full"), default="tiny")
    parser.add_argument(
        "--only", default=",".join(SECTIONS), help="sections, by commas; empty: none"
    )
    parser.add_argument("--seeds", type=int, help="default: 3, or 1 if tiny")
    parser.add_argument("--workers", type=int, default=1, help="cells at once, a process each")
    parser.add_argument("--work", type=Path, default=Path("build/unlearning"))
    parser.add_argument("--out", type=Path, help="default: beside this file if full, else --work")
    options = parser.parse_args()
    names = [name for name in options.only.split(",") if name]
    check_sections(parser, names, SECTIONS)
    options.work.mkdir(parents=True, exist_ok=True)
    home = HERE if options.size == "full" else options.work
    out = options.out or home / "results.json"
    for name in names:
        found = measure_section(name, partial(rows, name), options)
        merge(out, name, found, options)
    there = read_results(out) if out.exists() else []
    for name in set(SECTIONS) - {row.figure.split(":")[0] for row in there}:
        merge(out, name, declared(name), options)
    if out.parent == HERE:
        write_figures(HERE / "README.md", read_results(out), digits=3)


def merge(path: Path, section: str, found: list[dict], options: argparse.Namespace) -> None:
    """Put one section's rows into the file, with the command that makes them."""
    command = f"python benchmarks/unlearning/run.py --size {options.size} --only {section}"
    command += f" --seeds {options.seeds}" if options.seeds else ""
    merge_section(path, section, found, order=list(SECTIONS), command=command)


def rows(name: str, options: argparse.Namespace) -> list[dict]:
    """One section's study, and its rows."""
    config = study_config(options.size, 0)
    facts = config.facts.model_copy(update={"kind": SECTIONS[name]})
    # Without ordinary text to retain, most methods ruin the model before the facts are gone.
    text = "english" if options.size == "full" else None
    config = config.model_copy(
        update={
            "facts": facts,
            "removal": config.removal.model_copy(update={"text": text}),
            "seeds": options.seeds or config.seeds,
            "engine_settings": {"kind": "process", "workers": options.workers}
            if options.workers > 1
            else {"kind": "serial"},
        }
    )
    folder = options.work / f"{options.size}-{name}"
    summary = run_study(config, folder, say=lambda line: print(line, flush=True)).summary
    seeds = list(range(config.seeds))
    return [{**row, "seeds": seeds} for row in figures(name, summary)]


def figures(name: str, summary: Summary) -> list[dict]:
    """Rows of one summary: what was known, and each arm's."""
    found = [{"figure": "accuracy on V before", "value": summary.known, "target": KNOWN}]
    if summary.blind is not None:
        figure = "accuracy on V before, the question without its country"
        found.append({"figure": figure, "value": summary.blind})
    for arm in summary.arms:
        found += _of_arm(arm, name)
    return found


def _of_arm(arm: ArmFigures, name: str) -> list[dict]:
    title = TITLES[arm.arm]
    found = [{"figure": f"recovery, {title}", "value": arm.recovery}]
    if arm.arm in METHODS:
        if name == "known":
            found[0]["target"] = BACK
        found.append({"figure": f"accuracy on V removed, {title}", "value": arm.removed})
        figure = f"accuracy on V, relearned minus removed, {title}"
        found.append({"figure": figure, "value": arm.regained, "target": "> 0"})
        for control, value in (("in training", arm.over_withheld), ("trained", arm.over_never)):
            if value is not None:
                figure = f"recovery minus never {control}, {title}"
                found.append({"figure": figure, "value": value, "target": BACK})
        if arm.recovery_cloze is not None:
            found.append({"figure": f"recovery, cloze, {title}", "value": arm.recovery_cloze})
        found += [
            {"figure": f"neighbors, change of accuracy, {title}", "value": arm.neighbors},
            {"figure": f"perplexity, times before, {title}", "value": arm.perplexity},
            {"figure": f"seeds with enough removed, {title}", "value": arm.enough},
        ]
    found.append({"figure": f"accuracy on V relearned, {title}", "value": arm.relearned})
    return found


def declared(name: str) -> list[dict]:
    """The promised rows of a section that was not run: no values."""
    found = [{"figure": "accuracy on V before", "value": None, "target": KNOWN}]
    for method in METHODS:
        title = TITLES[method]
        if name == "known":
            found.append({"figure": f"recovery, {title}", "value": None, "target": BACK})
            continue
        found.append({"figure": f"recovery, {title}", "value": None})
        for control in ("in training", "trained"):
            figure = f"recovery minus never {control}, {title}"
            found.append({"figure": figure, "value": None, "target": BACK})
    if name == "implanted":
        for control in ("withheld", "never"):
            found.append({"figure": f"recovery, {TITLES[control]}", "value": None})
    return found


if __name__ == "__main__":
    main()
