"""Which requests the suite makes: one cell each.

Every endpoint x stream or whole x channel x choices x how the bytes are cut x where the harmful
sentence is split x what breaks: the upstream, the client's patience, the guard.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from custodes.server.conformance.specimens import Specimen, Specimens
from custodes.server.scripted import Fault, Script

__all__ = ["KINDS", "REPLIES", "ROUTES", "Cell", "cells"]

REPLIES = ("/v1/chat/completions", "/v1/messages", "/v1/completions")
KINDS = ("benign", "harmful", "split", "fault", "guard", "input", "disconnect", "verdict")
ROUTES = (*REPLIES, "/v1/moderations", "/v1/decisions")

Channel = Literal["content", "reasoning", "tool"]
_USUAL = Script()
_TALK = 4.0
"""Seconds that the upstream talks on while the client leaves."""
_FAULTS: tuple[Fault, ...] = ("drop", "end", "garbage", "error", "shape", "stall")
_PLACES = ("user", "system", "history", "part", "tool result", "tool")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One request.

    `kind`: one of `KINDS`; guard: it is out of order.
    `specimen`: what is said, where it must be stopped. `exact`: what must be shown, all of it.
    `place`: where harm stands in the request. `at`: how far the client listens before it leaves.
    `gateway`: which of the gateways under test; empty: the one in order.
    """

    kind: str
    route: str
    stream: bool = False
    script: Script = _USUAL
    choices: int = 1
    specimen: Specimen | None = None
    exact: str | None = None
    place: str = ""
    at: int = 0
    gateway: str = ""

    @property
    def name(self) -> str:
        """The cell in a few words."""
        parts = [self.kind, self.route, "stream" if self.stream else "whole", self.script.channel]
        parts += [f"n={self.choices}"] if self.choices > 1 else []
        parts += [f"chunk={self.script.chunk}"] if self.script.chunk else []
        parts += [f"{self.script.fault}@{self.script.fault_at}"] if self.script.fault else []
        parts += [f"split={len(self.script.pieces[0])}"] if self.kind == "split" else []
        parts += [each for each in (self.place, self.gateway) if each]
        return " ".join(parts)


def cells(
    specimens: Specimens, routes: Sequence[str] = ROUTES, *, broken: Sequence[str] = ()
) -> Iterator[Cell]:
    """Every cell, in order; `broken` names gateways whose guard is out of order."""
    for route in routes:
        if route not in REPLIES:
            yield Cell(kind="verdict", route=route)
            continue
        most = (1,) if route == "/v1/messages" else (1, 3)
        for stream in (True, False):
            for channel in _channels(route):
                for choices in most:
                    yield from _texts(specimens, route, stream, channel, choices)
                for name in broken:
                    yield from _out_of_order(specimens, route, stream, channel, name)
            for place in _places(route, specimens):
                yield Cell(kind="input", route=route, stream=stream, place=place)
            yield from _refused(specimens, route, stream)
        yield from _split(specimens, route)
        yield from _broken(specimens, route)
        yield from _disconnects(specimens, route)


def _channels(route: str) -> tuple[Channel, ...]:
    return ("content",) if route == "/v1/completions" else ("content", "reasoning", "tool")


def _places(route: str, specimens: Specimens) -> tuple[str, ...]:
    if route == "/v1/completions":
        return ("user", "part")
    return _PLACES if specimens.alone else _PLACES[:-1]


def _pieces(specimen: Specimen) -> tuple[str, ...]:
    start, end = specimen.harm
    parts = (specimen.text[:start], specimen.text[start:end], specimen.text[end:])
    return tuple(part for part in parts if part)


def _texts(
    specimens: Specimens, route: str, stream: bool, channel: Channel, choices: int
) -> Iterator[Cell]:
    for chunk in (0, 1) if stream else (0,):
        for text in specimens.texts(channel):
            script = Script(pieces=(text[:20], text[20:]), channel=channel, chunk=chunk)
            yield Cell(
                kind="benign",
                route=route,
                stream=stream,
                script=script,
                choices=choices,
                exact=text,
            )
        for specimen in specimens.stopped(channel):
            script = Script(pieces=_pieces(specimen), channel=channel, chunk=chunk)
            yield Cell(
                kind="harmful",
                route=route,
                stream=stream,
                script=script,
                choices=choices,
                specimen=specimen,
            )


def _split(specimens: Specimens, route: str) -> Iterator[Cell]:
    """The harmful sentence in two events, wherever it may be split; then letter by letter."""
    for specimen in specimens.harmful[:1]:
        start, end = specimen.harm
        for place in range(start + 1, end):
            script = Script(pieces=(specimen.text[:place], specimen.text[place:]))
            yield Cell(kind="split", route=route, stream=True, script=script, specimen=specimen)
    for specimen in specimens.harmful:
        script = Script(pieces=tuple(specimen.text))
        yield Cell(kind="harmful", route=route, stream=True, script=script, specimen=specimen)


def _broken(specimens: Specimens, route: str) -> Iterator[Cell]:
    specimen = specimens.harmful[0]
    for fault in _FAULTS:
        for at in (1, 2):
            script = Script(pieces=_pieces(specimen), fault=fault, fault_at=at, stall_seconds=8)
            yield Cell(kind="fault", route=route, stream=True, script=script, specimen=specimen)


def _refused(specimens: Specimens, route: str, stream: bool) -> Iterator[Cell]:
    """An upstream that answers otherwise than it was asked to, with harm in its mouth."""
    specimen = specimens.harmful[0]
    shapes: tuple[Fault, ...] = ("status", "json") if stream else ("status", "shape")
    for fault in shapes:
        script = Script(pieces=_pieces(specimen), fault=fault, status=422)
        yield Cell(kind="fault", route=route, stream=stream, script=script, specimen=specimen)


def _out_of_order(
    specimens: Specimens, route: str, stream: bool, channel: Channel, gateway: str
) -> Iterator[Cell]:
    for specimen in specimens.stopped(channel)[:1]:
        yield Cell(
            kind="guard",
            route=route,
            stream=stream,
            script=Script(pieces=_pieces(specimen), channel=channel),
            specimen=specimen,
            gateway=gateway,
        )


def _disconnects(specimens: Specimens, route: str) -> Iterator[Cell]:
    """The client leaves before the first byte comes, and after it."""
    words = tuple(f"{word} " for word in specimens.benign[0].split())
    silent = Script(pieces=words, fault="stall", stall_seconds=8)
    slow = Script(pieces=words, delay=_TALK / len(words))
    yield Cell(kind="disconnect", route=route, stream=True, script=silent)
    yield Cell(kind="disconnect", route=route, stream=True, script=slow, at=1)
