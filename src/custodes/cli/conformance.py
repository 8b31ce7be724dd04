"""`custodes conformance`: does a gateway leak? Any gateway, from outside."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from custodes.config import write_atomically
from custodes.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from custodes.server.conformance import Result
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
    marker: Annotated[str, typer.Option(help="What the gateway must stop.")] = MARKER,
    model: Annotated[str, typer.Option(help="The model to ask for.")] = "scripted",
    key_env: Annotated[
        str | None, typer.Option(help="The environment variable with the gateway's key.")
    ] = None,
    route: Annotated[list[str] | None, typer.Option(help="Only this path; repeatable.")] = None,
    against: Annotated[str, typer.Option(help="What to call the gateway.")] = "custodes",
    output: Annotated[Path | None, typer.Option(help="Write results here as JSON.")] = None,
) -> None:
    """Count the characters that a gateway leaks, cell by cell; exit status 1 where any does.

    With --url the gateway under test must have http://127.0.0.1:PORT/v1 as its upstream (give
    --upstream-port) and must stop the marker.
    """
    try:
        from custodes.server.conformance import ROUTES, Gateway, run
        from custodes.server.scripted import ScriptedUpstream
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "fastapi", "server") from error
    if url is not None and upstream_port == 0:
        raise ConfigError("--url needs --upstream-port: the gateway must know its upstream")
    unknown = sorted(set(route or []) - set(ROUTES))
    if unknown:
        raise ConfigError(f"--route: got {unknown[0]!r}, expected some of {', '.join(ROUTES)}")
    key = os.environ.get(key_env) if key_env else None
    with ScriptedUpstream(port=upstream_port) as upstream, _address(url, upstream, marker) as at:
        gateway = Gateway(url=at, marker=marker, model=model, key=key, routes=route or ROUTES)
        results = run(gateway, upstream, progress=_show)
    _summarize(against, results, output)


@contextmanager
def _address(url: str | None, upstream: ScriptedUpstream, marker: str) -> Iterator[str]:
    """The gateway's address; without one a gateway of our own, in this process."""
    if url is not None:
        yield url
        return
    from custodes.server.demonstration import serve_scripted

    with serve_scripted(upstream.url, marker) as address:
        yield address


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
