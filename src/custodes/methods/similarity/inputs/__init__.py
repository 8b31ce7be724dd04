"""Read answers of many models from files: arrays, JSONL, evaluation logs, leaderboards, trials.

Each format is one module that yields rows; `rows` lines them up by question. Knows no metric.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path

from custodes.errors import DataError
from custodes.methods.similarity.inputs.rows import Reading, Row, assemble

__all__ = ["FORMATS", "Reading", "Row", "assemble", "detect_format", "read_answers"]

FORMATS: Mapping[str, str] = {
    "npz": "custodes.methods.similarity.inputs.arrays",
    "jsonl": "custodes.methods.similarity.inputs.jsonl",
    "lm-eval": "custodes.methods.similarity.inputs.lm_eval",
    "inspect": "custodes.methods.similarity.inputs.inspect_logs",
    "leaderboard-v1": "custodes.methods.similarity.inputs.leaderboard",
    "error-consistency": "custodes.methods.similarity.inputs.trials",
}
"""name -> module with `read(path) -> Iterator[Row]`. Leaderboard v2 details are `lm-eval`."""


def read_answers(path: Path, *, format: str = "auto", unanswered: str = "drop") -> Reading:  # noqa: A002
    """Read and line up; questions that not every model answered are dropped and counted.

    `unanswered`: a model that gave no valid answer drops the question ("drop") or counts as
    indifferent between its options ("uniform").
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    name = detect_format(path) if format == "auto" else format
    if name not in FORMATS:
        raise DataError(f"got the format {name!r}; expected one of auto, {', '.join(FORMATS)}")
    reader: Callable[[Path], Iterator[Row]] = import_module(FORMATS[name]).read
    return assemble(reader(path), unanswered=unanswered, origin=str(path))


def detect_format(path: Path) -> str:
    """The format by file names; `DataError` where they do not tell."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    names = [file.name for file in files]
    rules: tuple[tuple[str, Callable[[str], bool]], ...] = (
        ("npz", lambda name: name.endswith(".npz")),
        ("error-consistency", lambda name: name.endswith((".tar.gz", ".csv"))),
        (
            "lm-eval",
            lambda name: (
                name.startswith("samples_") and name.endswith((".jsonl", ".json", ".jsonl.gz"))
            ),
        ),
        ("leaderboard-v1", lambda name: name.endswith(".parquet")),
        ("inspect", lambda name: name.endswith((".eval", ".json"))),
        ("jsonl", lambda name: name.endswith((".jsonl", ".jsonl.gz"))),
    )
    for found, matches in rules:
        if any(matches(name) for name in names):
            return found
    raise DataError(
        f"{path}: got {', '.join(names[:3]) or 'no files'}; expected .npz, .jsonl, lm-eval "
        "samples_*, Inspect .eval or .json, leaderboard .parquet, or trial .csv "
        "files; or name the format"
    )
