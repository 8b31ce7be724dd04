"""A gateway in this process: for the conformance suite and demonstrations.

Everything about it is real; the guard may be a scripted one, which stops one given text and can
be put out of order in every way that a guard can be.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from starlette.types import ASGIApp

from custodes.classifiers.scripted import Fault, Pattern, ScriptedConfig, ScriptedScorer
from custodes.errors import CustodesError
from custodes.guard import Cascade, Edition, Guard, Policy, Stage
from custodes.server.app import build_app, build_parts
from custodes.server.config import GatewayConfig
from custodes.types import RuleId

__all__ = ["scripted_guard", "serve_broken", "serve_guarded", "serve_in_thread"]

_FAULTS = tuple(fault for fault in Fault if fault is not Fault.RULES)  # RULES is refused at load
_AT = (0, 16)
"""Where a guard goes out of order: at once, which the input meets; in the middle of a reply."""


def scripted_guard(marker: str, **fault: Any) -> Guard:
    """A guard that stops `marker` and holds back as much as it takes to see it whole.

    `fault`: the fields of `ScriptedConfig` that put it out of order.
    """
    config = ScriptedConfig(
        rules=(RuleId("marker"),),
        patterns=(Pattern(regex=re.escape(marker), logit=6, rule=RuleId("marker")),),
        step=1,
        **fault,
    )
    return Guard(
        Cascade([Stage(scorer=ScriptedScorer(config))]),
        Policy(hold_back=len(marker) - 1),
        edition=Edition(id="scripted", version="1"),
        artifact="scripted",
    )


@contextmanager
def serve_guarded(upstream: str, guard: Callable[[], Guard], **settings: Any) -> Iterator[str]:
    """The address of a gateway before `upstream` with this guard."""
    config = GatewayConfig.parse(
        {
            "upstreams": {"scripted": {"url": upstream, "kind": "both"}},
            "no_auth": True,
            "database": "none",
            **settings,
        }
    )
    parts = build_parts(config, loader=lambda _: guard())
    with serve_in_thread(build_app(config, parts)) as address:
        yield address


@contextmanager
def serve_broken(upstream: str, marker: str) -> Iterator[dict[str, str]]:
    """Name -> address of gateways like `serve_guarded`'s, whose guards are out of order."""
    with ExitStack() as stack:
        found = {}
        for fault in _FAULTS:
            for at in _AT:

                def guard(fault: Fault = fault, at: int = at) -> Guard:
                    return scripted_guard(marker, fault=fault, fault_at=at, stall_seconds=1.0)

                serving = serve_guarded(upstream, guard, judge_seconds=0.3)
                found[f"{fault.value}@{at}"] = stack.enter_context(serving)
        yield found


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
