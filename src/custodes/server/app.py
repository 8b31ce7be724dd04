"""The gateway as an ASGI application: parts put together, routes joined, errors rendered.

The last place that catches whatever was not foreseen.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from custodes import __version__
from custodes.classifiers.base import Scorer
from custodes.errors import ConfigError, CustodesError, StoreError
from custodes.guard import Guard, load_guard
from custodes.server.arena.book import MemoryBook
from custodes.server.arena.game import Arena
from custodes.server.auth import ConfiguredKeys, KeyStore, SeveralStores
from custodes.server.config import GatewayConfig
from custodes.server.console.records import MemoryRecords, Records
from custodes.server.events import EventSink, MemorySink
from custodes.server.limits import BodyLimit, Limiter, MemoryLimiter, RedisLimiter
from custodes.server.routes import (
    arena,
    console,
    operation,
    replies,
    review,
    review_lists,
    session,
    verdicts,
)
from custodes.server.service import Clock, Parts, Service
from custodes.server.telemetry import Metrics
from custodes.server.tracing import NoTracing, OtelTracing, Tracing
from custodes.server.upstreams.base import Upstream
from custodes.server.upstreams.http import HttpUpstream, HttpUpstreamConfig
from custodes.server.upstreams.local import LocalUpstream
from custodes.server.wire.anthropic import Messages
from custodes.server.wire.base import RequestError, Wire
from custodes.server.wire.openai import Chat

__all__ = ["build_app", "build_parts"]

_log = logging.getLogger("custodes.server")


def build_parts(
    config: GatewayConfig,
    *,
    sink: EventSink | None = None,
    keys: KeyStore | None = None,
    tracing: Tracing | None = None,
    loader: Callable[[str], Guard] | None = None,
) -> Parts:
    """The parts of a gateway from its settings.

    `sink`: where events are kept (default: the last ones in memory); `keys`: a store of keys
    besides those of the settings; `tracing`: who makes spans (default: OpenTelemetry where the
    settings say `traces`); `loader` reads a guard by name or folder (default: `load_guard`,
    which here also takes stages that are scripted, for dry runs).
    """
    load = loader or _load
    clock = Clock()
    metrics = Metrics()
    name = config.guard
    kept = sink or MemorySink()
    return Parts(
        guard=None if name is None else (lambda: load(name)),
        upstreams=_upstreams(config, clock),
        keys=_keys(config, keys),
        sink=kept,
        records=_records(kept),
        reviews=getattr(kept, "reviews", None),
        limiter=_limiter(config, clock, metrics),
        metrics=metrics,
        tracing=tracing or (OtelTracing() if config.traces else NoTracing()),
        clock=clock,
    )


def _records(sink: EventSink) -> Records:
    if isinstance(sink, MemorySink):
        return MemoryRecords(sink)
    records: Records | None = getattr(sink, "records", None)
    return records or MemoryRecords(MemorySink(remember=0))


def _load(name: str) -> Guard:
    return load_guard(name, loader=_read_scorer)


def _read_scorer(folder: Path) -> Scorer:
    from custodes.classifiers import load_scorer
    from custodes.classifiers.scripted import ScriptedScorer

    scripted = (folder / "scripted.json").is_file()
    return ScriptedScorer.load(folder) if scripted else load_scorer(folder)


def _upstreams(config: GatewayConfig, clock: Clock) -> dict[str, Upstream]:
    from uuid import uuid4

    found: dict[str, Upstream] = {}
    for name, settings in config.upstreams.items():
        if isinstance(settings, HttpUpstreamConfig):
            found[name] = HttpUpstream(settings, name=name)
        else:
            found[name] = LocalUpstream(
                settings, name=name, clock=clock.now, new_id=lambda: uuid4().hex
            )
    return found


def _keys(config: GatewayConfig, keys: KeyStore | None) -> KeyStore | None:
    if config.no_auth:
        return None
    stores: list[KeyStore] = [ConfiguredKeys(config.keys)] if config.keys else []
    stores += [keys] if keys is not None else []
    if not stores:
        raise ConfigError(
            "no API keys: give some in the settings (keys), a database that holds some, or "
            "--no-auth on localhost"
        )
    return SeveralStores(stores)


def _limiter(config: GatewayConfig, clock: Clock, metrics: Metrics) -> Limiter:
    if config.redis_url_env is None:
        return MemoryLimiter(clock.monotonic)
    url = os.environ.get(config.redis_url_env)
    if not url:
        raise ConfigError(
            f"redis_url_env: the environment variable {config.redis_url_env} is not set"
        )
    return RedisLimiter(url, on_failure=metrics.limiter_failures.inc)


def build_app(config: GatewayConfig, parts: Parts) -> FastAPI:
    """The application; its service is made now, its signal handler while it runs."""
    service = Service(config, parts)
    app = FastAPI(
        title="custodes gateway",
        version=__version__,
        description="A safeguard in front of any model.",
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    if config.arena is not None:
        app.state.arena = Arena(config.arena, getattr(parts.sink, "book", None) or MemoryBook())
    routers = [replies.router, verdicts.router, operation.router]
    routers += [arena.router] if config.arena is not None else []
    if config.console:
        routers += [arena.board] if config.arena is not None else []
        # The console's last route is its page for whatever is not there.
        routers += [session.router, review_lists.router, review.router, console.router]
    for router in routers:
        app.include_router(router)
    app.add_exception_handler(RequestError, _render)
    app.add_exception_handler(StoreError, _render_store)
    app.add_exception_handler(HTTPException, _render_http)
    app.add_exception_handler(Exception, _render_bug)
    app.add_middleware(BodyLimit, largest=config.max_body_bytes, seconds=config.body_seconds)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    loop = asyncio.get_running_loop()
    signals = threading.current_thread() is threading.main_thread()
    if signals:
        loop.add_signal_handler(signal.SIGHUP, lambda: service.background(_reload(service)))
    try:
        yield
    finally:
        if signals:
            loop.remove_signal_handler(signal.SIGHUP)
        await service.close()


async def _reload(service: Service) -> None:
    try:
        await service.reload()
    except (CustodesError, OSError):
        return  # logged and counted there; the old guard stays in office


def _wire(path: str) -> Wire:
    return Messages() if path == Messages.route else Chat()


async def _render(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestError):
        raise TypeError(f"got {type(error).__name__}, expected a RequestError")
    body = _wire(request.url.path).error(
        error.status, str(error), code=error.code, param=error.param
    )
    return JSONResponse(body, status_code=error.status, headers=error.headers)


async def _render_store(request: Request, error: Exception) -> Response:
    """The database that holds the keys does not answer: nobody can be let in."""
    _log.error("the database does not answer", extra={"fields": {"why": str(error)}})
    said = RequestError(
        "the gateway's database does not answer; try again later (see /readyz)",
        status=503,
        code="store_unavailable",
    )
    return await _render(request, said)


async def _render_http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise TypeError(f"got {type(error).__name__}, expected an HTTPException")
    message = f"{request.method} {request.url.path}: {error.detail}"
    body = _wire(request.url.path).error(error.status_code, message, code="not_found", param=None)
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)


async def _render_bug(request: Request, error: Exception) -> Response:
    _log.error(
        "internal error",
        extra={"fields": {"path": request.url.path, "kind": type(error).__name__}},
        exc_info=error,
    )
    body = _wire(request.url.path).error(500, "internal error", code="internal_error", param=None)
    return JSONResponse(body, status_code=500)
