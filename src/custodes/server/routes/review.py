"""Review in the console: queues, one case after another, conflicts. For reviewers and admins.

Every act is a form that also works without a script; with one, the next case is on the page
before the last answer's acknowledgment comes back (static/review.js).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from custodes.errors import DataError
from custodes.review.arms import Arm
from custodes.review.help import help_for, pieces
from custodes.review.queue import RULES_CONFLICTS, Claim, Desk
from custodes.server.console.rendering import render
from custodes.server.console.sessions import Viewer
from custodes.server.reviewing import Reviews
from custodes.server.routes.body import service_of
from custodes.server.routes.entrance import HOME, ConsoleRoute, form_of, partial, viewer_of
from custodes.server.service import Service
from custodes.server.wire.base import RequestError

__all__ = ["REVIEW", "address", "number", "review_common", "reviews_of", "router"]

router = APIRouter(include_in_schema=False, route_class=ConsoleRoute)

REVIEW = f"{HOME}/review"
SURENESS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.99)
_LONG = 6
"""Turns from which a conversation gets an outline."""
_NOTE = 4_000
_LARGEST_FORM = 65_536
"""Bytes: such a note, every letter of it in three bytes and each byte as %XX."""


def reviews_of(service: Service) -> Reviews:
    """The desk; `RequestError` where this gateway has no database."""
    if service.reviews is None:
        raise RequestError(
            "review needs a database: this gateway runs without one (database: none)", status=404
        )
    return service.reviews


async def review_common(
    service: Service, viewer: Viewer, queue: str | None = None
) -> dict[str, Any]:
    """What every page of review is given; `rules`: whether the viewer settles conflicts."""
    return {
        "rules": queue is not None and await may_rule(reviews_of(service), viewer),
        "viewer": viewer,
        "place": "review",
        "open_to_all": service.open_to_all,
        "now": service.clock.now(),
        "queue": queue,
        "base": None if queue is None else f"{REVIEW}/{quote(queue, safe='')}",
    }


@router.get(REVIEW)
async def queues(request: Request) -> Response:
    """Every queue and how far it is."""
    service = service_of(request)
    viewer = await viewer_of(request, service)
    reviews = reviews_of(service)
    names = await reviews.run(lambda desk: desk.queues())
    found = [(name, await reviews.progress(name)) for name in names]
    values = {"queues": found, **await review_common(service, viewer)}
    return render("review_queues.html", values)


@router.get(REVIEW + "/{queue}")
async def judge(request: Request, queue: str) -> Response:
    """The next case; only the card of it where a script asks."""
    service = service_of(request)
    viewer = await viewer_of(request, service)
    return await _page(request, service, viewer, queue)


@router.get(REVIEW + "/{queue}/cases/{id_}")
async def one(request: Request, queue: str, id_: str) -> Response:
    """A certain case, to judge, to change, or only to read."""
    service = service_of(request)
    viewer = await viewer_of(request, service)
    reviews = reviews_of(service)
    place = number(id_)
    claim = await _ask(reviews, lambda desk: desk.open(queue, viewer.key, place))
    if claim is None:
        raise RequestError(
            f"case {place} is not yours to judge: others have it, or it takes a skill that you are "
            "not said to have",
            status=403,
        )
    return await _page(request, service, viewer, queue, claim=claim)


@router.get(REVIEW + "/{queue}/ahead")
async def ahead(request: Request, queue: str) -> Response:
    """The card after the present one, claimed, to be shown as soon as that is answered."""
    service = service_of(request)
    viewer = await viewer_of(request, service)
    after = number(request.query_params.get("after", ""))
    claim = await _ask(reviews_of(service), lambda desk: desk.next(queue, viewer.key, after=after))
    if claim is None:
        return Response(status_code=204)
    common = await review_common(service, viewer, queue)
    return await _drawn(reviews_of(service), "review_card.html", common, claim=claim)


@router.post(REVIEW + "/{queue}/cases/{id_}/{act}")
async def act(request: Request, queue: str, id_: str, act: str) -> Response:
    """answer, first, draft, skip, change: what a rater does with a case."""
    service = service_of(request)
    viewer = await viewer_of(request, service)
    form = await _form(request, viewer)
    reviews = reviews_of(service)
    id_int, rater = number(id_), viewer.key
    sure = _confidence(form.get("confidence"))
    note = form.get("note", "")[:_NOTE]
    answer = form.get("answer", "")

    def work(desk: Desk) -> None:
        if act == "answer":
            desk.submit(queue, rater, id_int, answer, confidence=sure, note=note)
        elif act == "first":
            desk.first(queue, rater, id_int, answer, confidence=sure, note=note)
        elif act == "draft":
            desk.draft(queue, rater, id_int, {"confidence": sure, "note": note})
        elif act == "skip":
            desk.skip(queue, rater, id_int)
        elif act == "change":
            desk.undo(queue, rater, id_int)
        else:
            raise DataError(f"got {act!r:.40}, expected answer, first, draft, skip or change")

    await _ask(reviews, work)
    if act == "draft":
        return Response(status_code=204)
    if act == "answer" and (shown := form.get("shows")):
        next_id = number(shown)
        await _ask(reviews, lambda desk: desk.shown(queue, rater, next_id))
        return await _side(service, viewer, queue)
    if not partial(request):
        return RedirectResponse(f"{REVIEW}/{quote(queue, safe='')}", status_code=303)
    return await _page(request, service, viewer, queue)


@router.post(REVIEW + "/{queue}/undo")
async def undo(request: Request, queue: str) -> Response:
    """Take back the last answer."""
    service = service_of(request)
    viewer = await viewer_of(request, service)
    await _form(request, viewer)
    reviews = reviews_of(service)
    await _ask(reviews, lambda desk: desk.undo(queue, viewer.key))
    if not partial(request):
        return RedirectResponse(f"{REVIEW}/{quote(queue, safe='')}", status_code=303)
    return await _page(request, service, viewer, queue)


@router.get(REVIEW + "/{queue}/conflicts")
async def conflicts(request: Request, queue: str) -> Response:
    """The oldest conflict and what was said in it, to be settled."""
    service = service_of(request)
    viewer = await viewer_of(request, service)
    reviews = reviews_of(service)
    await _must_rule(reviews, viewer)
    found = await _ask(reviews, lambda desk: desk.next_conflict(queue, viewer.key))
    values: dict[str, Any] = {
        "claim": None,
        "said": (),
        "config": await _ask(reviews, lambda desk: desk.config(queue)),
        "progress": await reviews.progress(queue),
        **await review_common(service, viewer, queue),
    }
    if found is None:
        return render("review_conflict.html", values)
    claim, values["said"] = found
    await reviews.run(lambda desk: desk.show(claim))
    return await _drawn(reviews, "review_conflict.html", values, claim=claim)


@router.post(REVIEW + "/{queue}/conflicts/{id_}")
async def rule(request: Request, queue: str, id_: str) -> Response:
    """Settle a conflict."""
    service = service_of(request)
    viewer = await viewer_of(request, service)
    form = await _form(request, viewer)
    reviews = reviews_of(service)
    await _must_rule(reviews, viewer)
    place, answer, note = number(id_), form.get("answer", ""), form.get("note", "")[:_NOTE]

    def work(desk: Desk) -> None:
        if desk.rule(queue, viewer.key, place, answer, note=note):
            return
        _, _, rulings, _ = desk.story(queue, place)
        if not any((each.rater, each.answer) == (viewer.key, answer) for each in rulings):
            raise DataError(
                f"case {place} was settled meanwhile, and your ruling was not kept; go back to the "
                "conflicts"
            )  # who clicked twice has what they wanted

    await _ask(reviews, work)
    return RedirectResponse(f"{REVIEW}/{quote(queue, safe='')}/conflicts", status_code=303)


async def may_rule(reviews: Reviews, viewer: Viewer) -> bool:
    """Whether whoever looks settles conflicts."""
    skills = await reviews.run(lambda desk: desk.skills(viewer.key))
    return viewer.admin or RULES_CONFLICTS in skills


async def _must_rule(reviews: Reviews, viewer: Viewer) -> None:
    if not await may_rule(reviews, viewer):
        raise RequestError(
            "conflicts are settled by admins, and by reviewers with the skill "
            f"{RULES_CONFLICTS} (custodes review skills)",
            status=403,
        )


# Parts of pages


async def _page(
    request: Request, service: Service, viewer: Viewer, queue: str, *, claim: Claim | None = None
) -> Response:
    reviews = reviews_of(service)
    rater = viewer.key

    def work(desk: Desk) -> tuple[Claim | None, list[Any]]:
        found = claim if claim is not None else desk.next(queue, rater)
        if found is not None:
            desk.show(found)
        return found, desk.last(queue, rater)

    found, last = await _ask(reviews, work)
    search = request.query_params.get("q", "")[:200]
    values: dict[str, Any] = {
        "claim": None,
        "last": last,
        "progress": await reviews.progress(queue),
        "config": found.config if found else await _ask(reviews, lambda desk: desk.config(queue)),
        "search": search,
        **await review_common(service, viewer, queue),
    }
    page = "review_parts.html" if partial(request) else "review_judge.html"
    return await _drawn(reviews, page, values, claim=found, search=search)


async def _drawn(
    reviews: Reviews,
    page: str,
    values: Mapping[str, Any],
    *,
    claim: Claim | None,
    search: str = "",
) -> Response:
    """A page with a card, made on another thread: a case may be a megabyte long, and the event
    loop is the gateway's."""

    def draw(_: Desk) -> Response:
        return render(page, {**values, **({} if claim is None else _card(claim, search))})

    return await reviews.run(draw)


