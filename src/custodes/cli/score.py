"""`custodes score`: judge lines of JSON, from a file or from a pipe.

Results go to stdout (or whole to `--output`), everything else to stderr. Memory stays bounded:
lines are read only as fast as they are judged and written.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from custodes.cli.engines import make_engine
from custodes.cli.score_lines import line_scorer, read_rows
from custodes.data.atomic import replacing
from custodes.engine.resume import resumable_map
from custodes.errors import ConfigError, DataError
from custodes.guard import find_guard, verify_guard

__all__ = ["score"]

_OF_PARTS = re.compile(r"\d+-\w+\.jsonl|manifest\.json|\..+")
_SHARD = 256
"""Lines that a kill can cost at most, beside those in flight."""


def score(
    file: Annotated[str, typer.Argument(metavar="[FILE|-]", help="JSONL; - is stdin.")] = "-",
    guard: Annotated[str, typer.Option(help="A guard's folder, or a shipped guard.")] = "default",
    engine: Annotated[str, typer.Option(help="serial, thread, process, or ray.")] = "serial",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="An engine's setting.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Write here, whole or not at all; till then in FILE.parts."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a broken-off run.")] = False,
) -> None:
    """Judge JSON lines: one result a line, in order.

    A line holds `id` and either `text` (a user's prompt) or `messages` (a conversation; where
    the assistant speaks last, its reply is judged). A result holds `id`, `score` (harmful, 0 to
    1), `action` (release or stop), `rule`, `stage`, `code` (rot13, say, where what decided was
    hidden in the text) and `stop_at`: the character at which a streamed reply would have been
    cut. A line that cannot be judged gives `id` and `error`; bad
    lines do not change the exit status, their number is printed on stderr.
    """
    if resume and output is None:
        raise ConfigError("--resume goes on with a file: got no --output, expected --output FILE")
    if output is not None and output.is_dir():
        raise ConfigError(f"--output {output}: is a folder; expected a file's name")
    folder = find_guard(guard).resolve()
    version = verify_guard(folder).sha256  # here: in a worker it would be no input error
    runner = make_engine(engine, settings or [])
    work = partial(line_scorer, str(folder))
    with _open(file) as source, _counting() as count:
        rows = read_rows(source)
        try:
            if output is None:
                _print(map(count, runner.map(work, rows)))
            else:
                parts = _parts(output, resume)
                results = resumable_map(
                    runner, work, rows, parts, shard_rows=_SHARD, identity=f"score {version}"
                )
                _save(map(count, results), output)
                shutil.rmtree(parts)
        except BrokenPipeError:
            # The reader has what it wanted; the interpreter's last flush must not fail.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except KeyboardInterrupt:
            hint = "; the same command with --resume goes on" if output else ""
            typer.echo(f"custodes: interrupted after {count.lines} lines{hint}", err=True)
            raise typer.Exit(130) from None
    if count.bad:
        typer.echo(
            f"custodes: {count.bad} of {count.lines} lines could not be judged; see `error`",
            err=True,
        )


class _Count:
    """Counts results as they pass, and shows the number where somebody looks."""

    def __init__(self, show: Callable[[int], None]) -> None:
        self.lines = 0
        self.bad = 0
        self._show = show

    def __call__(self, result: dict[str, Any]) -> dict[str, Any]:
        self.lines += 1
        self.bad += "error" in result
        self._show(self.lines)
        return result


@contextmanager
def _counting() -> Iterator[_Count]:
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.completed:,} lines"), TimeElapsedColumn())
    watched = console.is_terminal and not sys.stdout.isatty()
    with Progress(*columns, console=console, disable=not watched, transient=True) as bar:
        task = bar.add_task("score", total=None)
        yield _Count(lambda lines: bar.update(task, completed=lines))


def _open(file: str) -> Any:
    if file == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(file).open("rb")
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}; give a JSONL file") from error


def _parts(output: Path, resume: bool) -> Path:
    parts = output.with_name(f"{output.name}.parts")
    if parts.exists() and not resume:
        strange = [each.name for each in parts.iterdir() if not _OF_PARTS.fullmatch(each.name)]
        if strange:
            raise DataError(
                f"{parts}: is where unfinished work goes, but holds {strange[0]}, which is not "
                "ours; give another --output"
            )
        raise DataError(
            f"{parts}: is where unfinished work goes, and there is some of an earlier run; "
            "--resume goes on with it; to begin anew, remove that folder or give another --output"
        )
    return parts


def _print(results: Iterable[dict[str, Any]]) -> None:
    for result in results:
        sys.stdout.buffer.write(_line(result))
        sys.stdout.buffer.flush()


def _save(results: Iterable[dict[str, Any]], output: Path) -> None:
    with replacing(output) as temporary, temporary.open("wb") as file:
        file.writelines(map(_line, results))


def _line(result: dict[str, Any]) -> bytes:
    # ASCII, so that an id with a lone surrogate can be written too
    return json.dumps(result).encode("ascii") + b"\n"
