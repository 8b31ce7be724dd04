"""`lm-evaluation-harness` sample logs (`--log_samples`), and OpenLLM-leaderboard v2 details.

Files are `MODEL/samples_TASK_TIME.jsonl`; the folder names the model. A row's distribution is the
soft-max of the log-likelihoods of its continuations, not normalized by length. The latest file of
a model and task counts. Tasks that generate text have no options and are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

from custodes.errors import DataError
from custodes.methods.similarity.inputs.jsonl import json_lines
from custodes.methods.similarity.inputs.rows import Row, softmax

__all__ = ["read"]

_Reading = Literal["index", "text"]

_NAME = re.compile(r"samples_(?P<task>.+?)(?:_\d{4}-\d{2}-\d{2}T[\d\-:.]+)?\.(?:jsonl?|jsonl\.gz)")


def read(path: Path) -> Iterator[Row]:
    """Rows of one samples file, or of every one below a folder."""
    found = [
        file for end in ("json", "jsonl", "jsonl.gz") for file in path.rglob(f"samples_*.{end}")
    ]
    files = [path] if path.is_file() else sorted(found)
    latest = {(file.parent, _task(file)): file for file in files}
    for (folder, task), file in latest.items():
        convention = cache(partial(_convention, file))
        for place, value in _objects(file):
            try:
                yield _row(value, folder.name, task, convention)
            except (KeyError, TypeError, ValueError, IndexError, DataError) as error:
                raise DataError(
                    f"{place}: {error!s:.160}; expected a multiple-choice sample with doc_id, "
                    "target and resps"
                ) from None


def _task(file: Path) -> str:
    match = _NAME.fullmatch(file.name)
    return match["task"] if match else file.stem


def _objects(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Lines of objects, or (older versions) one JSON array."""
    with file.open("rb") as stream:
        is_array = stream.read(1) == b"["
    if not is_array:
        yield from json_lines(file)
        return
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # not JSON, or not UTF-8
        raise DataError(f"{file}: cannot be read as a JSON array: {error}") from None
    for number, value in enumerate(values):
        yield f"{file}: sample {number}", value


def _scores(value: dict[str, Any]) -> list[float]:
    return [_log_likelihood(item) for item in value.get("resps") or value["filtered_resps"]]


def _row(
    value: dict[str, Any], model: str, task: str, convention: Callable[[], _Reading | None]
) -> Row:
    scores = _scores(value)
    if len(scores) < 2:
        raise DataError(f"got {len(scores)} responses; expected one for each of several options")
    return Row(
        model=model,
        question=f"{task}/{value['doc_id']}",
        label=_label(value, scores, convention),
        options=len(scores),
        probabilities=softmax(scores),
    )


def _log_likelihood(item: Any) -> float:
    """`["-1.2", "False"]`, `[-1.2, false]`, or that once more in a list."""
    while isinstance(item, list | tuple) and item and isinstance(item[0], list | tuple):
        item = item[0]
    if not isinstance(item, list | tuple) or len(item) != 2:
        raise DataError(f"got the response {item!r:.60}; expected [log-likelihood, is-greedy]")
    return float(item[0])


def _label(
    value: dict[str, Any], scores: list[float], convention: Callable[[], _Reading | None]
) -> int:
    """The index of the right option: a number, the text of a continuation, or a letter."""
    target = value.get("target")
    if isinstance(target, int):
        return target
    readings = _readings(value, len(scores))
    if readings:
        # The harness writes an index as text, so "2" may be option 2 or an option that reads 2.
        if len(set(readings.values())) == 1:
            return next(iter(readings.values()))
        how = _by_accuracy(value, scores, readings) or convention()
        if how is None:
            raise DataError(
                f"got the target {target!r}, which is an index and the text of another option; "
                "expected acc to tell which, here or in another sample of the file"
            )
        return readings[how]
    for name in ("answer_index", "gold", "label"):
        found = value.get("doc", {}).get(name)
        if isinstance(found, int):
            return found
    text = str(target).strip()
    letter = re.fullmatch(r"\(?([A-Z])\)?\.?", text)
    if letter and ord(letter[1]) - ord("A") < len(scores):
        return ord(letter[1]) - ord("A")
    raise DataError(
        f"got the target {target!r:.60}; expected an index, an option's text or a letter"
    )


def _readings(value: dict[str, Any], options: int) -> dict[_Reading, int]:
    """The option that a target names as an index and as a text, as far as it can be each."""
    text = str(value.get("target")).strip()
    found: dict[_Reading, int] = {}
    if re.fullmatch(r"[0-9]+", text) and int(text) < options:
        found["index"] = int(text)
    continuations = _continuations(value.get("arguments"))
    if text in continuations:
        found["text"] = continuations.index(text)
    return found


def _by_accuracy(
    value: dict[str, Any], scores: list[float], readings: dict[_Reading, int]
) -> _Reading | None:
    """The reading by which the log's `acc` comes out; None where it does by neither or by both."""
    if value.get("acc") is None:
        return None
    chosen, right = scores.index(max(scores)), bool(value["acc"])
    fitting = [how for how, at in readings.items() if (at == chosen) is right]
    return fitting[0] if len(fitting) == 1 else None


def _convention(file: Path) -> _Reading | None:
    """How the targets of a file are to be read: as its samples that leave no doubt are, if one way.

    A task has one template, so all of its targets are indices or all are texts.
    """
    found: set[_Reading | None] = set()
    for _, value in _objects(file):
        scores = _scores(value)
        readings = _readings(value, len(scores))
        if len(readings) == 1:
            found.update(readings)
        elif len(set(readings.values())) == 2:
            found.add(_by_accuracy(value, scores, readings))
    found.discard(None)
    return found.pop() if len(found) == 1 else None


def _continuations(arguments: Any) -> list[str]:
    if isinstance(arguments, dict):
        return [str(item.get("arg_1", "")).strip() for item in arguments.values()]
    if isinstance(arguments, list):
        return [str(item[1]).strip() for item in arguments if len(item) > 1]
    return []
