"""Trial-by-trial answers of people and networks, as wichmann-lab/error-consistency holds them.

CSV files with the columns `subj, object_response, category, imagename`, alone or in a `.tar.gz`.
Answers are choices among the categories; `na` (no answer in time, people only) is a further
option, which is never right, so it exists only where somebody gave it.
"""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

from custodes.errors import DataError
from custodes.methods.similarity.inputs.rows import Row, one_hot_row

__all__ = ["observer_kind", "read"]


def read(path: Path) -> Iterator[Row]:
    """Rows of one experiment: a `.tar.gz`, a CSV file, or a folder of CSV files."""
    trials = [trial for name, text in _tables(path) for trial in _trials(name, text)]
    categories = sorted({category for _, _, _, category in trials})
    missing = sorted({answer for _, _, answer, _ in trials} - set(categories))
    options = [*categories, *missing]
    for observer, image, answer, category in trials:
        yield Row(
            model=observer,
            question=image,
            label=options.index(category),
            options=len(options),
            probabilities=one_hot_row(options.index(answer), len(options)),
        )


def observer_kind(name: str) -> str:
    """`person`, `stylized` (trained on stylized ImageNet) or `network`."""
    if name.startswith("subject-"):
        return "person"
    return "stylized" if "SIN" in name else "network"


def _tables(path: Path) -> Iterator[tuple[str, str]]:
    try:
        if path.is_dir() or path.suffix == ".csv":
            files = [path] if path.is_file() else sorted(path.rglob("*.csv"))
            for file in files:
                yield str(file), file.read_text(encoding="utf-8")
            return
        with tarfile.open(path) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.name.endswith(".csv") else None
                if content is not None:
                    yield f"{path}:{member.name}", content.read().decode("utf-8")
    except (OSError, tarfile.TarError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as trials: {error}") from error


def _trials(name: str, text: str) -> Iterator[tuple[str, str, str, str]]:
    """Observer, image, answer, category of each trial."""
    for number, row in enumerate(csv.DictReader(io.StringIO(text)), start=2):
        try:
            # People's image names carry trial and subject in front: ..._bird3-bird2.png
            image = row["imagename"]
            if observer_kind(row["subj"]) == "person":
                image = image.rsplit("_", 1)[-1]
            yield row["subj"], image, row["object_response"].strip(), row["category"].strip()
        except (KeyError, AttributeError):
            raise DataError(
                f"{name}:{number}: got the columns {', '.join(map(str, row))}; expected subj, "
                "object_response, category and imagename"
            ) from None
