"""What an engine adds to a function that costs nothing, with and without a worker that dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from timing import processor_seconds, times

from custodes.engine import open_engine

ENGINES: dict[str, dict[str, Any]] = {
    "serial": {"kind": "serial"},
    "2 threads": {"kind": "thread", "workers": 2},
    "2 processes": {"kind": "process", "workers": 2},
}


def squares(fatal: Path | None = None) -> Callable[[Sequence[int]], list[int]]:
    """Squares numbers; whoever first finds the file `fatal` removes it and dies."""

    def work(rows: Sequence[int]) -> list[int]:
        if fatal is not None and rows[0] > 0:
            try:
                fatal.unlink()
            except FileNotFoundError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return [row * row for row in rows]

    return work


def engines(options: Any) -> list[dict]:
    """Processor microseconds a row, in batches of 64."""
    number = 100_000 if options.size == "full" else 2_000
    wanted = sum(n * n for n in range(number))

    def through(settings: dict[str, Any], fatal: Path | None = None) -> None:
        if fatal is not None:
            fatal.touch()
        engine = open_engine("local", settings, batch_size=64)
        total = sum(engine.map(partial(squares, fatal), range(number)))
        if total != wanted:
            raise SystemExit(f"engines: got a sum of {total}, expected {wanted}")

    rows = [{"figure": "rows", "value": number}]
    for name, settings in ENGINES.items():
        seconds = processor_seconds(partial(through, settings), options.repeats)
        rows.append(_row(name, seconds, number))
    fatal = Path(options.work) / "fatal"
    dying = partial(through, ENGINES["2 processes"], fatal.resolve())
    rows.append(_row("2 processes, one killed", processor_seconds(dying, options.repeats), number))
    return rows


def _row(name: str, seconds: Any, number: int) -> dict:
    return {
        "figure": f"local, {name}: of the engine itself",
        "value": times(seconds, 1e6 / number),
        "unit": "us a row",
    }
