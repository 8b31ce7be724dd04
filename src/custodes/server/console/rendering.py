"""Pages from templates, static files, and the headers that keep both to themselves.

Everything a template prints is escaped; the policy in the headers lets no script or style run but
the console's own files. Knows no route.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import PackageLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from starlette.responses import HTMLResponse, Response

from custodes.server.console.words import (
    Outcome,
    ago,
    milliseconds,
    moment,
    outcome_of,
    percent,
    rate,
)

__all__ = ["HEADERS", "render", "static"]

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml", "txt": "text/plain"}
_HTMX = {"includeIndicatorCSS": False, "history": False, "noSwap": [204, 304, "4xx", "5xx"]}


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    kind: str
    version: str


@cache
def _static() -> Mapping[str, _File]:
    found = {}
    for path in files("custodes.server").joinpath("static").iterdir():
        kind = _TYPES.get(path.name.rpartition(".")[2])
        if kind is not None:
            content = path.read_bytes()
            version = hashlib.sha256(content).hexdigest()[:12]
            found[path.name] = _File(content, kind, version)
    return found


def static(name: str) -> Response | None:
    """A file of the console; addresses carry its hash, so it may be kept for good."""
    file = _static().get(name)
    if file is None:
        return None
    headers = {**HEADERS, "cache-control": "public, max-age=31536000, immutable"}
    return Response(file.content, media_type=file.kind, headers=headers)


def _address(name: str) -> str:
    return f"/console/static/{name}?v={_static()[name].version}"


@cache
def _environment() -> SandboxedEnvironment:
    environment = SandboxedEnvironment(
        loader=PackageLoader("custodes.server"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        ago=ago, milliseconds=milliseconds, moment=moment, percent=percent, rate=rate
    )
    environment.globals.update(
        static=_address, htmx=json.dumps(_HTMX), Outcome=Outcome, outcome_of=outcome_of
    )
    return environment


def render(
    template: str,
    values: Mapping[str, Any],
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A page; nobody may keep it."""
    page = _environment().get_template(template).render(values)
    # A lone surrogate, as hostile text may hold, cannot be written as UTF-8.
    return HTMLResponse(
        page.encode("utf-8", "replace"),
        status_code=status,
        headers={**HEADERS, "cache-control": "no-store", "vary": "HX-Request", **(headers or {})},
    )
