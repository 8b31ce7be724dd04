"""`custodes conformance`: does a gateway leak? Any gateway, from outside."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from custodes.config import write_atomically
from custodes.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from custodes.guard import Guard
    from custodes.server.conformance import Result, Specimens
    from custodes.server.scripted import ScriptedUpstream

__all__ = ["conformance"]

MARKER = "the forbidden cake"


def conformance(
    url: Annotated[
        str | None, typer.Option(help="The gateway, without /v1; none: custodes itself.")
    ] = None,
    upstream_port: Annotated[
        int, typer.Option(help="Where the suite plays the upstream; 0 takes a free port.")
    ] = 0,
    marker: Annotated[
        str | None, typer.Option(help=f"What the gateway must stop ({MARKER!r} if nothing is said)")
    ] = None,
    guard: Annotated[
        str | None,
        typer.Option(help="Measure by this guard, which the gateway has: a folder or a name."),
    ] = None,
    ask: Annotated[
        bool,
        typer.Option("--ask", help="Measure by what the gateway does to unstreamed replies."),
    ] = False,
    broken: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=URL", help="The same gateway with its guard out of order; repeatable."
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="The model to ask for.")] = "scripted",
    key_env: Annotated[
        str | None, typer.Option(help="The environment variable with the gateway's key.")
    ] = None,
    route: Annotated[list[str] | None, typer.Option(help="Only this path; repeatable.")] = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="Only cells of this kind; repeatable.")
    ] = None,
    against: Annotated[str, typer.Option(help="What to call the gateway.")] = "custodes",
    output: Annotated[Path | None, typer.Option(help="Write results here as JSON.")] = None,
) -> None:
    """Count the characters that a gateway leaks, cell by cell; exit status 1 where any does.

    With --url the gateway under test must have http://127.0.0.1:PORT/v1 as its upstream (give
    --upstream-port). What it must stop: a marker; or, with a real guard, mild texts that stand for
    harm, of which it may show what --guard clears when it is given them whole, or --ask.
    """
    try:
        from custodes.server.conformance import KINDS, ROUTES, Gateway, asking, run
        from custodes.server.scripted import ScriptedUpstream
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "fastapi", "server") from error
    _check(url, upstream_port, measures=(marker, guard, ask or None), broken=broken)
    _known("--route", route, ROUTES)
    _known("--kind", kind, KINDS)
    key = os.environ.get(key_env) if key_env else None
    loaded = _load(guard) if guard is not None else None
    with ScriptedUpstream(port=upstream_port) as upstream, ExitStack() as stack:
        if url is None:
            at, out_of_order = stack.enter_context(_own(upstream, loaded, marker or MARKER))
        else:
            at, out_of_order = url, _named(broken or [])
        gateway = Gateway(
            url=at,
            specimens=asking(at, upstream, model=model, key=key)
            if ask
            else _specimens(loaded, marker or MARKER),
            model=model,
            key=key,
            routes=route or ROUTES,
            broken=out_of_order,
        )
        results = run(gateway, upstream, progress=_show, kinds=kind or KINDS)
    _summarize(against, results, output)


def _check(
    url: str | None,
    upstream_port: int,
    *,
    measures: tuple[str | bool | None, ...],
    broken: list[str] | None,
) -> None:
    if sum(each is not None for each in measures) > 1:
        raise ConfigError("--marker, --guard and --ask: got several, expected one of them")
    if url is not None and upstream_port == 0:
        raise ConfigError("--url needs --upstream-port: the gateway must know its upstream")
    if url is None and broken:
        raise ConfigError("--broken is for a gateway elsewhere: give its --url too")


def _known(flag: str, given: list[str] | None, expected: Sequence[str]) -> None:
    unknown = sorted(set(given or []) - set(expected))
    if unknown:
        raise ConfigError(f"{flag}: got {unknown[0]!r}, expected some of {', '.join(expected)}")


def _named(given: list[str]) -> dict[str, str]:
    found = {}
    for text in given:
        name, equals, address = text.partition("=")
        if not (name and equals and address):
            raise ConfigError(f"--broken: got {text!r}, expected NAME=URL")
        found[name] = address
    return found


def _load(name: str) -> Guard:
    from custodes.guard import load_guard

    return load_guard(name)


def _specimens(guard: Guard | None, marker: str) -> Specimens:
    from custodes.server.conformance import as_guard_judges, marked

    return marked(marker) if guard is None else as_guard_judges(guard)


@contextmanager
def _own(
    upstream: ScriptedUpstream, guard: Guard | None, marker: str
) -> Iterator[tuple[str, dict[str, str]]]:
    """custodes itself in this process, and the same with guards that are out of order."""
    from custodes.server.demonstration import scripted_guard, serve_broken, serve_guarded

    logging.getLogger("custodes.server").addHandler(logging.NullHandler())  # it is meant to fail

    def load() -> Guard:
        return scripted_guard(marker) if guard is None else guard

    with serve_guarded(upstream.url, load) as at, serve_broken(upstream.url, marker) as broken:
        yield at, broken


def _show(result: Result) -> None:
    if not result.passed:
        why = f"{result.leaked} characters leaked" if result.leaked else result.problem
        typer.echo(f"FAILED {result.cell.name}: {why}")


def _summarize(name: str, results: list[Result], output: Path | None) -> None:
    leaked = sum(result.leaked for result in results)
    failed = sum(not result.passed for result in results)
    passed = f"{len(results) - failed} of {len(results)} cells passed"
    typer.echo(f"{name}: {passed}, {leaked} characters leaked")
    if output is not None:
        rows = [
            {"cell": each.cell.name, "leaked": each.leaked, "problem": each.problem}
            for each in results
        ]
        values = {"gateway": name, "cells": len(results), "failed": failed, "leaked": leaked}
        write_atomically(output, json.dumps({**values, "results": rows}, indent=2) + "\n")
    if failed:
        raise typer.Exit(1)
