"""For operators and their machines: models, health, metrics, reload."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from custodes.errors import CustodesError, ModelError
from custodes.server.routes.body import service_of
from custodes.server.service import Service
from custodes.server.upstreams.base import Upstream
from custodes.server.wire.base import RequestError

__all__ = ["router"]

router = APIRouter(tags=["operation"])


@router.get("/v1/models")
async def models(request: Request) -> Response:
    """Every upstream's models; with several upstreams their names carry the upstream's."""
    service = service_of(request)
    await service.admit(request.headers)
    upstreams = list(service.upstreams.values())
    lists = await asyncio.gather(*(_listed(service, upstream) for upstream in upstreams))
    data = []
    for upstream, names in zip(upstreams, lists, strict=True):
        given = bool(service.config.upstreams[upstream.name].models)
        plain = len(upstreams) == 1 or given or names == [upstream.name]
        for name in names:
            id_ = name if plain else f"{upstream.name}/{name}"
            data.append(
                {
                    "id": id_,
                    "object": "model",
                    "type": "model",
                    "display_name": id_,
                    "created": 0,
                    "created_at": "1970-01-01T00:00:00Z",
                    "owned_by": upstream.name,
                }
            )
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    body = {"object": "list", "data": data, "has_more": False, "first_id": first, "last_id": last}
    return JSONResponse(body)


async def _listed(service: Service, upstream: Upstream) -> list[str]:
    try:
        return await upstream.models()
    except ModelError as error:
        service.metrics.upstream_errors.labels(upstream.name, type(error).__name__).inc()
        return []


@router.get("/healthz")
async def healthz() -> Response:
    """Whether the process lives."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz")
async def readyz(request: Request) -> Response:
    """Whether requests can be served, and why not."""
    service = service_of(request)
    problems = service.problems()
    body = {
        "status": "unready" if problems else "ready",
        "problems": problems,
        "guard": service.versions(),
        "judging_threads_stuck": service.pool.stuck,
    }
    return JSONResponse(body, status_code=503 if problems else 200)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Prometheus metrics."""
    service = service_of(request)
    if not service.config.metrics_public:
        await service.admit(request.headers, role="reviewer")
    return Response(service.metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.post("/v1/admin/reload")
async def reload(request: Request) -> Response:
    """Load the guard again; running requests keep the old one. For keys of role admin."""
    service = service_of(request)
    await service.admit(request.headers, role="admin")
    try:
        await service.reload()
    except CustodesError as error:
        raise RequestError(f"the old guard stays in office: {error}", status=409) from error
    return JSONResponse({"status": "reloaded", "guard": service.versions()})
