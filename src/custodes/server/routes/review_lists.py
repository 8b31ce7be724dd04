"""Review in the console: the list of cases with its search, agreement, one case's whole story."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from custodes import store
from custodes.errors import CustodesError, DataError
from custodes.review.arms import Arm
from custodes.review.help import help_for, pieces
from custodes.review.overview import QueueAgreement, queue_agreement
from custodes.review.queue import Desk
from custodes.review.settling import case_in
from custodes.server.console.rendering import render
from custodes.server.routes.body import service_of
from custodes.server.routes.entrance import ConsoleRoute, partial, viewer_of
from custodes.server.routes.review import (
    REVIEW,
    address,
    number,
    review_common,
    reviews_of,
)
from custodes.server.service import Service
from custodes.server.wire.base import RequestError

__all__ = ["router"]

router = APIRouter(include_in_schema=False, route_class=ConsoleRoute)

_PAGE = 30
_ROOM = 5_000
"""Cases that one page looks through; encrypted ones cannot be searched."""
_STATES = ("open", "conflict", "done")


@router.get(REVIEW + "/{queue}/cases")
async def cases(request: Request, queue: str) -> Response:
    """Cases, newest first, by state and by a piece of their text."""
    service = service_of(request)
    viewer = await viewer_of(request, service)
    reviews = reviews_of(service)
    query = request.query_params
    state = query.get("state", "")
    state = state if state in _STATES else ""
    text = query.get("q", "").strip()[:200]
    before = number(query["before"]) if query.get("before") else None

    def work(desk: Desk) -> store.Listed:
        desk.config(queue)
        # Who could tell a check from a case would not be checked by it.
        asked = {"state": state, "text": text, "reader": "" if viewer.admin else viewer.key}
        # A ref may be that of an event, whose page tells what the guard did.
        asked["ref"] = text if viewer.admin else ""
        matching = {name: value for name, value in asked.items() if value}
        return desk.listed(queue, limit=_PAGE, room=_ROOM, before=before, matching=matching)

    try:
        page = await reviews.run(work)
    except DataError as error:
        raise RequestError(str(error), status=404) from error
    common = await review_common(service, viewer, queue)
    here = f"{common['base']}/cases"
    values = {
        "page": page,
        "titles": {each.id: pieces(each.title, (), text) for each in page.cases},
        "state": state,
        "states": _STATES,
        "search": text,
        "older": address(here, q=text, state=state, before=str(page.older)) if page.older else None,
        "newest": address(here, q=text, state=state),
        "before": before,
        "progress": await reviews.progress(queue),
        **common,
    }
    return render("review_cases.html", values)


@router.get(REVIEW + "/{queue}/story/{id_}")
async def story(request: Request, queue: str, id_: str) -> Response:
    """All that is known of a case: for admins, since it shows what raters may not see."""
    service = service_of(request)
    viewer = await viewer_of(request, service)
    if not viewer.admin:
        raise RequestError("what others said of a case is shown to admins only", status=403)
    reviews = reviews_of(service)
    place = number(id_)

    def work(desk: Desk) -> dict[str, Any]:
        stored, judgments, rulings, actions = desk.story(queue, place)
        case = case_in(stored)
        shown = help_for(case, Arm.CONTRAST)
        return {
            "stored": stored,
            "case": case,
            "help": shown,
            "judgments": judgments,
            "rulings": rulings,
            "actions": actions,
            "texts": {
                spot: pieces(case.text_of(spot), [q for q in shown.quotes if q.quote.place == spot])
                for spot in case.places
            },
        }

    try:
        found = await reviews.run(work)
    except DataError as error:
        raise RequestError(str(error), status=404) from error
    values = {**found, "names": await service.records.key_names(), "search": "", "claim": None,
              "outlined": False, **await review_common(service, viewer, queue)}  # fmt: skip
    return await reviews.run(lambda _: render("review_story.html", values))


@router.get(REVIEW + "/{queue}/agreement")
async def agreement(request: Request, queue: str) -> Response:
    """How far raters agree, over the newest ratings; computed aside and remembered."""
    service = service_of(request)
    viewer = await viewer_of(request, service)
    reviews = reviews_of(service)
    try:
        config = await reviews.run(lambda desk: desk.config(queue))
    except DataError as error:
        raise RequestError(str(error), status=404) from error
    found, why = _agreement(service, queue)
    values = {
        "found": found,
        "why": why,
        "config": config,
        "names": await service.records.key_names(),
        "progress": await reviews.progress(queue),
        **await review_common(service, viewer, queue),
    }
    live = partial(request)
    return render("review_agreement_live.html" if live else "review_agreement.html", values)


_FRESH = 60.0


def _agreement(service: Service, queue: str) -> tuple[QueueAgreement | None, str]:
    """What was computed last and why there is none; computes anew in the background."""
    reviews = reviews_of(service)
    found, at, why = reviews.agreements.get(queue, (None, -1e9, ""))
    now = service.clock.monotonic()
    if now - at < _FRESH or queue in reviews.computing:
        return found, why

    async def compute() -> None:
        said, new = "", found
        try:
            new = await asyncio.to_thread(queue_agreement, reviews.desk, queue)
        except CustodesError as error:
            said, new = str(error), None
        finally:
            reviews.computing.discard(queue)
        reviews.agreements[queue] = (new, service.clock.monotonic(), said)

    reviews.computing.add(queue)
    service.background(compute())
    return found, why
