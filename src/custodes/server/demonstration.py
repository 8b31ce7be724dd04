"""A gateway in this process with a scripted guard: for the conformance suite and demonstrations.

Everything about it is real but the guard, which stops one given text.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp

from custodes.classifiers.scripted import Pattern, ScriptedConfig, ScriptedScorer
from custodes.errors import CustodesError
from custodes.guard import Cascade, Edition, Guard, Policy, Stage
from custodes.server.app import build_app, build_parts
from custodes.server.config import GatewayConfig
from custodes.types import RuleId

__all__ = ["scripted_guard", "serve_in_thread", "serve_scripted"]


def scripted_guard(marker: str) -> Guard:
    """A guard that stops `marker` and holds back as much as it takes to see it whole."""
    config = ScriptedConfig(
        rules=(RuleId("marker"),),
        patterns=(Pattern(regex=re.escape(marker), logit=6, rule=RuleId("marker")),),
        step=1,
    )
    return Guard(
        Cascade([Stage(scorer=ScriptedScorer(config))]),
        Policy(hold_back=len(marker) - 1),
        edition=Edition(id="scripted", version="1"),
        artifact="scripted",
        clock=time.monotonic,
    )


@contextmanager
def serve_scripted(upstream: str, marker: str) -> Iterator[str]:
    """The address of a gateway before `upstream` that stops `marker`."""
    config = GatewayConfig.parse(
        {"upstreams": {"scripted": {"url": upstream, "kind": "both"}}, "no_auth": True}
    )
    parts = build_parts(config, loader=lambda _: scripted_guard(marker))
    with serve_in_thread(build_app(config, parts)) as address:
        yield address


@contextmanager
def serve_in_thread(app: ASGIApp) -> Iterator[str]:
    """Serve an application on a free port of this machine, on a thread of its own."""
    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, ws="none")
    )
    thread = threading.Thread(target=server.run, daemon=True)  # on the loop that `serve` runs on
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise CustodesError("the gateway did not start")
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
