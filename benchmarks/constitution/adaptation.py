"""Change one rule, then synth, train and calibrate again: what is touched, how long it takes."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from custodes import constitution as constitutions
from custodes.measure import Figure

CUSTODES = Path(sys.executable).parent / "custodes"
ROWS = {"tiny": 8, "full": 20}


def figures(options: Any, *, command: str, commit: str) -> Iterator[Figure]:
    work = Path("out/benchmarks/adaptation").resolve()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    source = constitutions.shipped()["default"]
    shutil.copytree(source, work / "constitution")
    rows = ROWS[options.size]
    first = _round(work, rows, options.seed)
    edited = _edit(work / "constitution")
    before = _shards(work)
    second = _round(work, rows, options.seed)
    after = _shards(work)
    written = {path.split("/")[0] for path in after.keys() - before.keys()}
    changed = {path for path in before if after[path] != before[path]}
    common = {"seeds": [options.seed], "command": command, "commit": commit}
    label = f"{rows} rows a rule"
    yield Figure.of(f"first round, empty cache, {label}", first, unit="s", **common)
    yield Figure.of(
        f"one rule changed, {label}: synth + train + calibrate",
        second,
        unit="s",
        target="<= 60 s",
        **common,
    )
    yield Figure.of("rules whose rows were written again", len(written), target="<= 1", **common)
    yield Figure.of("old shards whose bytes changed", len(changed), target="<= 0", **common)
    if written - {edited}:
        raise SystemExit(f"unexpected rules were written again: {written - {edited}}")


def _round(work: Path, rows: int, seed: int) -> float:
    """Seconds of the three commands, as a user runs them."""
    environment = {**os.environ, "CUSTODES_CACHE_DIR": str(work / "cache")}
    _share_model(work / "cache")
    start = time.perf_counter()
    for words in (
        [
            "synth",
            "--constitution",
            "constitution",
            "--out",
            "synth",
            "--seed",
            str(seed),
            "--set",
            f"rows={rows}",
        ],
        [
            "train",
            "--constitution",
            "constitution",
            "--examples",
            "synth/examples.parquet",
            "--out",
            "run",
            "--size",
            "tiny",
            "--kept-out",
            "0.2",
        ],
        [
            "calibrate",
            "--guard",
            "run/guard",
            "--examples",
            "run/calibration.parquet",
            "--budget",
            "0.05",
        ],
    ):
        subprocess.run(
            [str(CUSTODES), *words],
            cwd=work,
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return time.perf_counter() - start


def _share_model(cache: Path) -> None:
    """The embedded model's files are no part of what is timed."""
    from custodes.config import cache_folder

    cache.mkdir(exist_ok=True)
    if not (cache / "models").exists():
        (cache / "models").symlink_to(cache_folder() / "models")


def _edit(folder: Path) -> str:
    """Rewrite one intent of one permitted rule; returns the rule's id."""
    rule = constitutions.read(str(folder)).rule("cooking_and_home")
    intent = rule.grammar["en"].intents[0]
    path = next(
        path
        for path in sorted((folder / "rules").glob("*.yaml"))
        if f"id: {rule.id}" in path.read_text(encoding="utf-8")
    )
    text = path.read_text(encoding="utf-8")
    edited = text.replace(intent, f"{intent} with care", 1)
    if edited == text:
        raise SystemExit(f"{path}: the intent {intent!r} was not found")
    path.write_text(edited, encoding="utf-8")
    return str(rule.id)


def _shards(work: Path) -> dict[str, str]:
    import hashlib

    folder = work / "synth" / "shards"
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.parquet"))
    }
