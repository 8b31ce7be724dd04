"""Inspect evaluation logs of multiple-choice tasks: `.eval` (a zip) and `.json`.

A sample's distribution is the soft-max over its letters where the answer's log-probabilities were
logged, else one-hot at the scored answer. Epochs of one sample share a group. Knows the file
layout only; `inspect_ai` is not needed.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from custodes.errors import DataError
from custodes.methods.similarity.answers import Floats
from custodes.methods.similarity.inputs.rows import Row, one_hot_row, softmax

__all__ = ["read"]


def read(path: Path) -> Iterator[Row]:
    """Rows of one log, or of every log in a folder."""
    files = [path] if path.is_file() else sorted([*path.rglob("*.eval"), *path.rglob("*.json")])
    for file in files:
        try:
            header, samples = _zipped(file) if zipfile.is_zipfile(file) else _plain(file)
            model, task = str(header["model"]), str(header["task"])
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{file}: not an Inspect log ({error!r:.120})") from None
        for sample in samples:
            try:
                yield _row(sample, model, task)
            except (KeyError, TypeError, ValueError, IndexError, DataError) as error:
                raise DataError(
                    f"{file}: sample {sample.get('id')!r}: {error!s:.160}; expected a "
                    "multiple-choice sample with choices, target and scores"
                ) from None


def _zipped(file: Path) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    with zipfile.ZipFile(file) as archive:
        names = set(archive.namelist())
        start = "header.json" if "header.json" in names else "_journal/start.json"
        header = json.loads(archive.read(start))["eval"]

    def samples() -> Iterator[dict[str, Any]]:
        with zipfile.ZipFile(file) as archive:
            for name in sorted(names):
                if name.startswith("samples/"):
                    yield json.loads(archive.read(name))

    return header, samples()


def _plain(file: Path) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    log = json.loads(file.read_text(encoding="utf-8"))
    return log["eval"], iter(log.get("samples") or ())


def _row(sample: dict[str, Any], model: str, task: str) -> Row:
    options = len(sample["choices"] or ())
    target = sample["target"]
    if isinstance(target, list) and len(target) != 1:
        raise DataError(
            f"got the targets {', '.join(map(str, target)) or 'none'}; similarity needs one right "
            "option: leave samples of several out of the log"
        )
    letter = target[0] if isinstance(target, list) else target
    question = f"{task}/{sample['id']}"
    epoch = int(sample.get("epoch", 1))
    return Row(
        model=model,
        question=question if epoch == 1 else f"{question}#{epoch}",
        label=_index(str(letter), options, required=True) or 0,
        options=options,
        probabilities=_distribution(sample, options),
        group=question,
    )


def _index(letter: str, options: int, *, required: bool = False) -> int | None:
    at = ord(letter.strip().upper()) - ord("A") if len(letter.strip()) == 1 else -1
    if 0 <= at < options:
        return at
    if required:
        raise DataError(f"got the target {letter!r}; expected a letter of {options} options")
    return None


def _distribution(sample: dict[str, Any], options: int) -> Floats | None:
    answers = [score.get("answer") for score in (sample.get("scores") or {}).values()]
    answer = next((str(a) for a in answers if a), "")
    soft = _from_log_probabilities(sample, options, answer)
    if soft is not None:
        return soft
    choice = _index(answer, options)
    return None if choice is None else one_hot_row(choice, options)


def _from_log_probabilities(sample: dict[str, Any], options: int, answer: str) -> Floats | None:
    """From the last token that is the answer's letter, if its alternatives were logged."""
    choices = (sample.get("output") or {}).get("choices") or [{}]
    content = (choices[0].get("logprobs") or {}).get("content") or []
    for token in reversed(content):
        if answer and str(token.get("token", "")).strip().upper() == answer.strip().upper():
            found = [-math.inf] * options
            for other in token.get("top_logprobs") or []:
                at = _index(str(other["token"]), options)
                if at is not None:
                    found[at] = max(found[at], float(other["logprob"]))
            if max(found) > -math.inf:
                return softmax(found)
    return None
