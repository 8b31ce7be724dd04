"""OpenLLM-leaderboard v1 details: Parquet files `details_harness|TASK|SHOTS_TIME.parquet`.

Columns used: `predictions` (log-likelihood of each choice), `gold_index`, and `example` or
`full_prompt` to tell questions apart. The folder names the model. Details of the second
leaderboard are lm-eval sample logs.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from custodes.errors import DataError
from custodes.methods.similarity.inputs.rows import Row, softmax

__all__ = ["read"]


def read(path: Path) -> Iterator[Row]:
    """Rows of one details file, or of every one below a folder."""
    files = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
    root = path.parent if path.is_file() else path
    latest = {(_model(file, root), _task(file)): file for file in files}
    for (model, task), file in latest.items():
        seen: Counter[str] = Counter()
        for number, value in enumerate(_rows(file)):
            try:
                row = _row(value, model, task)
                seen[row.question] += 1
                # A benchmark may ask one text twice; its order is every model's.
                time = seen[row.question]
                yield row if time == 1 else replace(row, question=f"{row.question}#{time}")
            except (KeyError, TypeError, ValueError, DataError) as error:
                raise DataError(f"{file}: row {number}: {error!s:.160}") from None


def _model(file: Path, root: Path) -> str:
    parts = file.relative_to(root).parts
    name = parts[0] if len(parts) > 1 else root.name
    return name.removeprefix("details_")


def _task(file: Path) -> str:
    return re.sub(r"_\d{4}-\d{2}-\d{2}T.*", "", file.stem)


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = ["predictions", "gold_index", "example", "full_prompt"]
    try:
        source = pq.ParquetFile(file)
        columns = [name for name in wanted if name in source.schema_arrow.names]
        for batch in source.iter_batches(columns=columns):
            yield from batch.to_pylist()
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{file}: cannot be read as Parquet: {error}") from error


def _row(value: dict[str, Any], model: str, task: str) -> Row:
    scores = [float(score) for score in value["predictions"]]
    gold = value.get("gold_index")
    if isinstance(gold, list):
        gold = gold[0] if gold else None
    if gold is None:
        raise DataError("got no gold_index; this task's details do not say which option is right")
    text = value.get("example") or value.get("full_prompt") or ""
    digest = hashlib.sha256(str(text).encode("utf-8", "replace")).hexdigest()[:16]
    return Row(
        model=model,
        question=f"{task}/{digest}",
        label=int(gold),
        options=len(scores),
        probabilities=softmax(scores),
    )
