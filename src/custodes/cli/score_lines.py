"""One line of JSON in, one verdict out: what `custodes score` does in its workers.

A line that cannot be judged becomes a result with `error`; nothing here raises for what a line
holds. Knows nothing of files, engines or terminals.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeGuard, get_args

from custodes.errors import DataError
from custodes.guard import Guard, load_guard
from custodes.guard.outcome import Outcome, outcomes
from custodes.types import Conversation, Message, Role

__all__ = ["LineScorer", "Row", "line_scorer", "read_rows"]

LONGEST = 16 * 2**20
"""Bytes of the longest line that is read; memory stays bounded whatever comes."""

Row = tuple[int, bytes | None]
"""Number of the line, from 1, and its bytes; None where it is longer than `LONGEST`."""

Result = dict[str, Any]
"""What is printed for a line."""

_ROLES = get_args(Role)


class LineError(DataError):
    """A line cannot be judged; `id` is its id where that much could be read."""

    def __init__(self, message: str, line_id: str | int | None = None) -> None:
        super().__init__(message)
        self.id = line_id


@dataclass(frozen=True, slots=True)
class _Request:
    id: str | int | None
    conversation: Conversation


def read_rows(file: BinaryIO) -> Iterator[Row]:
    """Every line of a binary file, lazily; of an overlong one only its number."""
    number = 0
    while line := file.readline(LONGEST + 1):
        number += 1
        if len(line) <= LONGEST or line.endswith(b"\n"):
            yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(LONGEST)
        yield number, None


def line_scorer(guard: str) -> LineScorer:
    """Load a guard and judge lines by it; an engine calls this in each worker."""
    return LineScorer(load_guard(guard))


class LineScorer:
    """Judges batches of lines by one guard."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def __call__(self, rows: Sequence[Row]) -> list[Result]:
        """One result a row, in order."""
        requests = [_attempt(row) for row in rows]
        good = [each.conversation for each in requests if isinstance(each, _Request)]
        judged = iter(outcomes(self._guard, good))
        return [
            _result(each, next(judged))
            if isinstance(each, _Request)
            else {"id": each.id, "error": f"line {number}: {each}"}
            for each, (number, _) in zip(requests, rows, strict=True)
        ]


def _result(request: _Request, outcome: Outcome) -> Result:
    verdict = outcome.verdict
    streamed = request.conversation[-1].role == "assistant"
    result: Result = {
        "id": request.id,
        "score": verdict.score,
        "action": verdict.action.value,
        "rule": verdict.rule,
        "stage": verdict.stage,
        "code": verdict.code,
        "stop_at": outcome.stop_at if streamed else None,
    }
    if verdict.failure is not None:
        result["error"] = f"the guard could not judge: {verdict.failure}"
    return result


def _attempt(row: Row) -> _Request | LineError:
    number, line = row
    try:
        if line is None:
            raise LineError(f"longer than {LONGEST} bytes; cut the text, or score its parts")
        return _parse(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
    except LineError as error:
        return error


def _parse(line: bytes) -> _Request:
    strange: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        known = dict(pairs)
        if len(known) < len(pairs):
            names = [name for name, _ in pairs]
            twice = sorted({name for name in names if names.count(name) > 1})
            strange.append(f"the key {twice[0]!r} stands twice in one object")
        return known

    try:
        text = line.decode("utf-8")
        if not text.strip():
            raise LineError("got an empty line, expected a JSON object")
        value = json.loads(
            text,
            object_pairs_hook=unique,
            parse_constant=lambda name: strange.append(f"{name} is not JSON"),
        )
    except UnicodeDecodeError as error:
        raise LineError(f"not UTF-8: byte {error.start} is {line[error.start]:#04x}") from error
    except RecursionError as error:
        raise LineError("nested too deeply") from error
    except ValueError as error:
        raise LineError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise LineError(f"got a {_kind(value)}, expected an object with `text` or `messages`")
    line_id = _id(value.get("id"))
    try:
        if strange:
            raise LineError(strange[0])
        return _Request(line_id, _conversation(value))
    except LineError as error:
        raise LineError(str(error), line_id) from error


def _id(value: Any) -> str | int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
        raise LineError(f"`id`: got a {_kind(value)}, expected a string or an integer")
    return value


def _conversation(value: dict[str, Any]) -> Conversation:
    text, messages = value.get("text"), value.get("messages")
    if (text is None) == (messages is None):
        got = "neither" if text is None else "both"
        raise LineError(f"got {got}, expected either `text` or `messages`")
    if text is not None:
        if not isinstance(text, str):
            raise LineError(f"`text`: got a {_kind(text)}, expected a string")
        return (Message("user", text),)
    if not isinstance(messages, list) or not messages:
        got = "an empty list" if messages == [] else f"a {_kind(messages)}"
        raise LineError(f"`messages`: got {got}, expected a list of at least one message")
    return tuple(_message(each, place) for place, each in enumerate(messages))


def _message(value: Any, place: int) -> Message:
    where = f"`messages[{place}]`"
    if not isinstance(value, dict):
        raise LineError(f"{where}: got a {_kind(value)}, expected an object")
    role, content = value.get("role"), value.get("content")
    if not _is_role(role):
        raise LineError(f"{where}.role: got {role!r:.40}, expected one of {', '.join(_ROLES)}")
    if not isinstance(content, str):
        raise LineError(f"{where}.content: got a {_kind(content)}, expected a string")
    return Message(role, content)


def _is_role(value: Any) -> TypeGuard[Role]:
    return value in _ROLES


def _kind(value: Any) -> str:
    names = {dict: "object", list: "list", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")
