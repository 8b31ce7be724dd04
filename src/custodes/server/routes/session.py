"""Sign-in and sign-out of the console, and its static files."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from custodes.server.console.rendering import HEADERS, render, static
from custodes.server.console.sessions import COOKIE, SECONDS
from custodes.server.routes.body import service_of
from custodes.server.routes.entrance import (
    HOME,
    SIGN_IN,
    ConsoleRoute,
    form_of,
    safe_next,
    viewer_of,
)
from custodes.server.wire.base import RequestError

__all__ = ["router"]

router = APIRouter(include_in_schema=False, route_class=ConsoleRoute)

_WHY = {
    401: "No such key, or it was revoked.",
    403: "This key may ask models, but not look at the console: it takes a reviewer's or an "
    "admin's.",
}


@router.get(SIGN_IN)
async def sign_in(request: Request) -> Response:
    """The form."""
    if service_of(request).open_to_all:
        return RedirectResponse(HOME, status_code=303)
    return _form(safe_next(request.query_params.get("next")))


@router.post(SIGN_IN)
async def signed_in(request: Request) -> Response:
    """The key in; a session out."""
    service = service_of(request)
    form = await form_of(request)
    wanted = safe_next(form.get("next"))
    address = request.client.host if request.client else ""
    try:
        cookie = await service.sign_in(form.get("key", "").strip(), address=address)
    except RequestError as error:
        why = _WHY.get(error.status, str(error))
        return _form(wanted, why=why, status=error.status, headers=error.headers)
    response = RedirectResponse(wanted, status_code=303, headers={"cache-control": "no-store"})
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=SECONDS,
        path=HOME,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return response


def _form(
    wanted: str, *, why: str | None = None, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    values = {"next": wanted, "why": why, "viewer": None}
    return render("sign_in.html", values, status=status, headers=headers)


@router.post("/console/sign-out")
async def sign_out(request: Request) -> Response:
    """Ends the session of whoever sends the form that was made for them."""
    viewer = await viewer_of(request, service_of(request))
    form = await form_of(request)
    if not viewer.said(form.get("word", "")):
        raise RequestError("this form was made for another session; go back and reload", status=403)
    response = RedirectResponse(SIGN_IN, status_code=303, headers={"cache-control": "no-store"})
    response.delete_cookie(
        COOKIE,
        path=HOME,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return response


@router.get("/console/static/{name}")
async def file(name: str) -> Response:
    """A style sheet, a script, an icon."""
    found = static(name)
    return found if found is not None else Response(status_code=404, headers=HEADERS)
