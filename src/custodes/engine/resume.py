"""Map rows to results that survive: what is done stays done, whenever the process is killed.

Results are stored shard by shard, each shard a file of JSON lines that appears whole or not at
all. Its name holds a hash of the rows, of who maps them and of the form of these files, so a
restart takes up what fits and does again what does not: changed rows, another factory. Nothing
here knows what the function does; a function that draws at random must take its seed from the row.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import reprlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from custodes.config import write_atomically
from custodes.engine.attempt import rows_named
from custodes.engine.base import BatchFunction, Engine
from custodes.engine.batches import Batch, batches
from custodes.errors import ArtifactError, EngineError

__all__ = ["identify", "kept_map", "resumable_map"]

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class _Shard:
    path: Path
    start: int
    rows: int
    done: bool


def resumable_map(
    engine: Engine,
    factory: Callable[[], BatchFunction],
    rows: Iterable[Any],
    output: Path,
    *,
    shard_rows: int = 1000,
    identity: str | None = None,
) -> Iterator[Any]:
    """As `engine.map`, with every full shard of results kept in the folder `output`.

    Results must be JSON values, and come back as JSON gives them (a tuple as a list), fresh or
    stored alike. `identity` tells one factory from another, by default `identify(factory)`; it
    does not see a change of code, so name a version in it where that matters. A kill at any
    moment costs the shard under way. At the end `manifest.json` lists the shards in order.
    `EngineError` where a row, a factory or a result does not fit, or a stored shard is damaged.
    """
    if shard_rows < 1:
        raise EngineError(f"shard_rows: got {shard_rows}, expected at least 1")
    who = identify(factory) if identity is None else identity
    plan: deque[_Shard] = deque()
    names: list[str] = []
    # Found by the hash alone: a shard may have had another place among other rows.
    there = {path.name.partition("-")[2]: path for path in output.glob("*-*.jsonl")}

    def missing() -> Iterator[Any]:
        for batch in batches(rows, shard_rows):
            name = f"{_fingerprint(batch, who)}.jsonl"
            path = there.get(name, output / f"{batch.index:06d}-{name}")
            shard = _Shard(path, batch.start, len(batch.rows), path.exists())
            plan.append(shard)
            names.append(path.name)
            if not shard.done:
                yield from batch.rows

    fresh: list[Any] = []
    for result in engine.map(factory, missing()):
        while plan[0].done:
            yield from _stored(plan.popleft())
        fresh.append(result)
        if len(fresh) == plan[0].rows:
            _store(plan[0], fresh)
            fresh.clear()
            yield from _stored(plan.popleft())
    while plan:
        yield from _stored(plan.popleft())
    manifest = {"format": _FORMAT, "identity": who, "shard_rows": shard_rows, "shards": names}
    _write(output / "manifest.json", json.dumps(manifest, indent=2) + "\n")


def kept_map(
    engine: Engine,
    factory: Callable[[], BatchFunction],
    rows: Sequence[Any],
    paths: Sequence[Path],
    *,
    told: Callable[[int, Any], None] | None = None,
) -> list[Any]:
    """As `list(engine.map(factory, rows))`, with each row's result in a file of its own.

    For few rows that take long: the caller names each file by all that decides its result, so
    that other rows beside it change nothing. Files that are there are read, not made. `told` hears
    the number and the result of each row that was computed. `ArtifactError` for a damaged file.
    """
    missing = [n for n, path in enumerate(paths) if not path.exists()]
    results = engine.map(factory, [rows[n] for n in missing])
    for n, result in zip(missing, results, strict=True):
        write_atomically(paths[n], json.dumps(result) + "\n")
        if told is not None:
            told(n, result)
    return [_read(path) for path in paths]


def identify(value: Any) -> str:
    """Canonical JSON of a row or of a factory: equal values, equal text, on any machine.

    Takes JSON values, tuples, bytes, paths, enums, dataclasses, pydantic models, functions and
    classes by their names, and `functools.partial`; `EngineError` for anything else (a lambda, a
    bound method), since what cannot be told apart must not be resumed.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, Path):
        return {"path": str(value)}
    return _named(value)


def _named(value: Any) -> Any:
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, partial):
        return {"partial": [_plain(x) for x in (value.func, value.args, value.keywords)]}
    if isinstance(value, BaseModel):
        return {kind: _plain(value.model_dump(mode="json"))}
    if is_dataclass(value) and not isinstance(value, type):
        return {kind: {f.name: _plain(getattr(value, f.name)) for f in fields(value)}}
    name = getattr(value, "__qualname__", "<")
    if "<" in name or inspect.ismethod(value):  # a closure, or a state that the name does not tell
        raise EngineError(
            f"cannot tell {reprlib.repr(value)} from others of its kind: expected JSON values, "
            "dataclasses, functions at the top of a module, or functools.partial of one; or pass "
            "identity="
        )
    return {"named": f"{value.__module__}.{name}"}


def _fingerprint(batch: Batch, who: str) -> str:
    digest = hashlib.sha256(f"{_FORMAT}\n{who}\n".encode("utf-8", "surrogatepass"))
    for row in batch.rows:
        digest.update(identify(row).encode("ascii") + b"\n")
    return digest.hexdigest()[:32]


def _store(shard: _Shard, results: list[Any]) -> None:
    try:
        lines = [json.dumps(result) for result in results]
    except (TypeError, ValueError, RecursionError) as error:
        raise EngineError(
            f"{rows_named(shard.start, shard.rows)}: a result is no JSON value ({error}); let "
            "the function return strings, numbers, booleans, None, lists and dictionaries"
        ) from error
    _write(shard.path, "".join(line + "\n" for line in lines))


def _write(path: Path, text: str) -> None:
    try:
        write_atomically(path, text)
    except OSError as error:
        raise EngineError(f"{path}: cannot be written: {error}") from error


def _stored(shard: _Shard) -> list[Any]:
    try:
        results = [json.loads(line) for line in shard.path.read_bytes().splitlines()]
    except (OSError, ValueError) as error:
        raise EngineError(
            f"{shard.path}: cannot be read ({error}); delete it and run again"
        ) from error
    if len(results) != shard.rows:
        raise EngineError(
            f"{shard.path}: got {len(results)} results, expected {shard.rows}; "
            "delete it and run again"
        )
    return results


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: cannot be read ({error}); delete it and run again") from error
