"""The papers' ablations as rows: by how much one arm is ahead of the other, statement by statement.

Features and scores lie where `custodes reproduce constitutional-classifiers` keeps them by default
(out/reproduce/constitutional-classifiers), so that whichever runs second costs little.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from custodes.config import write_atomically
from custodes.guard.ablations import run_studies
from custodes.guard.ablations.config import AblationsConfig
from custodes.measure import Figure, Interval

ROOT = Path(__file__).parents[2]
MARK = "<!-- ablations -->"


def figures(options: Any, **common: Any) -> Iterator[Figure]:
    """Two rows a statement. Nothing is promised: the papers give no size that could be compared."""
    config = AblationsConfig.of(options.size, options.seed)
    folder = ROOT / "out/reproduce/constitutional-classifiers"
    folder = folder / "artifacts" if options.size == "full" else Path(options.work) / "ablations"
    common = {**common, "seeds": list(range(config.seeds))}
    table = ["| statement | recall | AUROC | by recall, by AUROC |", "|---|---|---|---|"]
    for measured in run_studies(config, folder, say=lambda told: print(f"  {told}", flush=True)):
        for level in measured.levels:
            print(f"    {level.table}, {level.arm}: AUROC {level.values['AUROC']}")
        for finding in measured.findings:
            claim = finding.claim
            compared = f"{claim.arm} - {claim.against}, {claim.table}"
            for metric, gain in finding.gains.items():
                percent = Interval(100 * gain.value, 100 * gain.low, 100 * gain.high)
                name = f"ablation, {measured.study.name}: {compared}: {metric}"
                yield Figure.of(name, percent, unit="points", **common)
            told = ", ".join(finding.verdict(metric) for metric in finding.gains)
            gains = " | ".join(_points(gain) for gain in finding.gains.values())
            table.append(f"| {claim.statement} ({compared}) | {gains} | {told} |")
    print("\n".join(table))
    if options.size == "full" and options.out is None:
        _put("\n".join(table))


def _put(table: str) -> None:
    """The table into this folder's page, between its two marks."""
    page = Path(__file__).with_name("README.md")
    before, _, after = page.read_text(encoding="utf-8").split(MARK)
    write_atomically(page, f"{before}{MARK}\n{table}\n{MARK}{after}")


def _points(gain: Interval) -> str:
    return f"{100 * gain.value:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
