"""The way into the console: every route of it asks here who looks, and fails here as a page."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response

from custodes.errors import CustodesError, StoreError
from custodes.server.console.rendering import HEADERS, render
from custodes.server.console.sessions import COOKIE, Viewer
from custodes.server.service import Service
from custodes.server.wire.base import RequestError

__all__ = ["HOME", "SIGN_IN", "ConsoleRoute", "form_of", "partial", "safe_next", "viewer_of"]

HOME = "/console"
SIGN_IN = "/console/sign-in"
_LARGEST_FORM = 8_192
_LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})

_log = logging.getLogger("custodes.server")


class _SignInNeededError(CustodesError):
    """Nobody is signed in."""


class ConsoleRoute(APIRoute):
    """A route whose failures are pages, and where whoever is not signed in is sent to do so."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler with its failures caught."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except _SignInNeededError:
                return _to_sign_in(request)
            except RequestError as error:
                return _failed(error.status, str(error), headers=error.headers)
            except StoreError as error:
                _log.error("the console cannot read", extra={"fields": {"why": str(error)}})
                return _failed(503, "The database does not answer. Events that come in meanwhile "
                                    "wait for it; see /readyz.")  # fmt: skip

        return handled


def _to_sign_in(request: Request) -> Response:
    headers = {**HEADERS, "cache-control": "no-store"}
    if partial(request):
        return Response(status_code=401, headers={**headers, "hx-redirect": SIGN_IN})
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    query = "" if request.method != "GET" or wanted == HOME else f"?{urlencode({'next': wanted})}"
    return RedirectResponse(SIGN_IN + query, status_code=303, headers=headers)


def _failed(status: int, message: str, *, headers: dict[str, str] | None = None) -> Response:
    values = {"status": status, "message": message, "viewer": None}
    return render("failed.html", values, status=status, headers=headers)


async def viewer_of(request: Request, service: Service) -> Viewer:
    """Whoever looks. Without a session: to the sign-in."""
    if service.open_to_all and request.url.hostname not in _LOCAL_HOSTS:
        # Another site's name that was pointed at this machine must not read along.
        raise RequestError("without keys the console answers to localhost only", status=403)
    viewer = await service.viewer(request.cookies.get(COOKIE))
    if viewer is None:
        raise _SignInNeededError("sign in first")
    return viewer


async def form_of(request: Request, *, most: int = _LARGEST_FORM) -> dict[str, str]:
    """The fields of a form that this site sent, of `most` bytes; else `RequestError`."""
    if not _ours(request.headers):
        raise RequestError("this form came from another site", status=403)
    kind = request.headers.get("content-type", "").partition(";")[0]
    if kind != "application/x-www-form-urlencoded":
        raise RequestError("expected a form", status=415)
    try:
        data = await request.body()
    except ClientDisconnect:
        raise RequestError("the client left before its form was complete", status=499) from None
    if len(data) > most:
        raise RequestError(
            f"the form is too large: got {len(data):,} bytes, expected {most:,} at most", status=413
        )
    try:
        fields = parse_qs(data.decode("utf-8", "replace"), max_num_fields=20)
    except ValueError as error:
        raise RequestError("the form has too many fields") from error
    return {name: values[0] for name, values in fields.items()}


def _ours(headers: Headers) -> bool:
    """Whether the browser says that one of our own pages sends this, or says nothing."""
    origin = headers.get("origin")
    site = headers.get("sec-fetch-site", "same-origin")
    host = origin is None or origin.partition("://")[2] == headers.get("host")
    return host and site in ("same-origin", "none")


def partial(request: Request) -> bool:
    """Whether htmx asks, and so only for the part of the page that moves."""
    return request.headers.get("hx-request") == "true"


def safe_next(wanted: str | None) -> str:
    """Where to go after the sign-in: a page of the console, whatever was asked for."""
    try:
        parts = urlsplit(wanted or "")
    except ValueError:
        return HOME
    inside = parts.path == HOME or parts.path.startswith(HOME + "/")
    plain = not parts.scheme and not parts.netloc and "\\" not in parts.path
    if not (inside and plain) or parts.path == SIGN_IN:
        return HOME
    return parts.path + (f"?{parts.query}" if parts.query else "")
