"""The console: overview, list of events, one event, the chain. For reviewers and admins."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from custodes.server.console.overview import SPANS, overview, window_of
from custodes.server.console.rendering import render
from custodes.server.console.sessions import Viewer
from custodes.server.routes.body import service_of
from custodes.server.routes.entrance import HOME, ConsoleRoute, form_of, partial, viewer_of
from custodes.server.service import Service
from custodes.server.wire.anthropic import Messages
from custodes.server.wire.base import RequestError
from custodes.server.wire.completions import Completions
from custodes.server.wire.openai import Chat
from custodes.store import FILTERS

__all__ = ["router"]

router = APIRouter(include_in_schema=False, route_class=ConsoleRoute)

EVENTS = "/console/events"
_PAGE = 50
_NOTABLE = 6
_ROUTES = (Chat.route, Messages.route, Completions.route, "/v1/moderations", "/v1/decisions")
_LONGEST = 200
"""Characters of a filter's value that are looked at."""

_log = logging.getLogger("custodes.server")


@router.get(HOME)
async def front(request: Request) -> Response:
    """How the gateway does, over a span of time."""
    service = service_of(request)
    viewer = await viewer_of(request, service)
    span = SPANS.get(request.query_params.get("span", ""), SPANS["1h"])
    now = service.clock.now()
    window = window_of(span, now=now)
    records = service.records
    tallies, latencies, stops, versions, chain, names = await asyncio.gather(
        records.tallies(window),
        records.latencies(window),
        records.page(_NOTABLE, matching={"action": "stop"}),
        records.versions(),
        records.chain(),
        records.key_names(),
    )
    in_office = service.versions()
    # Tens of milliseconds, which no stream shall wait for.
    look = await asyncio.to_thread(overview, span, tallies, latencies, now=now)
    values = {
        "spans": SPANS,
        "look": look,
        "stops": stops.events,
        "others": [each for each in versions if in_office and dict(each) != in_office],
        "chain": chain,
        "names": names,
        **_standing(service),
        **_common(service, viewer, place="overview"),
    }
    return render("overview_live.html" if partial(request) else "overview.html", values)


def _standing(service: Service) -> dict[str, Any]:
    """What is in office and whether it is well."""
    return {
        "versions": service.versions(),
        "problems": service.problems(),
        "guard": service.config.guard,
        "checked": service.checked(service.chair),
        "policy": None if service.chair is None else service.chair.guard.policy,
        "upstreams": list(service.upstreams),
        "stuck": service.pool.stuck,
    }


def _common(service: Service, viewer: Viewer, *, place: str) -> dict[str, Any]:
    return {
        "viewer": viewer,
        "place": place,
        "open_to_all": service.open_to_all,
        "now": service.clock.now(),
    }


@router.get(EVENTS)
async def events(request: Request) -> Response:
    """The newest events, or those before a place, by filters."""
    service = service_of(request)
    viewer = await viewer_of(request, service)
    matching = _matching(request.query_params)
    before = _place(request.query_params.get("before"))
    page, chain, names = await asyncio.gather(
        service.records.page(_PAGE, before=before, matching=matching),
        service.records.chain(),
        service.records.key_names(),
    )
    values = {
        "page": page,
        "matching": matching,
        "before": before,
        "here": _address(matching, before),
        "newest": _address(matching, None),
        "older": None if page.older is None else _address(matching, page.older),
        "chain": chain,
        "names": names,
        "choices": _choices(service, matching, names),
        **_common(service, viewer, place="events"),
    }
    return render("events_live.html" if partial(request) else "events.html", values)


def _matching(query: Mapping[str, str]) -> dict[str, str]:
    return {name: query[name][:_LONGEST] for name in FILTERS if query.get(name)}


def _place(text: str | None) -> int | None:
    """A place in the chain; what is none of them counts as not given."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None


def _address(matching: Mapping[str, str], before: int | None) -> str:
    query = {**matching, **({} if before is None else {"before": str(before)})}
    return EVENTS + (f"?{urlencode(query, errors='replace')}" if query else "")


def _choices(
    service: Service, matching: Mapping[str, str], names: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Filter -> value -> what it is called; what is chosen is always among them."""
    rules = service.chair.guard.cascade.rules if service.chair is not None else ()
    choices = {
        "action": {"stop": "stop", "release": "release"},
        "rule": {str(rule): str(rule) for rule in rules},
        "key": {**{key.id: key.id for key in service.config.keys}, **names},
        "route": {route: route for route in _ROUTES},
    }
    for name, value in matching.items():
        choices[name].setdefault(value, value)
    return choices


@router.get(EVENTS + "/{seq}")
async def event(request: Request, seq: str) -> Response:
    """All that is known of one verdict; its text for admins, on demand, which is logged."""
    service = service_of(request)
    viewer = await viewer_of(request, service)
    place = _place(seq)
    wanted = request.query_params.get("text") == "1"
    if wanted and not viewer.admin:
        raise RequestError("texts are shown to admins only", status=403)
    found, names = await asyncio.gather(
        service.records.event(place or 0, with_text=wanted), service.records.key_names()
    )
    if place is None or found is None:
        raise RequestError(
            f"there is no event {seq:.30}; a gateway without a database forgets the oldest",
            status=404,
        )
    if found.event.text is not None:
        _log.info("a text was read", extra={"fields": {"key": viewer.key, "event": place}})
    values = {
        "stored": found,
        "wanted": wanted,
        "keeps_text": service.config.keep_text,
        "names": names,
        **_common(service, viewer, place="events"),
    }
    return render("event.html", values)


@router.post("/console/chain/verify")
async def verify(request: Request) -> Response:
    """Recomputes the whole chain; the answer comes when that is done."""
    service = service_of(request)
    viewer = await viewer_of(request, service)
    form = await form_of(request)
    if not viewer.said(form.get("word", "")):
        raise RequestError("this form was made for another session; go back and reload", status=403)
    await service.records.verify(viewer.key)
    if not partial(request):
        return RedirectResponse(EVENTS, status_code=303)
    values = {
        "chain": await service.records.chain(),
        **_common(service, viewer, place="events"),
    }
    return render("chain.html", values)


@router.get("/console/{rest:path}")
async def nothing(request: Request, rest: str) -> Response:
    """A page for whatever is not there."""
    await viewer_of(request, service_of(request))
    raise RequestError(f"there is no page /console/{rest:.80}", status=404)