def _card(claim: Claim, search: str) -> dict[str, Any]:
    """What a card prints; nothing of the AI's view that the arm does not show is among it."""
    case = claim.case
    shown = help_for(case, claim.arm) if claim.revealed else help_for(case, Arm.NONE)
    by_place: dict[str, list[Any]] = {}
    for numbered in shown.quotes:
        by_place.setdefault(numbered.quote.place, []).append(numbered)
    texts = {
        place: pieces(case.text_of(place), by_place.get(place, ()), search) for place in case.places
    }
    judgment = claim.judgment
    draft: Mapping[str, Any] = judgment.draft
    if judgment.state == "given":
        draft = {
            "answer": judgment.answer,
            "confidence": judgment.confidence,
            "note": judgment.note,
        }
    return {
        "claim": claim,
        "case": case,
        "config": claim.config,
        "texts": texts,
        "help": shown,
        "draft": draft,
        "outlined": len(case.messages) >= _LONG,
        "sureness": SURENESS,
        "search": search,
    }


async def _side(service: Service, viewer: Viewer, queue: str) -> Response:
    reviews = reviews_of(service)
    values = {
        "last": await reviews.run(lambda desk: desk.last(queue, viewer.key)),
        "progress": await reviews.progress(queue),
        **await review_common(service, viewer, queue),
    }
    return render("review_side.html", values)


async def _ask(reviews: Reviews, work: Any) -> Any:
    try:
        return await reviews.run(work)
    except DataError as error:
        message = str(error)
        status = 404 if "there is no case" in message or message.startswith("queue:") else 409
        raise RequestError(message, status=status) from error


async def _form(request: Request, viewer: Viewer) -> dict[str, str]:
    form = await form_of(request, most=_LARGEST_FORM)
    if not viewer.said(form.get("word", "")):
        raise RequestError("this form was made for another session; go back and reload", status=403)
    return form


def number(text: str) -> int:
    """The number of a case in an address."""
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise RequestError(f"there is no case {text:.30}", status=404)
    return int(text)


def _confidence(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None


def address(base: str, **query: str | None) -> str:
    """An address with the parts of its query that are set."""
    kept = {name: value for name, value in query.items() if value}
    return base + (f"?{urlencode(kept, errors='replace')}" if kept else "")
