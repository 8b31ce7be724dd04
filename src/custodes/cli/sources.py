"""Where commands find examples, and where they keep what can be made again."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from custodes.classifiers import benign_rows_needed, labelled_rows
from custodes.config import digest, environment
from custodes.constitution import Constitution
from custodes.data import DataSet, catalogue, from_record, load, read, split
from custodes.data.tables import iterate_lines
from custodes.errors import ConfigError, DataError
from custodes.guard.build import GuardConfig
from custodes.types import Example

__all__ = [
    "card",
    "check_place",
    "partition",
    "read_examples",
    "read_traffic",
    "smallest_budget",
]

_BUDGETS = (0.01, 0.02, 0.05, 0.1)


def check_place(out: Path, *, guard: str | None = None) -> None:
    """`ConfigError` where --out cannot become a folder; asked before hours of work, not after.

    With `guard`, out/guard must be free or a guard, which is then replaced.
    """
    for place in (out, *out.parents):
        if place.exists() and not place.is_dir():
            raise ConfigError(f"--out {out}: {place} is a file; expected a folder, or a free name")
    there = next(place for place in (out, *out.parents) if place.exists())
    try:
        with tempfile.TemporaryDirectory(dir=there):
            pass
    except OSError as error:
        raise ConfigError(
            f"--out {out}: {there} takes no files ({error.strerror}); give another place"
        ) from error
    if guard is None:
        return
    place = out / guard
    if place.exists() and not (place / "guard.json").is_file():
        raise ConfigError(f"--out {out}: {place} exists and is no guard; give another place")


def read_traffic(sources: Sequence[str]) -> list[Example]:
    """Ordinary traffic: tables and catalogue sets as below, and lines with `text` or `messages`
    alone, as `custodes score` reads them; what has no label is benign."""
    return _read_all(sources, unreleasable=True, traffic=True)


def read_examples(sources: Sequence[str], *, unreleasable: bool) -> list[Example]:
    """The rows of tables and catalogue sets, in order.

    A set of the role `dev` is for measuring only and is refused, as is one whose licence forbids
    the release of weights trained on it, unless `unreleasable`; a file that is such a set, byte
    for byte, is refused like it. An id that stands in two sources is a `DataError`.
    """
    return _read_all(sources, unreleasable=unreleasable, traffic=False)


def _read_all(sources: Sequence[str], *, unreleasable: bool, traffic: bool) -> list[Example]:
    known = catalogue()
    rows: list[Example] = []
    origin: dict[str, str] = {}
    for source in sources:
        dataset = known.get(source) or _recognized(Path(source))
        if dataset is not None:
            _check_use(source, dataset, unreleasable=unreleasable)
        new = load(source) if source in known else _read(source, traffic=traffic)
        for row in new:
            if origin.setdefault(row.id, source) != source:
                raise DataError(
                    f"{source}: its id {row.id!r} stands in {origin[row.id]} too; "
                    "give each row once, or other ids"
                )
        rows += new
    return rows


def _read(source: str, *, traffic: bool) -> list[Example]:
    path = Path(source)
    if not path.suffix and not path.exists():
        raise DataError(
            f"{source}: is neither a file nor a set of the catalogue; give a table (.parquet, "
            ".jsonl, .jsonl.gz) or a name that `custodes data list` shows"
        )
    return _benign_lines(path) if traffic and path.suffix != ".parquet" else read(path)


def _benign_lines(path: Path) -> list[Example]:
    rows = []
    for number, (place, line) in enumerate(iterate_lines(path), start=1):
        known = line.get("id")
        row = {"source": path.name, "kind": "benign_exchange", "label": 0, **line}
        try:
            rows.append(
                from_record(
                    {**row, "id": f"{path}:{number}" if known is None else str(known)},
                    unknown="keep",
                )
            )
        except DataError as error:
            raise DataError(f"{place}: {error}") from None
    return rows


def _recognized(path: Path) -> DataSet | None:
    """The set of the catalogue that the file is a copy of."""
    if not path.is_file():
        return None
    found = digest(path)
    return next((dataset for dataset in catalogue().values() if dataset.sha256 == found), None)


def _check_use(source: str, dataset: DataSet, *, unreleasable: bool) -> None:
    if dataset.role == "dev":
        raise DataError(
            f"{source}: is a dev set, for measuring only (custodes evaluate --sets "
            f"{dataset.name}); give other rows here"
        )
    if not dataset.releasable and not unreleasable:
        raise DataError(
            f"{source}: its licence ({dataset.licence}) does not permit weights trained on it "
            "to be released; pass --allow-unreleasable for a guard that stays in your house"
        )


def partition(rows: Sequence[Example], kept_out: float, *, seed: int) -> dict[str, list[Example]]:
    """train, calibration and test: `kept_out` is the share of each of the last two, by group.

    What synthesis held out on purpose goes to test alone.
    """
    if not 0 < kept_out < 0.5:
        raise ConfigError(f"--kept-out: got {kept_out}, expected more than 0 and less than 0.5")
    held_out = [row for row in rows if row.meta.get("split") == "held_out"]
    others = [row for row in rows if row.meta.get("split") != "held_out"]
    shares = {"train": 1 - 2 * kept_out, "calibration": kept_out, "test": kept_out}
    parts = split(others, shares, seed=seed)
    return parts | {"test": parts["test"] + held_out}


def smallest_budget(rows: Sequence[Example]) -> float:
    """The smallest usual false-refusal budget that calibration on `rows` can keep in some mode."""
    benign = Counter(row.judged.mode for row in labelled_rows(rows) if row.label == 0)
    most = max(benign.values(), default=0)
    return next((b for b in _BUDGETS if most >= benign_rows_needed(b)), _BUDGETS[-1])


def card(
    sources: Sequence[str],
    rows: Sequence[Example],
    constitution: Constitution,
    config: GuardConfig,
) -> str:
    """The card of a freshly trained guard: what it was made from, and what nobody measured yet."""
    counts = Counter((row.source, row.licence or "not stated") for row in rows)
    labels = Counter(row.label for row in rows)
    lines = [
        f"# Guard from {constitution.id}@{constitution.version}",
        "",
        f"Trained on {len(rows)} examples ({labels[1]} harmful, {labels[0]} benign) from "
        f"{', '.join(sources)}, seed {config.seed}, commit {environment()['commit']}.",
        "",
        "| source | licence | rows |",
        "|---|---|---|",
        *(f"| {source} | {licence} | {n} |" for (source, licence), n in sorted(counts.items())),
        "",
        "Stages: "
        + ", ".join(f"{s.name} ({s.features}, {s.head})" for s in config.resolved().stages),
        "",
        "## Limits",
        "",
        "It knows what its rows show. Measure it on your own traffic (`custodes evaluate`) before "
        "you rely on it, and set its threshold there (`custodes calibrate`).",
        "",
    ]
    return "\n".join(lines)
