"""`.npz`: `probabilities` [M, n, O] and `labels` [n]; optional `options` [n], `names`, `groups`.

Arrays of objects (pickles) are refused.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from custodes.errors import DataError
from custodes.methods.similarity.inputs.rows import Row

__all__ = ["read"]


def read(path: Path) -> Iterator[Row]:
    """Rows of one `.npz` file, or of every one below a folder.

    There, models without names are told apart by their files'.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*.npz"))
    for file in files:
        prefix = "" if len(files) == 1 else f"{file.relative_to(path).with_suffix('')} "
        yield from _rows(file, prefix)


def _rows(path: Path, prefix: str) -> Iterator[Row]:
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    # of a .npy under this name numpy gives an array, which no `with` takes
    except (OSError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read as .npz without pickles: {error}") from error
    table, labels = found.get("probabilities"), found.get("labels")
    if table is None or labels is None or table.ndim != 3 or labels.shape != table.shape[1:2]:
        shapes = {name: array.shape for name, array in found.items()}
        raise DataError(
            f"{path}: got {shapes}; expected probabilities [models, questions, options] and "
            "labels [questions]"
        )
    models, questions, width = table.shape
    names = found.get("names", np.array([f"{prefix}model {i}" for i in range(models)]))
    options = found.get("options", np.full(questions, width))
    groups = found.get("groups")
    for column, size, name in ((names, models, "names"), (options, questions, "options")):
        if column.shape != (size,):
            raise DataError(f"{path}: {name}: got shape {column.shape}, expected ({size},)")
    if groups is not None and groups.shape != (questions,):
        raise DataError(f"{path}: groups: got shape {groups.shape}, expected ({questions},)")
    for model in range(models):
        for question in range(questions):
            count = int(options[question])
            yield Row(
                model=str(names[model]),
                question=str(question),
                label=int(labels[question]),
                options=count,
                probabilities=table[model, question, :count],
                group=None if groups is None else str(groups[question]),
            )
