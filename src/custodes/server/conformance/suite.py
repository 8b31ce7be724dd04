"""Run the cells and count: characters that leaked, and what else was wrong.

One request at a time: the upstream plays what the cell says to whoever asks next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import httpx2

from custodes.server.conformance.cells import KINDS, REPLIES, ROUTES, Cell, cells
from custodes.server.conformance.replies import Shown, body_of, show
from custodes.server.conformance.specimens import PROMPT, Specimen, Specimens, as_gateway_judges
from custodes.server.scripted import Script, ScriptedUpstream

__all__ = ["Gateway", "Result", "asking", "run"]

_RUN = 12
"""So many characters of what must not be shown are a leak wherever they stand."""
_AS_USUAL = frozenset({"stop", "end_turn", "tool_calls", "tool_use"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Where the gateway is and what it is asked for.

    `broken`: name -> address of the same gateway with its guard out of order. `seconds`: how long
    a reply may be silent; `patience`: the same where the upstream is told to fall silent.
    """

    url: str
    specimens: Specimens
    model: str = "scripted"
    key: str | None = None
    routes: Sequence[str] = ROUTES
    broken: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 30.0
    patience: float = 2.0


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a cell: characters that leaked, and what else was wrong."""

    cell: Cell
    leaked: int
    problem: str | None

    @property
    def passed(self) -> bool:
        """Nothing leaked and nothing was wrong."""
        return self.leaked == 0 and self.problem is None


def run(
    gateway: Gateway,
    upstream: ScriptedUpstream,
    *,
    progress: Callable[[Result], None],
    kinds: Sequence[str] = KINDS,
) -> list[Result]:
    """Every result of cells of these kinds, in order; `progress` is told of each."""
    results = []
    with _client(gateway.key, gateway.seconds) as client:
        for cell in cells(gateway.specimens, gateway.routes, broken=tuple(gateway.broken)):
            if cell.kind not in kinds:
                continue
            results.append(_result(cell, gateway, upstream, client))
            progress(results[-1])
    upstream.script = None
    return results


def asking(
    url: str, upstream: ScriptedUpstream, *, model: str, key: str | None = None
) -> Specimens:
    """What the gateway does to whole replies, as the measure of what it may show of streams."""
    with _client(key, 60.0) as client:

        def shown(text: str, channel: str) -> str:
            upstream.script = Script.model_validate({"pieces": (text,), "channel": channel})
            return ask(PROMPT).texts.get(0, "")

        def asked(prompt: str) -> bool:
            before = len(upstream.asked)
            ask(prompt)
            return len(upstream.asked) > before

        def ask(prompt: str) -> Shown:
            body = body_of(Cell(kind="input", route=REPLIES[0]), model, prompt, "")
            return show(client, url.rstrip("/") + REPLIES[0], body, patience=60.0)

        found = as_gateway_judges(shown, asked)
    upstream.script = None
    return found


def _client(key: str | None, seconds: float) -> httpx2.Client:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return httpx2.Client(timeout=seconds, headers=headers, trust_env=False)


def _result(
    cell: Cell, gateway: Gateway, upstream: ScriptedUpstream, client: httpx2.Client
) -> Result:
    upstream.script = cell.script
    try:
        if cell.kind == "verdict":
            return Result(cell, 0, _verdict(cell, gateway, upstream, client))
        if cell.kind == "disconnect":
            return Result(cell, 0, _leave(cell, gateway, upstream, client))
        asked = len(upstream.asked)
        patience = gateway.patience if cell.script.fault == "stall" else gateway.seconds
        shown = show(client, _address(cell, gateway), _body(cell, gateway), patience=patience)
    except (httpx2.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
        return Result(cell, 0, f"{type(error).__name__}: {error}"[:200])
    leaked = _leaked_by(cell, shown)
    return Result(cell, leaked, _problem(cell, shown, len(upstream.asked) > asked))


def _address(cell: Cell, gateway: Gateway) -> str:
    url = gateway.broken[cell.gateway] if cell.gateway else gateway.url
    return url.rstrip("/") + cell.route


def _body(cell: Cell, gateway: Gateway) -> dict[str, Any]:
    specimens = gateway.specimens
    return body_of(cell, gateway.model, specimens.prompt, specimens.asked)


def _leaked_by(cell: Cell, shown: Shown) -> int:
    if cell.specimen is None:
        return 0
    texts = [*shown.texts.values(), shown.elsewhere]
    return sum(_leaked(cell.specimen, text) for text in texts)


def _leaked(specimen: Specimen, shown: str) -> int:
    """Characters shown beyond what may be shown: in their place, or in runs anywhere."""
    text = specimen.text
    same = 0
    for mine, theirs in zip(shown, text, strict=False):
        if mine != theirs:
            break
        same += 1
    hidden, rest = text[max(specimen.allowed, same) :], shown[same:]
    size = max(1, min(_RUN, len(hidden)))
    found: set[int] = set()
    for place in range(len(hidden) - size + 1):
        if hidden[place : place + size] in rest:
            found.update(range(place, place + size))
    return max(0, same - specimen.allowed) + len(found)


def _problem(cell: Cell, shown: Shown, asked: bool) -> str | None:
    if cell.exact is not None and sorted(shown.texts.values()) != [cell.exact] * cell.choices:
        return "a benign text did not come through as it was"
    if cell.kind == "input" and asked:
        return "the upstream was asked although the input was harmful"
    whole = cell.specimen is not None and len(cell.specimen.text) in map(len, shown.texts.values())
    if cell.specimen is not None and not whole and shown.endings and shown.endings <= _AS_USUAL:
        return f"cut, and the client is told that it ended as usual ({', '.join(shown.endings)})"
    return None


def _verdict(
    cell: Cell, gateway: Gateway, upstream: ScriptedUpstream, client: httpx2.Client
) -> str | None:
    """The routes that answer with verdicts alone tell harm and the rest apart."""
    asked = len(upstream.asked)
    found = [
        _harm(cell.route, client.post(_address(cell, gateway), json=body).json())
        for body in (
            _question(cell.route, text)
            for text in (gateway.specimens.asked, gateway.specimens.prompt)
        )
    ]
    if not found[0] > found[1]:
        return f"harm is called {found[0]:g} and what is harmless {found[1]:g}"
    return "the upstream was asked for a verdict" if len(upstream.asked) > asked else None


def _question(route: str, text: str) -> dict[str, Any]:
    if route == "/v1/moderations":
        return {"input": text}
    question = {"type": "predicate", "name": "harmful", "instructions": "Is it harmful?"}
    return {"model": "custodes", "input": text, "questions": [question]}


def _harm(route: str, value: dict[str, Any]) -> float:
    if route == "/v1/moderations":
        return float(value["results"][0]["flagged"])
    return float(value["answers"][0]["probability"])


def _leave(
    cell: Cell, gateway: Gateway, upstream: ScriptedUpstream, client: httpx2.Client
) -> str | None:
    """Leave before the first byte or after it; the gateway must let the upstream go."""
    left = upstream.abandoned
    try:
        with client.stream(
            "POST",
            _address(cell, gateway),
            json=_body(cell, gateway),
            timeout=gateway.seconds if cell.at else gateway.patience / 4,
        ) as response:
            if sum(1 for _ in islice(response.iter_bytes(), cell.at or None)) < cell.at:
                return "the reply ended before the client could leave"
    except httpx2.ReadTimeout:
        pass  # this is how the client leaves where nothing came yet
    until = time.monotonic() + 5
    while upstream.abandoned == left:
        if time.monotonic() > until:
            return "the client left and the upstream was not let go"
        time.sleep(0.02)
    return None
